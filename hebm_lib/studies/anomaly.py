"""Anomaly detection (Table 3): every model trained without one digit. A part is a training of some minutes."""

from hebm_lib.held_out import KINDS, PAPER_LABELS, look_without_model, train_without
from hebm_lib.results import ROOT
from hebm_lib.studies.study import Study

__all__ = ["STUDY", "measure_anomaly"]

OTHER_LABELS = tuple(label for label in range(10) if label not in PAPER_LABELS)
"""The digits that the paper does not hold out; for the joint EBM, and for what needs no model."""

PAIRS = (
    *(("pixels", label) for label in range(10)),
    *((kind, label) for kind in KINDS for label in PAPER_LABELS),
    *(("joint-ebm", label) for label in OTHER_LABELS),
)
"""Kind and digit of every part, in the order in which they are measured; ``pixels`` needs no model."""


def measure_anomaly(part: str) -> dict:
    """`train_without`, or `look_without_model`, of ``kind/digit``; an interrupted training is resumed from ``runs/``."""
    kind, _, label = part.partition("/")
    return look_without_model(int(label)) if kind == "pixels" else train_without(kind, int(label), ROOT / "runs")


STUDY = Study(
    "anomaly",
    "one digit left out of the training, then looked for: AUPRC of log p(x, z) over the last ten epochs, and of its terms",
    {f"{kind}/{label}": () for kind, label in PAIRS},
    measure_anomaly,
)
