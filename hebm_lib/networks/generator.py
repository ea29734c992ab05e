"""The ladder generator (Eq. 5): where and how each z_i enters, which is all that it may say. See `GeneratorConfig`."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from hebm_lib.config import GeneratorConfig
from hebm_lib.latents import LatentSpec
from hebm_lib.networks.blocks import activated, conv, dense, up
from hebm_lib.sampling.cpu_speed import LeakyReLU, lies_channels_last

__all__ = ["Entry", "LadderGenerator", "Rung"]


class Entry(nn.Module):
    """How one code reaches the feature it joins: a linear map to every place, one shift or gain per channel, or a vector.

    A local code is a map of its own, and its linear map is the same at every place. A gated entry is activated and
    multiplied by a learned factor per place, which starts at 0.1. ``strength`` fades an entry in (0: it says nothing).

    Example:
        >>> z = torch.randn(2, 3)
        >>> Entry(3, 16, 7, "map")(z).shape, Entry(3, 16, 7, "shift")(z).shape
        (torch.Size([2, 16, 7, 7]), torch.Size([2, 16, 1, 1]))
        >>> Entry(3, 16, 7, "gain", 0.12)(z, strength=0.0).unique()  # faded out, a gain multiplies by 1
        tensor([1.], ...)
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

    def forward(self, z: Tensor, strength: Tensor | float = 1.0, joins: Tensor | None = None) -> Tensor:
        """``joins``: the feature that this joins; the code is laid out like it, which makes their sum cheap."""
        if self.code_shape is not None:
            code = self.linear(z.unflatten(1, self.code_shape))
        elif joins is not None and lies_channels_last(joins) and self.shape == joins.shape[1:]:
            # The weights in the feature's order, and transposed: their gradient then is a product of long rows.
            weight = self.linear.weight.unflatten(0, self.shape).permute(3, 1, 2, 0).flatten(1)
            bias = self.linear.bias.unflatten(0, self.shape).permute(1, 2, 0)
            code = torch.addmm(bias.flatten(), z, weight).unflatten(1, bias.shape).permute(0, 3, 1, 2)
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

    Example:
        >>> rung = Rung(Entry(3, 16, 7, "map"), "add", 16, 8, doublings=1, slope=0.2)
        >>> rung(torch.zeros(2, 16, 7, 7), torch.zeros(2, 3)).shape
        torch.Size([2, 8, 14, 14])
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
        self.act = nn.LeakyReLU(slope)  # not in place: what arrives is read by others too
        concatenates = entry is not None and join == "concat" and entry.kind != "gain"
        self.merge = conv(2 * width, width) if concatenates else None
        layers: list[nn.Module] = []
        # Several doublings share the change of width evenly, on a logarithmic scale.
        ratio = (width_below / width) ** (1 / max(doublings, 1))
        for after in [round(width * ratio ** (i + 1)) for i in range(doublings)]:
            # Addition keeps the width while the side doubles and narrows afterwards; concatenation narrows at once.
            middle = after if join == "concat" else width
            layers += activated(up(width, middle), middle, slope, batch_norm, feeds_convolution=True)
            layers += [conv(middle, after), LeakyReLU(slope)]
            width = after
        if doublings == 0:
            layers += [conv(width, width_below), LeakyReLU(slope)]
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
            h = self.act(h + self.entry(z, strength, h))
        return self.climb(h)


class LadderGenerator(nn.Module):
    """``g_β`` of Eq. 4 and 5: the top code starts a feature, every lower code joins it on the way to the image.

    Args:
        latents: sizes of z_1 … z_L.
        image_size: side of the image, a multiple of 4.
        channels: 1 (grey) or 3 (colour).
        config: where and how each level joins.

    Shapes: ``forward(z)`` maps ``(n, d)`` to the mean image ``(n, channels, image_size, image_size)`` in [-1, 1].

    Example:
        >>> config = GeneratorConfig(factors=(2,), widths=(16,), entries=("map",), top_hidden=(32,))
        >>> generator = LadderGenerator(LatentSpec((2, 3)), 8, 1, config)
        >>> generator(torch.zeros(4, 5)).shape, generator.arriving
        (torch.Size([4, 1, 8, 8]), ((16, 4, 4), ()))
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
