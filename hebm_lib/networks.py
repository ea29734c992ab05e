"""The two ladders and the energy: generator (Eq. 5), inference network (Eq. 8), perceptron f_α (Eq. 3).

What a level may say (where and how z_i enters the generator) and what it may see (which feature it is read from) are
settings, because they decide which level learns what. See `GeneratorConfig` and `InferenceConfig`.
"""

import math

import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal
from torch.nn.utils.parametrizations import spectral_norm as spectrally_normed

from hebm_lib.config import GeneratorConfig, InferenceConfig
from hebm_lib.latents import LatentSpec

__all__ = ["EnergyMLP", "LadderGenerator", "LadderInference", "check_images"]

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


def dense(widths: tuple[int, ...], slope: float) -> nn.Sequential:
    """Linear layers through ``widths``, a leaky ReLU after each."""
    layers: list[nn.Module] = []
    for a, b in zip(widths, widths[1:], strict=False):
        layers += [nn.Linear(a, b), nn.LeakyReLU(slope)]
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


class Entry(nn.Module):
    """How one code reaches the feature it joins: a linear map to every place, one shift or gain per channel, or a vector."""

    def __init__(self, dim: int, width: int, side: int, kind: str, gain_range: float = 0.0):
        super().__init__()
        self.shape = (width,) if side == 0 else (width, 1, 1) if kind in ("shift", "gain") else (width, side, side)
        self.linear = nn.Linear(dim, math.prod(self.shape))
        self.kind, self.gain_range = kind, gain_range

    def forward(self, z: Tensor) -> Tensor:
        code = self.linear(z).unflatten(1, self.shape)
        return 1 + self.gain_range * torch.tanh(code) if self.kind == "gain" else code


