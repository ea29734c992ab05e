"""The loop that runs Algorithm 1 on one processor or many: batches, optimisers, logs, checkpoints.

The algorithm itself is `hebm_lib.algorithm.algorithm_1`; which networks learn when is `hebm_lib.training.phases`.
"""

from hebm_lib.training.processes import TrainingInterrupted, make_fabric
from hebm_lib.training.trainer import DivergenceError, Trainer

__all__ = [
    "DivergenceError",
    "Trainer",
    "TrainingInterrupted",
    "make_fabric",
]
