"""Joint latent-space energy-based priors for hierarchical generative models.

A library to learn from and to run: the ladder generator and inference network, the joint energy-based prior, Langevin
sampling and Algorithm 1 of *Learning Hierarchical Features with Joint Latent Space Energy-Based Prior* (Cui, Wu and
Han, 2023). Symbols are the paper's: z_1 is the bottom level, z_L the top, f_α the NEGATIVE energy.
"""

import hebm_lib.baselines  # noqa: F401 - makes the baselines' kinds known to build_model
from hebm_lib.checkpoint import load_pretrained, load_run
from hebm_lib.config import ExperimentConfig, TrainingConfig
from hebm_lib.data import load_dataset
from hebm_lib.experiments import load_experiment
from hebm_lib.langevin import langevin_dynamics
from hebm_lib.latents import LatentSpec
from hebm_lib.model import JointEBM, build_model
from hebm_lib.networks import LadderGenerator, LadderInference
from hebm_lib.prior import GaussianPrior, JointEBMPrior
from hebm_lib.training import Trainer

__version__ = "0.1.0"

__all__ = [
    "ExperimentConfig",
    "GaussianPrior",
    "JointEBM",
    "JointEBMPrior",
    "LadderGenerator",
    "LadderInference",
    "LatentSpec",
    "Trainer",
    "TrainingConfig",
    "build_model",
    "langevin_dynamics",
    "load_dataset",
    "load_experiment",
    "load_pretrained",
    "load_run",
]
