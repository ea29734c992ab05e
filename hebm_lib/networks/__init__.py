"""The two ladders and the energy: generator (Eq. 5), inference network (Eq. 8), perceptron f_α (Eq. 3).

What a level may say (where and how z_i enters the generator) and what it may see (which feature it is read from) are
settings, because they decide which level learns what. See `GeneratorConfig` and `InferenceConfig`.
"""

from hebm_lib.networks.blocks import Stage, check_images, check_range, dense, diagonal_gaussian
from hebm_lib.networks.energy import EnergyMLP, SeparateEnergies
from hebm_lib.networks.generator import Entry, LadderGenerator, Rung
from hebm_lib.networks.inference import GaussianHead, LadderInference, LocalHead, read, way_to_the_top

__all__ = [
    "EnergyMLP",
    "Entry",
    "GaussianHead",
    "LadderGenerator",
    "LadderInference",
    "LocalHead",
    "Rung",
    "SeparateEnergies",
    "Stage",
    "check_images",
    "check_range",
    "dense",
    "diagonal_gaussian",
    "read",
    "way_to_the_top",
]
