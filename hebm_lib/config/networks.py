"""Settings of the two ladders and the energy."""

import math
from dataclasses import dataclass
from typing import Literal

from hebm_lib.config.checks import require, require_choices

__all__ = ["GeneratorConfig", "InferenceConfig", "PriorConfig"]


def require_plain(part: str, factors: tuple[int, ...], widths: tuple[int, ...]) -> None:
    """Raise `ValueError` unless places without a code are ascending powers of two with one width each."""
    powers = all(f > 0 and f & (f - 1) == 0 for f in factors)
    require(
        len(factors) == len(widths) and list(factors) == sorted(factors) and powers and all(w > 0 for w in widths),
        f"{part}: plain_factors must be ascending powers of two with one positive plain_widths each, got {factors} and "
        f"{widths}",
    )


@dataclass(frozen=True, kw_only=True)
class GeneratorConfig:
    """The ladder generator of Eq. 5: what each level may say.

    The tuples describe levels 1 … L-1, bottom first. Level L, the top, has no entry of its own: it starts the ladder.
    """

    factors: tuple[int, ...] = (2,)
    """Where z_i joins: a map of side ``image side / factor``; 0 means a plain vector, before there is any map."""
    widths: tuple[int, ...] = (32,)
    """Channels of the feature that z_i joins."""
    entries: tuple[Literal["map", "shift", "gain"], ...] = ("map",)
    """How z_i enters: ``map`` gives every place of the feature its own linear function of z_i; ``shift`` gives one
    number per channel, the same everywhere, so that the level can speak of style but not of place; ``gain`` multiplies
    each channel by a bounded factor, so that the level can change how a thing is drawn but not which thing."""
    top_hidden: tuple[int, ...] = (128, 128)
    """Fully connected layers behind the top code."""
    base_factor: int = 4
    """The first map has side ``image side / base_factor``."""
    base_width: int = 64
    """Channels of the first map."""
    join: Literal["add", "concat", "gate", "replace"] = "add"
    """``concat`` is Eq. 5; ``add`` is what the authors' hierarchical-sampling code does. For the baselines: ``gate`` adds
    with a learned factor per entry (VLAE); ``replace`` lets nothing but z_i pass, so that the image is made from z_1 and
    the levels above speak through p(z_i | z_{i+1}) alone (LVAE)."""
    out_width: int = 0
    """Channels of one more convolution at full size before the image; 0 leaves it out."""
    slope: float = 0.2
    """Negative slope of the leaky ReLUs."""
    gain_range: float = 0.25
    """A ``gain`` entry multiplies channels by 1 ± this much at most."""
    plain_factors: tuple[int, ...] = ()
    """Places between the bottom level's join and the image through which the feature passes with no code to join it."""
    plain_widths: tuple[int, ...] = ()
    """Channels at those places, bottom first like the rest."""
    local_levels: tuple[int, ...] = ()
    """Levels, counted from 1, whose code is itself a map with the side of the feature it joins: channels × side² units.
    It joins, and in a hierarchical baseline it is read, place by place."""
    batch_norm: bool = False
    """Batch norm before the activations inside a block (VLAE's published networks)."""

    def __post_init__(self):
        require_choices(self)
        require(
            self.join != "replace" or set(self.entries) <= {"map"},
            f"generator: join 'replace' leaves nothing to shift or to multiply, entries must be 'map', got {self.entries}",
        )
        require_plain("generator", self.plain_factors, self.plain_widths)
        for level in self.local_levels:
            require(
                1 <= level <= len(self.factors) and self.factors[level - 1] > 0 and self.entries[level - 1] == "map",
                f"generator: local_levels must be levels below the top that join as maps, got {self.local_levels}",
            )
        require(0 < self.gain_range < 1, f"generator.gain_range must be between 0 and 1, got {self.gain_range}")
        n = len(self.factors)
        require(
            len(self.widths) == n and len(self.entries) == n,
            f"generator: factors, widths and entries each need one value per level below the top, got lengths "
            f"{n}, {len(self.widths)} and {len(self.entries)}",
        )
        require(all(w > 0 for w in self.widths + self.top_hidden), "generator: widths must be positive")
        places = [math.inf if f == 0 else f for f in self.factors] + [math.inf]
        require(
            all(a <= b for a, b in zip(places, places[1:], strict=False)),
            f"generator: factors must not fall from the bottom level up (0, a vector, last), got {self.factors}",
        )
        for f in self.factors + (self.base_factor,):
            require(f >= 0 and f & (f - 1) == 0, f"generator: factors must be powers of two (or 0), got {f}")
        require(
            self.base_factor >= max((1, *self.factors)),
            f"generator: base_factor {self.base_factor} must be at least the largest of factors {self.factors}",
        )
        require(
            max((1, *self.plain_factors)) <= min((f for f in self.factors if f), default=self.base_factor),
            f"generator: plain_factors {self.plain_factors} lie below the bottom level, so none may be larger than its",
        )


