"""One row per model of the book, on the same images at the same budget."""

from hebm_lib.experiments import KIND_NAMES
from hebm_lib.reproduction.results import load_result, load_seeds, mean_and_sd, result_names
from hebm_lib.reproduction.tables import budget, each_level, number, table

__all__ = ["FAMILY", "all_runs", "family"]

REMARKS = {"vae": ", one level", "lebm": ", one level", "biva": ", six levels", "joint-ebm": " (ours)"}
FAMILY = {kind: name + REMARKS.get(kind, "") for kind, name in KIND_NAMES.items()}
"""Kinds of models, from those that fail for want of levels to the book's own."""


def bound(runs: list[dict]) -> str:
    """The ELBO over the seeds whose log Z is known; it says so where these are not all."""
    known = [run for run in runs if "elbo" in run["metrics"]]
    if not known:
        return "not measured"
    some = "" if len(known) == len(runs) else f" ({len(known)} of {len(runs)} seeds)"
    return number(mean_and_sd(known, "elbo"), 1) + some


def tighter(runs: list[dict]) -> str:
    """The importance-weighted bound of the seeds of which it was measured."""
    known = [run["metrics"] for run in runs if {"elbo", "tightening"} <= run["metrics"].keys()]
    if not known:
        return "not measured"
    values = [{"metrics": {"iwae": m["elbo"] + m["tightening"]["nats"]}} for m in known]
    some = "" if len(known) == len(runs) else f" ({len(known)} of {len(runs)} seeds)"
    return number(mean_and_sd(values, "iwae"), 1) + some


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
            rows.append([label, error, bound(runs), tighter(runs), kl, accuracy, parameters(runs[0]), budget(runs)])
    header = [
        "model",
        "test MSE, [-1, 1]",
        "ELBO, nats",
        "with 1,000 draws, nats",
        "KL per level, nats",
        "latent accuracy per level, %",
    ]
    return table([*header, "parameters", "budget"], rows)


def all_runs() -> str:
    """One row per published run: test error, bound, f on both sides, parameters, budget."""
    rows = []
    for name in result_names():
        result = load_result(name)
        m = result["metrics"]
        kl = " / ".join(f"{v:.1f}" for v in m["kl"])
        f = f"{m['f_posterior']:.2f} / {m['f_prior']:.2f}"
        exact = f"{m['elbo']:.1f}" if "elbo" in m else "not measured"
        if "elbo_bracket" in m and m["elbo_bracket"][1] - m["elbo_bracket"][0] > 0.05:
            exact += " ({:.1f} to {:.1f})".format(*m["elbo_bracket"])
        rows.append([name, f"{m['mse']:.4f}", exact, kl, f, parameters(result), budget([result])])
    header = ["run", "test MSE, [-1, 1]", "ELBO (its bracket), nats", "KL per level, nats"]
    return table([*header, "f posterior / prior", "parameters", "budget"], rows)
