"""Code written for a processor instead of for a reader, in one place and off unless asked for.

- `LeakyReLU` and `FewChannels` compute inside `tuned` what their plain forms compute outside, faster: in place, and four
  pixels at once. `Trainer` takes its steps inside `tuned`; everything that a user calls is plain.
- `kept_memory` and `keep_freed_memory` change how this process gives memory back. `Trainer.fit` does so while it runs.
- `hebm_lib.sampling.cpu_speed.tiles` is the compiled Langevin chain behind the backend ``numba`` (imported on first use only).

The tuned forms are autograd functions that overwrite what they are given. Inside a transform of `torch.func` they stand
back by themselves, so `jacrev`, `jacfwd`, `vmap` and `grad` always meet plain modules.
"""

from hebm_lib.sampling.cpu_speed.memory import keep_freed_memory, kept_memory
from hebm_lib.sampling.cpu_speed.modules import FewChannels, LeakyReLU
from hebm_lib.sampling.cpu_speed.switch import is_tuned, lies_channels_last, tuned

__all__ = [
    "FewChannels",
    "LeakyReLU",
    "is_tuned",
    "keep_freed_memory",
    "kept_memory",
    "lies_channels_last",
    "tuned",
]
