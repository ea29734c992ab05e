"""Long-run chains (Fig. 8) of the joint EBM, of the latent EBM, and of a Gaussian prior as the control."""

from hebm_lib.checkpoint import load_pretrained
from hebm_lib.config import LangevinConfig
from hebm_lib.data import load_split
from hebm_lib.experiments import load_experiment
from hebm_lib.metrics.classifier import load_classifier
from hebm_lib.metrics.long_run import long_run_report
from hebm_lib.reproduction.studies.study import Study

__all__ = ["MODELS", "STUDY", "measure_long_run"]

MODELS = (
    "mnist",
    "mnist-capped",
    "mnist-lebm",
    "mnist-vlae",
    "mnist-012",
    "mnist-012-capped",
    "mnist-012-lebm",
)


def measure_long_run(name: str) -> dict:
    """`long_run_report` of a published model on the test images of its own data, as plain JSON types."""
    config = load_experiment(name)
    # A prior without an energy has no K of its own: it gets the others'.
    langevin = config.training.langevin if config.model.prior.hidden else LangevinConfig()
    return long_run_report(load_pretrained(name), langevin, load_split(config.data, "test"), load_classifier())


STUDY = Study(
    "long-run",
    "2,500 Langevin steps from N(0, I): energy, distance to the test images, saturation, classes",
    {name: (name,) for name in MODELS},
    measure_long_run,
)
