"""Settings of a run as frozen dataclasses: what is trained on what, how long, with which step sizes. No code that acts.

A config is checked when it is made, so a wrong value is an error before anything is loaded or trained.
`to_dict` and `from_dict` are exact inverses through JSON.
"""

from hebm_lib.config.checks import from_dict, to_dict
from hebm_lib.config.experiment import (
    BaselineConfig,
    DataConfig,
    ExperimentConfig,
    ForeignModel,
    ModelConfig,
    RunConfig,
)
from hebm_lib.config.networks import GeneratorConfig, InferenceConfig, PriorConfig
from hebm_lib.config.training import EnergyConfig, LangevinConfig, OptimiserConfig, TrainingConfig

__all__ = [
    "BaselineConfig",
    "DataConfig",
    "EnergyConfig",
    "ExperimentConfig",
    "ForeignModel",
    "GeneratorConfig",
    "InferenceConfig",
    "LangevinConfig",
    "ModelConfig",
    "OptimiserConfig",
    "PriorConfig",
    "RunConfig",
    "TrainingConfig",
    "from_dict",
    "to_dict",
]
