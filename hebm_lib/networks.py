"""The two ladders and the energy: generator (Eq. 5), inference network (Eq. 8), perceptron f_α (Eq. 3).

What a level may say (where and how z_i enters the generator) and what it may see (which feature it is read from) are
settings, because they decide which level learns what. See `GeneratorConfig` and `InferenceConfig`.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal
from torch.nn.utils.parametrizations import spectral_norm as spectrally_normed

from hebm_lib.config import GeneratorConfig, InferenceConfig
from hebm_lib.latents import LatentSpec

__all__ = [
    "EnergyMLP",
    "Entry",
    "GaussianHead",
    "LadderGenerator",
    "LadderInference",
    "LocalHead",
    "Stage",
    "check_images",
    "check_range",
    "diagonal_gaussian",
    "read",
]

VARIANCE_FLOOR = 1e-6


def conv(c_in: int, c_out: int) -> nn.Conv2d:
    """Three by three, same size, no bias, Xavier-normal: the ladder's plain convolution."""
    return _xavier(nn.Conv2d(c_in, c_out, 3, padding=1, bias=False))


def down(c_in: int, c_out: int) -> nn.Conv2d:
    """Four by four with stride 2: halves the side."""
    return _xavier(nn.Conv2d(c_in, c_out, 4, stride=2, padding=1, bias=False))


def up(c_in: int, c_out: int) -> nn.ConvTranspose2d:
    """Four by four transposed with stride 2: doubles the side."""
    return _xavier(nn.ConvTranspose2d(c_in, c_out, 4, stride=2, padding=1, bias=False))


def _xavier(layer):
    nn.init.xavier_normal_(layer.weight)
    return layer


def activated(layer: nn.Module, width: int, slope: float, batch_norm: bool = False) -> list[nn.Module]:
    """A layer that gives ``width`` channels, batch norm where it is asked for, and a leaky ReLU."""
    norm = nn.BatchNorm1d if isinstance(layer, nn.Linear) else nn.BatchNorm2d
    return [layer, *([norm(width)] if batch_norm else []), nn.LeakyReLU(slope)]


def dense(widths: tuple[int, ...], slope: float, batch_norm: bool = False) -> nn.Sequential:
    """Linear layers through ``widths``, a leaky ReLU after each."""
    layers: list[nn.Module] = []
    for a, b in zip(widths, widths[1:], strict=False):
        layers += activated(nn.Linear(a, b), b, slope, batch_norm)
    return nn.Sequential(*layers)


def check_images(x: Tensor, channels: int, size: int) -> None:
    """Raise `ValueError` unless ``x`` is a batch ``(n, channels, size, size)`` of floating-point images."""
    if x.ndim != 4 or tuple(x.shape[1:]) != (channels, size, size):
        raise ValueError(f"expected images of shape (n, {channels}, {size}, {size}), got {tuple(x.shape)}")
    if not x.is_floating_point():
        raise ValueError(
            f"expected floating-point images in [-1, 1], got {x.dtype}: load_dataset returns them ready, or divide "
            "uint8 images by 127.5 and subtract 1"
        )


def check_range(x: Tensor) -> None:
    """Raise `ValueError` for images that hold NaN or lie far outside [-1, 1]. Waits for the device: not for a training step."""
    most = float(x.detach().abs().max()) if x.numel() else 0.0
    if not most <= 1.5:  # a NaN is not; a perturbed image may pass 1 a little
        raise ValueError(
            f"expected images in [-1, 1], got values up to {most:g}: load_dataset returns them ready, or divide images of "
            "0 … 255 by 127.5 and subtract 1"
        )


