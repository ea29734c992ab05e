"""Prior sampling, timed: the authors' loop, TorchEBM, every backend of ours, and what the machine could do."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from importlib.util import find_spec

import torch

from hebm_lib.latents import LatentSpec
from hebm_lib.prior import JointEBMPrior
from hebm_lib.reproduction.bench.authors import AuthorsEnergy, authors_chain
from hebm_lib.reproduction.bench.timing import alternate, exponent, summary
from hebm_lib.sampling import objections

__all__ = ["SETTINGS", "Setting", "flops", "time_sampling", "time_scaling"]


@dataclass(frozen=True)
class Setting:
    """One prior and the chain that is run on it."""

    dim: int
    hidden: tuple[int, ...]
    steps: int
    step_size: float

    @property
    def name(self) -> str:
        """``16-d, 4×50, K = 60``."""
        return f"{self.dim}-d, {len(self.hidden)}×{self.hidden[0]}, K = {self.steps}"

    def prior(self, device: torch.device) -> JointEBMPrior:
        """A fresh prior of this size, in training mode as in a training step."""
        return JointEBMPrior(LatentSpec((self.dim,)), hidden=self.hidden).to(device).train()


SETTINGS = (Setting(16, (50,) * 4, 60, 0.4), Setting(50, (100, 100), 100, 0.3))
"""What the authors sample in a training step: hierarchical sampling, and FID."""


def flops(setting: Setting, batch: int) -> int:
    """Floating-point operations of a chain's matrix products: 2 per weight on the way forward, 2 on the way back."""
    widths = (setting.dim, *setting.hidden)
    return 4 * batch * setting.steps * sum(a * b for a, b in zip(widths, widths[1:], strict=False))


def time_sampling(setting: Setting, batch: int, rounds: int, device: torch.device) -> dict:
    """One setting at one batch size: a row for each contender, the bounds, and where our time goes."""
    torch.manual_seed(0)
    prior, steps, s = setting.prior(device), setting.steps, setting.step_size
    energy = AuthorsEnergy(setting.dim, setting.hidden).to(device).train()
    calls: dict[str, Callable] = {
        "authors' loop": lambda: authors_chain(energy, torch.randn(batch, setting.dim, device=device), steps, s)
    }
    absent = {}
    if find_spec("torchebm"):
        calls["TorchEBM"] = torchebm_sampler(prior, setting, batch, device)
    else:
        absent["TorchEBM"] = "torchebm is not installed"
    for name, objection in objections(device).items():
        if objection is None:
            try:
                prior.backend_for(name)
            except RuntimeError:
                objection = "it failed its first use"
        if objection is None:
            calls[f"ours, {name}"] = partial(prior.sample, batch, steps, s, backend=name)
        else:
            absent[f"ours, {name}"] = objection
    parts = parts_of_ours(prior, setting, batch, device)
    seconds = alternate({**calls, **parts}, rounds, device)
    rows = {name: summary(seconds[name]) for name in calls}
    return {
        "setting": setting.name,
        **asdict(setting),
        "hidden": list(setting.hidden),
        "batch": batch,
        "rows": rows | {name: {"absent": why} for name, why in absent.items()},
        "default": f"ours, {prior.backend_for()}",
        "flops": flops(setting, batch),
        "parts": {name: summary(seconds[name])["seconds"] for name in parts},
    }


def torchebm_sampler(prior: JointEBMPrior, setting: Setting, batch: int, device: torch.device) -> Callable:
    """Their Langevin sampler on our prior: the same chain for ``η = s²/2`` and ``U = ½‖z‖² - f``.

    The prior is in evaluation mode here: its power iteration stands still, which is faster than what the authors do.
    """
    from torchebm.core import BaseModel
    from torchebm.samplers import LangevinDynamics

    class Energy(BaseModel):
        def __init__(self):
            super().__init__(device=device)
            self.prior = setting.prior(device).eval()

        def forward(self, x):
            return 0.5 * x.square().sum(1) - self.prior(x)

    energy = Energy()
    energy.prior.load_state_dict(prior.state_dict())
    sampler = LangevinDynamics(energy, step_size=setting.step_size**2 / 2, device=device)
    return lambda: sampler.sample(dim=setting.dim, n_samples=batch, n_steps=setting.steps)


def parts_of_ours(prior: JointEBMPrior, setting: Setting, batch: int, device: torch.device) -> dict[str, Callable]:
    """What any path of ours has to do apart from moving chains, and the bare products by torch."""
    widths = (setting.dim, *setting.hidden)
    pairs = list(zip(widths, widths[1:], strict=False))
    matrices = [torch.randn(a, b, device=device) for a, b in (*pairs, *((b, a) for a, b in pairs))]
    inputs = [torch.randn(batch, len(m), device=device) for m in matrices]
    outputs = [torch.empty(batch, m.shape[1], device=device) for m in matrices]
    draws = torch.empty(batch, setting.dim, device=device)

    def noise():
        for _ in range(setting.steps):
            torch.randn(draws.shape, device=device, out=draws)

    def products():
        for _ in range(setting.steps):
            for x, m, y in zip(inputs, matrices, outputs, strict=True):
                torch.mm(x, m, out=y)

    return {"noise": noise, "weights": prior.plain, "products by torch": products}


def best_rate(rounds: int, device: torch.device) -> float:
    """Floating-point operations per second of torch's matrix product where it is best, over square float32 matrices."""
    sizes = (128, 256, 512, 1024) if device.type == "cpu" else (1024, 2048, 4096, 8192)
    squares = {size: [torch.randn(size, size, device=device) for _ in range(3)] for size in sizes}
    repeats = {size: max(1, int(2e7 if device.type == "cpu" else 2e11) // size**3) for size in sizes}

    def product(size):
        a, b, out = squares[size]
        for _ in range(repeats[size]):
            torch.mm(a, b, out=out)

    calls = {str(size): partial(product, size) for size in sizes}
    seconds = alternate(calls, rounds, device)
    return max(2 * size**3 * repeats[size] / summary(seconds[str(size)])["seconds"] for size in sizes)


def time_scaling(rounds: int, device: torch.device, quick: bool = False) -> dict:
    """Time against one size at a time around the 50-d setting, for our default and our closed form, with exponents."""
    _, base = SETTINGS
    axes = {
        "K": [(x, Setting(base.dim, base.hidden, x, 0.3), 100) for x in (25, 50, 100, 200, 400, 800)],
        "batch": [(x, base, x) for x in (100, 300, 1_000, 3_000, 10_000, 30_000)],
        "width": [(x, Setting(base.dim, (x, x), base.steps, 0.3), 100) for x in (50, 100, 200, 400)],
        "latent size": [(x, Setting(x, base.hidden, base.steps, 0.3), 100) for x in (12, 25, 50, 100, 200)],
    }
    found = {}
    for axis, points in axes.items():
        points = points[:2] if quick else points
        columns: dict[str, list[float]] = {}
        for _, setting, batch in points:
            prior = setting.prior(device)
            names = dict.fromkeys(["closed-form", prior.backend_for()])
            calls = {
                name: partial(prior.sample, batch, setting.steps, setting.step_size, backend=name) for name in names
            }
            # Fewer rounds for the large points, three at least: they are slow and vary little.
            seconds = alternate(calls, 1 if quick else max(3, rounds * 1_000 // (batch + 900)), device)
            for name in names:
                columns.setdefault(name, []).append(summary(seconds[name])["seconds"])
        xs = [x for x, _, _ in points]
        found[axis] = {
            "x": xs,
            "seconds": columns,
            "exponents": {name: exponent(xs, column) for name, column in columns.items()},
        }
    return found