@dataclass(frozen=True, kw_only=True)
class InferenceConfig:
    """The ladder inference network of Eq. 8: what each level may see. Tuples describe levels 1 … L-1, bottom first."""

    factors: tuple[int, ...] = (2,)
    """Side of the feature that level i is read from: ``image side / factor``."""
    widths: tuple[int, ...] = (32,)
    """Channels of that feature."""
    reads: tuple[Literal["map", "pooled", "salient"], ...] = ("map",)
    """``map`` reads the whole feature map; ``pooled`` its average over the image: style without place; ``salient`` its
    average where the image is busy: style without place and without amount."""
    top_hidden: tuple[int, ...] = (128, 128)
    """Fully connected layers before the top code."""
    slope: float = 0.01
    """Negative slope of the leaky ReLUs."""
    plain_factors: tuple[int, ...] = ()
    """Stages of the trunk between the last level that reads it and the top code's layers, which no level reads."""
    plain_widths: tuple[int, ...] = ()
    """Channels of those stages."""
    batch_norm: bool = False
    """Batch norm before the activations (VLAE's published networks)."""
    deviation: Literal["log-variance", "sigmoid"] = "log-variance"
    """What the second linear map of a level gives: the log-variance, or the deviation as sigmoid + 0.001 (VLAE)."""

    def __post_init__(self):
        require_choices(self)
        require_plain("inference", self.plain_factors, self.plain_widths)
        n = len(self.factors)
        require(
            len(self.widths) == n and len(self.reads) == n,
            f"inference: factors, widths and reads each need one value per level below the top, got lengths "
            f"{n}, {len(self.widths)} and {len(self.reads)}",
        )
        require(all(w > 0 for w in self.widths + self.top_hidden), "inference: widths must be positive")
        previous = 1
        for f in self.factors + self.plain_factors:
            require(
                f >= previous and f & (f - 1) == 0,
                f"inference: factors must be powers of two that do not fall from the bottom up, got {self.factors}",
            )
            previous = f


@dataclass(frozen=True, kw_only=True)
class PriorConfig:
    """The joint energy f_α of Eq. 3, or no energy at all."""

    hidden: tuple[int, ...] = (100, 100)
    """Widths of the perceptron's hidden layers. Empty: f = 0, so the prior is the plain Gaussian."""
    spectral_norm: bool = True
    """Keep every linear layer's largest singular value at 1, so that f is 1-Lipschitz (authors' code; not in the paper)."""
    lipschitz: float = 1.0
    """Factor on f: with spectral norm, f is Lipschitz with this constant. In few dimensions 1 is too mild a tilt."""
    slope: float = 0.2
    """Negative slope of the leaky ReLUs."""
    levels: Literal["joint", "separate"] = "joint"
    """``joint`` is Eq. 3, one f on all levels together; ``separate`` is a sum of one f per level, each with these widths."""
    activation: Literal["leaky", "silu"] = "leaky"
    """Behind the hidden layers: ``silu`` is smooth, gains a little more and takes thrice as long on the CPU, where the
    compiled chain knows leaky ReLUs only."""
    start: Literal["random", "zero"] = "random"
    """``zero``: the last layer starts from zero, so that f = 0 and the prior is N(0, I) until f is learned."""
    chains: int = 0
    """So many chains of the prior go on from one training step to the next (persistent chains, Tieleman 2008); with 0
    every step's chains start from fresh noise, as in Algorithm 1."""
    restart: float = 0.0
    """Share of the persistent chains that starts anew from N(0, I) at each visit: the law of short chains stays good as
    well, and no chain is lost for good where f has left it (Du and Mordatch 2019)."""
    jumps: int = 0
    """So many Gaussians, fitted to the codes at the start of each phase of α alone, propose to the persistent chains a jump
    into another mode before their K steps, by Metropolis's rule (`hebm_lib.sampling.JumpProposal`). Without jumps small
    steps never learn how much mass each mode has: the long chain drifts there. 0 for none."""

    def __post_init__(self):
        require_choices(self)
        require(self.chains >= 0, f"prior.chains must not be negative, got {self.chains}")
        require(self.hidden or not self.chains, "prior.chains: without an energy there are no chains to go on with")
        require(
            self.start == "random" or not (self.spectral_norm and self.hidden),
            "prior.start: a layer of zeros has no direction that spectral norm could keep; set prior.spectral_norm to false",
        )
        require(0 <= self.restart <= 1, f"prior.restart is a share between 0 and 1, got {self.restart}")
        require(self.chains or not self.restart, "prior.restart: chains that start from noise anyway need no restart")
        require(self.jumps >= 0, f"prior.jumps must not be negative, got {self.jumps}")
        require(self.chains or not self.jumps, "prior.jumps: chains that start from noise have no mode to jump from")
        require(all(w > 0 for w in self.hidden), f"prior.hidden: widths must be positive, got {self.hidden}")
        require(self.lipschitz > 0, f"prior.lipschitz must be positive, got {self.lipschitz}")