class Rung(nn.Module):
    """One ``g_i`` of Eq. 5: joins z_i with the feature from above, then climbs to where the next level down joins.

    Addition: ``act(h + W z)``, then per doubling a transposed convolution and a convolution (the authors'
    hierarchical-sampling network). Concatenation: ``[h, act(W z)]`` merged by a convolution, then the same (Eq. 5).
    """

    def __init__(self, entry: Entry | None, join: str, width: int, width_below: int, doublings: int, slope: float):
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
            layers += [up(width, middle), nn.LeakyReLU(slope), conv(middle, after), nn.LeakyReLU(slope)]
            width = after
        if doublings == 0:
            layers += [conv(width, width_below), nn.LeakyReLU(slope)]
        # The last activation is left to the join that follows.
        self.climb = nn.Sequential(*layers[:-1])

    def forward(self, h: Tensor, z: Tensor | None) -> Tensor:
        if self.entry is None:
            h = self.act(h)
        elif self.entry.kind == "gain":
            h = self.act(h) * self.entry(z)
        elif self.join == "add":
            h = self.act(h + self.entry(z))
        else:
            code = self.act(self.entry(z)).expand(-1, -1, *h.shape[2:])
            h = self.act(self.merge(torch.cat([self.act(h), code], dim=1)))
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
        vectors = sum(f == 0 for f in config.factors)
        maps = len(config.factors) - vectors
        self.act = nn.LeakyReLU(slope)

        self.start = (config.base_width, image_size // config.base_factor, image_size // config.base_factor)
        self.top = dense((latents.dims[-1], *config.top_hidden), slope)
        width = config.top_hidden[-1] if config.top_hidden else latents.dims[-1]

        # Levels that join as vectors, top down (stored bottom first, like everything).
        self.vector_linears, self.vector_entries = nn.ModuleList(), nn.ModuleList()
        for level in reversed(range(maps, maps + vectors)):
            wide = config.widths[level]
            self.vector_linears.insert(0, nn.Linear(width, wide))
            self.vector_entries.insert(0, Entry(latents.dims[level], wide, 0, "map"))
            width = wide if join == "add" else 2 * wide
        self.join = join
        self.to_map = nn.Linear(width, math.prod(self.start))

        # Levels that join as maps. `places` lists (width, factor) of each rung's input, bottom first; the last is the base.
        places = [(config.widths[i], config.factors[i]) for i in range(maps)] + [
            (config.base_width, config.base_factor)
        ]
        out_width = config.out_width or channels
        self.rungs = nn.ModuleList()
        for i in reversed(range(len(places))):
            width, factor = places[i]
            width_below, factor_below = places[i - 1] if i else (out_width, 1)
            entry = None
            if i < maps:
                entry = Entry(latents.dims[i], width, image_size // factor, config.entries[i], config.gain_range)
            elif (width, factor) == (width_below, factor_below):
                continue  # the first level down joins at the base itself
            doublings = int(math.log2(factor / factor_below))
            self.rungs.insert(0, Rung(entry, join, width, width_below, doublings, slope))
        self.maps = maps
        self.out = conv(config.out_width, channels) if config.out_width else nn.Identity()

    def forward(self, z: Tensor) -> Tensor:
        codes = self.latents.split(z)
        h = self.top(codes[-1])
        for i in reversed(range(len(self.vector_entries))):
            above, code = self.vector_linears[i](h), self.vector_entries[i](codes[self.maps + i])
            h = self.act(above + code if self.join == "add" else torch.cat([above, code], dim=1))
        h = self.to_map(h).unflatten(1, self.start)
        for i in reversed(range(len(self.rungs))):
            h = self.rungs[i](h, codes[i] if i < self.maps else None)
        if not isinstance(self.out, nn.Identity):
            h = self.out(self.act(h))
        return torch.tanh(h)


class Stage(nn.Sequential):
    """Two convolutions of the inference trunk: per halving a stride-2 and a plain one; without halving two plain ones."""

    def __init__(self, c_in: int, c_out: int, halvings: int, slope: float):
        layers: list[nn.Module] = []
        for _ in range(halvings):
            layers += [down(c_in, c_out), nn.LeakyReLU(slope), conv(c_out, c_out), nn.LeakyReLU(slope)]
            c_in = c_out
        if halvings == 0:
            layers = [conv(c_in, c_out), nn.LeakyReLU(slope), conv(c_out, c_out), nn.LeakyReLU(slope)]
        super().__init__(*layers)


class GaussianHead(nn.Module):
    """Two linear maps: mean and log-variance of one level."""

    def __init__(self, width: int, dim: int):
        super().__init__()
        self.mean, self.log_variance = nn.Linear(width, dim), nn.Linear(width, dim)

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor]:
        return self.mean(h), self.log_variance(h)


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
        slope = config.slope
        self.trunk, self.branches, self.heads = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        width, factor = channels, 1
        for dim, below, f, reads in zip(latents.dims, config.widths, config.factors, config.reads, strict=False):
            halvings = int(math.log2(f / factor))
            self.trunk.append(Stage(width, below, halvings, slope))
            # Each branch has convolutions of its own: a level need not see what the trunk keeps for the levels above.
            self.branches.append(Stage(width, below, halvings, slope))
            self.heads.append(GaussianHead(below if reads != "map" else below * (image_size // f) ** 2, dim))
            width, factor = below, f
        self.reads = config.reads
        flat = width * (image_size // factor) ** 2
        self.top = dense((flat, *config.top_hidden), slope)
        self.heads.append(GaussianHead(config.top_hidden[-1] if config.top_hidden else flat, latents.dims[-1]))

    def forward(self, x: Tensor) -> Independent:
        check_images(x, self.channels, self.image_size)
        means, log_variances = [], []
        h = x
        for trunk, branch, head, reads in zip(self.trunk, self.branches, self.heads, self.reads, strict=False):
            mean, log_variance = head(read(branch(h), reads))
            means.append(mean)
            log_variances.append(log_variance)
            h = trunk(h)
        mean, log_variance = self.heads[-1](self.top(h.flatten(1)))
        mean, log_variance = torch.cat([*means, mean], 1), torch.cat([*log_variances, log_variance], 1)
        precise = torch.promote_types(mean.dtype, torch.float32)  # at least: half precision is too coarse for a KL
        scale = (log_variance.to(precise).exp() + VARIANCE_FLOOR).sqrt()
        # Argument checks would read the values back from the device at every step; `Trainer` looks for NaN instead.
        return Independent(Normal(mean.to(precise), scale, validate_args=False), 1, validate_args=False)


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