class Entry(nn.Module):
    """How one code reaches the feature it joins: a linear map to every place, one shift or gain per channel, or a vector.

    A local code is a map of its own, and its linear map is the same at every place. A gated entry is activated and
    multiplied by a learned factor per place, which starts at 0.1. ``strength`` fades an entry in (0: it says nothing).
    """

    def __init__(
        self,
        dim: int,
        width: int,
        side: int,
        kind: str,
        gain_range: float = 0.0,
        *,
        gate_slope: float | None = None,
        local: bool = False,
    ):
        super().__init__()
        self.shape = (width,) if side == 0 else (width, 1, 1) if kind in ("shift", "gain") else (width, side, side)
        self.code_shape = (dim // side**2, side, side) if local else None
        self.linear = nn.Conv2d(self.code_shape[0], width, 1) if local else nn.Linear(dim, math.prod(self.shape))
        self.kind, self.gain_range, self.gate_slope = kind, gain_range, gate_slope
        self.gate = None if gate_slope is None else nn.Parameter(torch.full(self.shape, 0.1))

    def forward(self, z: Tensor, strength: Tensor | float = 1.0) -> Tensor:
        if self.code_shape is not None:
            code = self.linear(z.unflatten(1, self.code_shape))
        else:
            code = self.linear(z).unflatten(1, self.shape)
        if self.kind == "gain":
            return 1 + strength * self.gain_range * torch.tanh(code)
        if self.gate is not None:
            code = self.gate * nn.functional.leaky_relu(code, self.gate_slope)
        return code if isinstance(strength, float) and strength == 1 else strength * code


class Rung(nn.Module):
    """One ``g_i`` of Eq. 5: joins z_i with the feature from above, then climbs to where the next level down joins.

    Addition: ``act(h + W z)``, then per doubling a transposed convolution and a convolution (the authors'
    hierarchical-sampling network). Concatenation: ``[h, act(W z)]`` merged by a convolution, then the same (Eq. 5).
    Replacement: ``act(W z)``, and h is forgotten.
    """

    def __init__(
        self,
        entry: Entry | None,
        join: str,
        width: int,
        width_below: int,
        doublings: int,
        slope: float,
        batch_norm: bool = False,
    ):
        super().__init__()
        self.entry, self.join = entry, join
        self.act = nn.LeakyReLU(slope)
        concatenates = entry is not None and join == "concat" and entry.kind != "gain"
        self.merge = conv(2 * width, width) if concatenates else None
        layers: list[nn.Module] = []
        # Several doublings share the change of width evenly, on a logarithmic scale.
        ratio = (width_below / width) ** (1 / max(doublings, 1))
        for after in [round(width * ratio ** (i + 1)) for i in range(doublings)]:
            # Addition keeps the width while the side doubles and narrows afterwards; concatenation narrows at once.
            middle = after if join == "concat" else width
            layers += activated(up(width, middle), middle, slope, batch_norm)
            layers += [conv(middle, after), nn.LeakyReLU(slope)]
            width = after
        if doublings == 0:
            layers += [conv(width, width_below), nn.LeakyReLU(slope)]
        # The last activation is left to the join that follows.
        self.climb = nn.Sequential(*layers[:-1])

    def forward(self, h: Tensor, z: Tensor | None, strength: Tensor | float = 1.0) -> Tensor:
        if self.entry is None:
            h = self.act(h)
        elif self.entry.kind == "gain":
            h = self.act(h) * self.entry(z, strength)
        elif self.join == "concat":
            code = self.act(self.entry(z, strength)).expand(-1, -1, *h.shape[2:])
            h = self.act(self.merge(torch.cat([self.act(h), code], dim=1)))
        elif self.join == "replace":
            h = self.act(self.entry(z, strength))
        else:
            h = self.act(h + self.entry(z, strength))
        return self.climb(h)


class LadderGenerator(nn.Module):
    """``g_β`` of Eq. 4 and 5: the top code starts a feature, every lower code joins it on the way to the image.

    Args:
        latents: sizes of z_1 … z_L.
        image_size: side of the image, a multiple of 4.
        channels: 1 (grey) or 3 (colour).
        config: where and how each level joins.

    Shapes: ``forward(z)`` maps ``(n, d)`` to the mean image ``(n, channels, image_size, image_size)`` in [-1, 1].
    """

    def __init__(self, latents: LatentSpec, image_size: int, channels: int, config: GeneratorConfig):
        super().__init__()
        self.latents = latents
        slope, join = config.slope, config.join
        gate_slope = slope if join == "gate" else None
        vectors = sum(f == 0 for f in config.factors)
        maps = len(config.factors) - vectors
        self.act = nn.LeakyReLU(slope)
        arriving: list[tuple[int, ...]] = [()] * latents.levels

        self.start = (config.base_width, image_size // config.base_factor, image_size // config.base_factor)
        self.top = dense((latents.dims[-1], *config.top_hidden), slope, config.batch_norm)
        width = config.top_hidden[-1] if config.top_hidden else latents.dims[-1]

        # Levels that join as vectors, top down (stored bottom first, like everything).
        self.vector_linears, self.vector_entries = nn.ModuleList(), nn.ModuleList()
        for level in reversed(range(maps, maps + vectors)):
            wide = config.widths[level]
            arriving[level] = (width,)
            self.vector_linears.insert(0, nn.Identity() if join == "replace" else nn.Linear(width, wide))
            self.vector_entries.insert(0, Entry(latents.dims[level], wide, 0, "map", gate_slope=gate_slope))
            width = 2 * wide if join == "concat" else wide
        self.join = join
        self.to_map = nn.Linear(width, math.prod(self.start))

        # What the feature passes as a map, bottom first: (width, factor, level from 0 or None where no code joins).
        places = [(w, f, None) for w, f in zip(config.plain_widths, config.plain_factors, strict=True)]
        places += [(config.widths[i], config.factors[i], i) for i in range(maps)]
        places += [(config.base_width, config.base_factor, None)]
        out_width = config.out_width or channels
        self.rungs, self.rung_levels = nn.ModuleList(), []
        for i in reversed(range(len(places))):
            width, factor, level = places[i]
            width_below, factor_below, _ = places[i - 1] if i else (out_width, 1, None)
            entry = None
            if level is not None:
                side = image_size // factor
                arriving[level] = (width, side, side)
                kind = config.entries[level]
                entry = Entry(
                    latents.dims[level],
                    width,
                    side,
                    kind,
                    config.gain_range,
                    gate_slope=None if kind == "gain" else gate_slope,
                    local=level + 1 in config.local_levels,
                )
            elif i == len(places) - 1 and (width, factor) == (width_below, factor_below):
                continue  # the first level down joins at the base itself
            doublings = int(math.log2(factor / factor_below))
            self.rungs.insert(0, Rung(entry, join, width, width_below, doublings, slope, config.batch_norm))
            self.rung_levels.insert(0, level)
        self.maps = maps
        self.arriving = tuple(arriving)
        self.local = tuple(level in config.local_levels for level in range(1, latents.levels + 1))
        self.out = conv(config.out_width, channels) if config.out_width else nn.Identity()

    def forward(self, z: Tensor, strength: Tensor | None = None) -> Tensor:
        codes = self.latents.split(z)
        return self.descend(lambda level, feature: codes[level - 1], strength)

    def descend(self, choose: Callable[[int, Tensor | None], Tensor], strength: Tensor | None = None) -> Tensor:
        """Walk from the top code to the image and ask for each code on the way, when everything above it is known.

        Args:
            choose: ``choose(level, feature)`` gives z_level, ``(n, d_level)``; levels count from L down to 1. The feature
                is what arrives from the levels above, of shape ``(n, *arriving[level - 1])`` and before its activation;
                None at the top. A conditional prior p(z_i | z_{>i}) and a top-down posterior read it.
            strength: ``(L,)``, factors between 0 and 1 on what each lower code says; None means 1. The top's is not read.

        Returns:
            The mean image ``(n, channels, image_size, image_size)`` in [-1, 1].
        """
        factors = [1.0] * self.latents.levels if strength is None else strength.unbind()
        h = self.top(choose(self.latents.levels, None))
        for i in reversed(range(len(self.vector_entries))):
            above, level = self.vector_linears[i](h), self.maps + i
            code = self.vector_entries[i](choose(level + 1, h), factors[level])
            if self.join == "concat":
                h = self.act(torch.cat([above, code], dim=1))
            else:
                h = self.act(code if self.join == "replace" else above + code)
        h = self.to_map(h).unflatten(1, self.start)
        for rung, level in zip(reversed(self.rungs), reversed(self.rung_levels), strict=True):
            if level is None:
                h = rung(h, None)
            else:
                h = rung(h, choose(level + 1, h), factors[level])
        if not isinstance(self.out, nn.Identity):
            h = self.out(self.act(h))
        return torch.tanh(h)


class Stage(nn.Sequential):
    """Two convolutions of the inference trunk: per halving a stride-2 and a plain one; without halving two plain ones."""

    def __init__(self, c_in: int, c_out: int, halvings: int, slope: float, batch_norm: bool = False):
        layers: list[nn.Module] = []
        for shrink in [down] * halvings or [conv]:
            layers += activated(shrink(c_in, c_out), c_out, slope, batch_norm)
            layers += activated(conv(c_out, c_out), c_out, slope, batch_norm)
            c_in = c_out
        super().__init__(*layers)


class GaussianHead(nn.Module):
    """Two linear maps: mean and log-variance of one level."""

    def __init__(self, width: int, dim: int):
        super().__init__()
        self.mean, self.log_variance = nn.Linear(width, dim), nn.Linear(width, dim)

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor]:
        return self.mean(h), self.log_variance(h)


class LocalHead(nn.Module):
    """The same for a local code: a feature map ``(n, width, s, s)`` gives ``channels`` units at each place, flat."""

    def __init__(self, width: int, channels: int):
        super().__init__()
        self.mean, self.log_variance = nn.Conv2d(width, channels, 1), nn.Conv2d(width, channels, 1)

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor]:
        return self.mean(h).flatten(1), self.log_variance(h).flatten(1)


