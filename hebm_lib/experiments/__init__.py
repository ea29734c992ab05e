"""The registry: every run that the book shows has a name here."""

from hebm_lib.experiments.registry import EXPERIMENTS, KIND_NAMES, experiment_of, load_experiment

__all__ = ["EXPERIMENTS", "KIND_NAMES", "experiment_of", "load_experiment"]
