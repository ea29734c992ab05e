"""One row per model of the book, on the same images at the same budget."""

from hebm_lib.experiments import KIND_NAMES
from hebm_lib.reproduction.results import load_result, load_seeds, mean_and_sd, result_names
from hebm_lib.reproduction.tables import budget, each_level, number, table

__all__ = ["FAMILY", "all_runs", "family"]

REMARKS = {"vae": ", one level", "lebm": ", one level", "biva": ", six levels", "joint-ebm": " (ours)"}
FAMILY = {kind: name + REMARKS.get(kind, "") for kind, name in KIND_NAMES.items()}
"""Kinds of models, from those that fail for want of levels to the book's own."""


def bound(runs: list[dict]) -> str:
    """The ELBO where log Z is 0 or known, else what can be known of it, marked."""
    if all("elbo" in run["metrics"] for run in runs):
        return number(mean_and_sd(runs, "elbo"), 1)
    return number(mean_and_sd(runs, "elbo_plus_log_z"), 1) + " (+ log Z)"


def parameters(run: dict) -> str:
    """All networks together, in millions."""
    return f"{sum(run['parameters'].values()) / 1e6:.2f}M"


def family(data: str) -> str:
    """Test error, bound, latent accuracy, parameters and budget of every model that is published on ``data``."""
    rows = []
    for kind, label in FAMILY.items():
        runs = load_seeds(data if kind == "joint-ebm" else f"{data}-{kind}")
        if runs:
            error, accuracy = number(mean_and_sd(runs, "mse"), 4), each_level(runs, "latent_accuracy")
            kl = each_level(runs, "kl", 1)
            rows.append([label, error, bound(runs), kl, accuracy, parameters(runs[0]), budget(runs)])
    header = ["model", "test MSE, [-1, 1]", "ELBO, nats", "KL per level, nats", "latent accuracy per level, %"]
    return table([*header, "parameters", "budget"], rows)


def all_runs() -> str:
    """One row per published run: test error, bound, f on both sides, parameters, budget."""
    rows = []
    for name in result_names():
        result = load_result(name)
        m = result["metrics"]
        kl = " / ".join(f"{v:.1f}" for v in m["kl"])
        f = f"{m['f_posterior']:.2f} / {m['f_prior']:.2f}"
        exact = f"{m['elbo']:.1f}" if "elbo" in m else ""
        rows.append(
            [name, f"{m['mse']:.4f}", f"{m['elbo_plus_log_z']:.1f}", exact, kl, f, parameters(result), budget([result])]
        )
    header = ["run", "test MSE, [-1, 1]", "ELBO + log Z, nats", "ELBO, nats", "KL per level, nats"]
    return table([*header, "f posterior / prior", "parameters", "budget"], rows)
