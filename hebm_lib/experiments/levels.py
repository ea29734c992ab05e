"""The registry's entries for what orders the levels (Table 1, Figure 5): units × bottom path × prior.

On MNIST all of them; on Fashion-MNIST those without the book's walls, with the paper's units.

All cells see the same images in the same order for as long, and the two priors of a cell begin from the same weights and
share the first half of their epochs, so that whatever differs between them is the energy's doing. With two units on every
level f learns gently (`hebm_lib.experiments.recipe.gentle`).
"""

from dataclasses import replace

from hebm_lib.config import ExperimentConfig
from hebm_lib.experiments.published import vlae_networks
from hebm_lib.experiments.recipe import gentle

__all__ = ["BOTTOMS", "CLOTHED", "UNITS", "cell_name", "levels_experiments"]

UNITS = {"222": (2, 2, 2), "2210": (2, 2, 10)}
"""Units per level, z_1 first: the paper's, and those of the book's own models."""
BOTTOMS = {
    "walls": "the bottom level sees style and says style only (salient, gain)",
    "map": "all levels read and enter as whole maps, as in the authors' code",
    "own": "VLAE's own MNIST networks, gated, at a quarter of their widths",
}
"""What the bottom level may see and say."""


CLOTHED = ("map", "own")
"""Bottom paths that are trained on Fashion-MNIST too."""


def cell_name(units: str, bottom: str, *, energy: bool) -> str:
    """The entry of one cell.

    Args:
        units: of `UNITS` on MNIST, or ``fashion``: 2/2/2 on Fashion-MNIST.
        bottom: of `BOTTOMS`.
        energy: joint, or f = 0.

    Example:
        >>> cell_name("222", "map", energy=False), cell_name("fashion", "own", energy=True)
        ('levels-222-map-gaussian', 'levels-fashion-own')
    """
    return f"levels-{units}-{bottom}" + ("" if energy else "-gaussian")


def with_own_networks(config: ExperimentConfig) -> ExperimentConfig:
    """The ladders of VLAE's public MNIST code at a quarter of their widths: 16, 32 and 256 for 64, 128 and 1,024.

    They then have 1.2 million weights, near the other cells' 1.4 million. Pixels stay Gaussian with the σ of the other cells,
    where that code weighs absolute errors.
    """
    generator, inference = vlae_networks(256, 16)
    return replace(config, model=replace(config.model, generator=generator, inference=inference))


def levels_experiments(
    walls: dict[bool, ExperimentConfig], plain: dict[bool, ExperimentConfig], clothes: dict[bool, ExperimentConfig]
) -> list[ExperimentConfig]:
    """All sixteen cells.

    Args:
        walls, plain, clothes: MNIST with and without walls, Fashion-MNIST without, by whether their energy is learned.
    """
    found = []
    for units, dims in UNITS.items():
        for bottom in BOTTOMS:
            found += cell_pair(walls if bottom == "walls" else plain, units, bottom, dims)
    for bottom in CLOTHED:
        found += cell_pair(clothes, "fashion", bottom, UNITS["222"])
    return found


def cell_pair(
    bases: dict[bool, ExperimentConfig], units: str, bottom: str, dims: tuple[int, ...]
) -> list[ExperimentConfig]:
    """A cell with its energy, and with f = 0."""
    found = []
    for energy in (True, False):
        config = with_own_networks(bases[energy]) if bottom == "own" else bases[energy]
        config = gentle(config) if dims == UNITS["222"] else config
        what = f"levels {'/'.join(map(str, dims))}; {BOTTOMS[bottom]}; {'joint energy' if energy else 'f = 0'}"
        what += ", on Fashion-MNIST" if units == "fashion" else ""
        name, model = cell_name(units, bottom, energy=energy), replace(config.model, latent_dims=dims)
        found.append(replace(config, name=name, description=what, model=model))
    return found
