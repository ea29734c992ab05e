"""pro-VLAE: the ladder of VLAE, learned from the top level down.

Stages and loss::

    step s = 1 … L:  levels L, L-1, …, L-s+1 take part; the others' codes are multiplied by 0 in the generator
    loss of a step:  -E_q log p(x|z) + β Σ_{i takes part} KL_i + c Σ_{i does not yet} KL_i
    a level that joins is faded in: its feature in the inference network and its code in the generator are multiplied
    by a factor that rises from 0 to 1

Source: Li, Murkute, Gyawali and Wang (2020), and their code, Zhiyuan1991/proVLAE. Uses ``baseline.epochs_per_step``,
``fade_epochs`` and ``inactive_kl`` (c, the pre-trained KL); β is ``training.kl_weights``.

What differs from the published settings (entry ``published-provlae``, for 64×64 images of 3D Shapes): the ladders are
ours (leaky ReLU instead of ELU; each level is read by a convolutional branch and two linear maps instead of a branch and
a layer of 256; a code reaches its map by one linear layer instead of two); their batch norm, which is called in a way
that only scales and shifts, is left out. The published runs at β = 8 and without fading are that entry's; the paper of
the joint EBM compares at β = 1. The entry ``mnist-provlae`` has the joint EBM's networks, Gaussian pixels and β = 1.
"""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.distributions import Independent

from hebm_lib.algorithm import Update
from hebm_lib.baselines.common import VariationalBaseline, no_energy
from hebm_lib.config import ModelConfig, TrainingConfig
from hebm_lib.model import build_ladder, build_prior, register

__all__ = ["ProVLAE"]


class ProVLAE(VariationalBaseline):
    """VLAE with progressive training; see the module's docstring.

    Attributes:
        strength: ``(L,)``, how far each level takes part, 0 to 1; stored with the weights. All 1 once trained, and then
            the model is a VLAE.

    Example:
        >>> from hebm_lib import load_pretrained
        >>> model = load_pretrained("mnist-provlae")
        >>> model.progress(0.0), model.progress(100.0)  # the top level starts, and the others join
        ([0.0, 0.0, 1.0], [1.0, 1.0, 1.0])
    """

    def __init__(self, generator, inference, prior, sigma, settings):
        super().__init__(generator, inference, prior, sigma, settings)
        self.register_buffer("strength", torch.ones(self.latents.levels))
        self.register_buffer("visible", torch.ones(self.latents.levels))

    def encode(self, x: Tensor) -> Independent:
        """``q(z|x)``. Levels that wait are read in full, so that their KL has something to train; joining ones fade in."""
        return self.inference(x, self.visible)

    def decode(self, z: Tensor) -> Tensor:
        """The mean image, from the levels that take part."""
        return self.generator(z, self.strength)

    def progress(self, epoch: float) -> list[float]:
        """How far each level takes part at a moment of the training, z_1 first: 0 waits, 1 is in full."""
        s = self.settings
        shares = []
        for level in range(1, self.latents.levels + 1):
            since = epoch - (self.latents.levels - level) * s.epochs_per_step
            shares.append(min(1.0, since / s.fade_epochs) if s.fade_epochs and since >= 0 else float(since >= 0))
        return shares[:-1] + [1.0]

    def waiting(self, epoch: float) -> list[bool]:
        """Which levels have not joined yet, z_1 first."""
        above = range(self.latents.levels - 1, -1, -1)
        return [epoch < steps * self.settings.epochs_per_step for steps in above]

    def level_weights(self, config: TrainingConfig, epoch: float) -> list[float]:
        """β for levels that take part, c for those that wait."""
        weights = super().level_weights(config, epoch)
        pairs = zip(weights, self.waiting(epoch), strict=True)
        return [self.settings.inactive_kl if waits else w for w, waits in pairs]

    def algorithm(
        self, x: Tensor, config: TrainingConfig, epoch: float, generator: torch.Generator
    ) -> Iterator[Update]:
        """One step of the present stage."""
        for i, (share, waits) in enumerate(zip(self.progress(epoch), self.waiting(epoch), strict=True)):
            self.strength[i].fill_(share)
            self.visible[i].fill_(1.0 if waits else share)
        yield from super().algorithm(x, config, epoch, generator)


@register("provlae")
def build_provlae(config: ModelConfig) -> ProVLAE:
    return ProVLAE(*build_ladder(no_energy(config)), build_prior(config), config.sigma, config.baseline)