def read(feature: Tensor, reads: str) -> Tensor:
    """What a level is shown of its feature ``(n, c, h, w)``: all places, their average, or that of the busy places.

    ``salient`` weighs each place by how far its feature lies from the image's mean feature. The amount of ink cancels:
    a level reads what the strokes are like, not how many there are.
    """
    if reads == "map":
        return feature.flatten(1)
    mean = feature.mean(dim=(2, 3))
    if reads == "pooled":
        return mean
    weight = (feature - mean[:, :, None, None]).square().sum(1, keepdim=True)
    return (weight * feature).sum(dim=(2, 3)) / (weight.sum(dim=(2, 3)) + 1e-6)


class LadderInference(nn.Module):
    """``q_φ`` of Eq. 7 and 8: a bottom-up trunk r_1, r_2, …; level i is read by its own branch off the trunk below it.

    Args:
        latents: sizes of z_1 … z_L.
        image_size: side of the image, a multiple of 4.
        channels: 1 (grey) or 3 (colour).
        config: which feature each level is read from, and whether it sees places or only averages.

    Shapes: ``forward(x)`` maps ``(n, channels, image_size, image_size)`` to ``Independent(Normal)`` with batch shape
    ``(n,)`` and event shape ``(d,)``. Raises `ValueError` for images of another shape or type.
    """

    def __init__(self, latents: LatentSpec, image_size: int, channels: int, config: InferenceConfig):
        super().__init__()
        self.latents, self.image_size, self.channels = latents, image_size, channels
        slope, norm = config.slope, config.batch_norm
        self.trunk, self.branches, self.heads = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        width, factor = channels, 1
        for dim, below, f, reads in zip(latents.dims, config.widths, config.factors, config.reads, strict=False):
            halvings = int(math.log2(f / factor))
            self.trunk.append(Stage(width, below, halvings, slope, norm))
            # Each branch has convolutions of its own: a level need not see what the trunk keeps for the levels above.
            self.branches.append(Stage(width, below, halvings, slope, norm))
            self.heads.append(GaussianHead(below if reads != "map" else below * (image_size // f) ** 2, dim))
            width, factor = below, f
        self.reads, self.deviation = config.reads, config.deviation
        plain = []
        for below, f in zip(config.plain_widths, config.plain_factors, strict=True):
            plain.append(Stage(width, below, int(math.log2(f / factor)), slope, norm))
            width, factor = below, f
        self.plain = nn.Sequential(*plain)
        flat = width * (image_size // factor) ** 2
        self.top = dense((flat, *config.top_hidden), slope, norm)
        self.heads.append(GaussianHead(config.top_hidden[-1] if config.top_hidden else flat, latents.dims[-1]))

    def forward(self, x: Tensor, strength: Tensor | None = None) -> Independent:
        """``q_φ(z|x)``; ``strength``, ``(L,)`` between 0 and 1, dims the feature that each lower level reads."""
        check_images(x, self.channels, self.image_size)
        means, spreads = [], []
        h = x
        for i, (trunk, branch, head, reads) in enumerate(zip(self.trunk, self.branches, self.heads, self.reads)):
            seen = branch(h if strength is None else strength[i] * h)
            mean, spread = head(read(seen, reads))
            means.append(mean)
            spreads.append(spread)
            h = trunk(h)
        mean, spread = self.heads[-1](self.top(self.plain(h).flatten(1)))
        mean, spread = torch.cat([*means, mean], 1), torch.cat([*spreads, spread], 1)
        precise = torch.promote_types(mean.dtype, torch.float32)  # at least: half precision is too coarse for a KL
        spread = spread.to(precise)
        if self.deviation == "sigmoid":
            scale = spread.sigmoid() + 0.001
        else:
            scale = (spread.exp() + VARIANCE_FLOOR).sqrt()
        return diagonal_gaussian(mean.to(precise), scale)


def diagonal_gaussian(mean: Tensor, scale: Tensor) -> Independent:
    """``N(mean, diag(scale²))`` over the last axis."""
    # Argument checks would read the values back from the device at every step; `Trainer` looks for NaN instead.
    return Independent(Normal(mean, scale, validate_args=False), 1, validate_args=False)


class EnergyMLP(nn.Module):
    """``f_α``: a perceptron on the joined code, the NEGATIVE energy of Eq. 3.

    Args:
        dim: d, the number of latent units of all levels together.
        hidden: widths of the hidden layers, at least one.
        spectral_norm: divide each weight by its largest singular value (tracked by one power iteration per
            call in training mode, frozen in evaluation mode).
        slope: negative slope of the leaky ReLUs.
        lipschitz: factor on the output; with spectral norm f is Lipschitz with this constant.

    Shapes: ``forward(z)`` maps ``(n, d)`` to ``(n,)``.
    """

    def __init__(
        self, dim: int, hidden: tuple[int, ...], spectral_norm: bool = True, slope: float = 0.2, lipschitz=1.0
    ):
        super().__init__()
        if not hidden:
            raise ValueError("an energy needs at least one hidden layer; use GaussianPrior for f = 0")
        self.slope, self.lipschitz = slope, float(lipschitz)
        widths = (dim, *hidden, 1)
        layers = [nn.Linear(a, b) for a, b in zip(widths, widths[1:], strict=False)]
        self.layers = nn.ModuleList([spectrally_normed(layer) for layer in layers] if spectral_norm else layers)

    def forward(self, z: Tensor) -> Tensor:
        h = z
        for layer in self.layers[:-1]:
            h = nn.functional.leaky_relu(layer(h), self.slope)
        return self.lipschitz * self.layers[-1](h).squeeze(-1)
