"""Out-of-distribution detection (supplement, Table 1): Fashion-MNIST against MNIST, both ways."""

from hebm_lib.results import ROOT
from hebm_lib.studies.study import Study
from hebm_lib.unfamiliar import BERNOULLI, DIRECTIONS, scores_of_run, scores_without_model, train_bernoulli

__all__ = ["STUDY", "measure_out_of_distribution"]

AT_HOME = {name: runs["joint-ebm"] for name, (_, runs) in DIRECTIONS.items()}
"""Per direction the run whose data are the familiar ones."""


def measure_out_of_distribution(part: str) -> dict:
    """One run's scores, published or with Bernoulli pixels, which are trained first; or those without a model."""
    run, _, how = part.partition(", ")
    if how == "Bernoulli pixels":
        return scores_of_run(run, train_bernoulli(run, ROOT / "runs"))
    return scores_without_model(run) if how == "no model" else scores_of_run(run)


STUDY = Study(
    "out-of-distribution",
    "Fashion-MNIST in, MNIST out, and the reverse: average precision and AUROC of log p(x, z), its terms, other scores",
    {
        **{f"{run}, no model": () for run in AT_HOME.values()},
        **{run: (run,) for _, runs in DIRECTIONS.values() for run in runs.values()},
        **{f"{run}, Bernoulli pixels": () for run in BERNOULLI},
    },
    measure_out_of_distribution,
)
