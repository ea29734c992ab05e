"""Figures 8 and 9 as numbers: chains that run on, and codes under attack."""

from hebm_lib.reproduction.results import mean_and_spread
from hebm_lib.reproduction.studies.study import load_study
from hebm_lib.reproduction.tables import number, percent, table

__all__ = ["faces_run", "latent_attack", "long_run"]

CHAINS = {
    "mnist": "joint EBM, ten digits",
    "mnist-capped": "the same, f 3-Lipschitz, fresh chains",
    "mnist-lebm": "latent EBM, ten digits",
    "mnist-vlae": "VLAE (no energy), ten digits",
    "mnist-012": "joint EBM, digits 0, 1, 2; one unit per level",
    "mnist-012-capped": "the same, f 10-Lipschitz, fresh chains",
    "mnist-012-lebm": "latent EBM, digits 0, 1, 2; two units",
}
ATTACKED = {"mnist-capped": "joint EBM", "mnist-vlae": "VLAE"}
BUDGET = "0.3"
"""The change of the image that an attack may make, as a share of the distance to the target."""


def long_run() -> str:
    """Per model its samples after K and after all steps: distance to the data, f, classes."""
    rows, parts = [], load_study("long-run")
    for name, label in CHAINS.items():
        if name not in parts:
            continue
        found = parts[name]
        at = found["steps"].index(found["K"])
        distances = [number((found["distance"][i], found["distance_sd"][i]), 0) for i in (at, -1)]
        f = [f"{found['f'][i]:.1f}" for i in (at, -1)]
        most = [percent((max(found["class_shares"][i]), float("nan"))) for i in (at, -1)]
        rows.append([label, str(found["K"]), *distances, " → ".join(f), " → ".join(most)])
    header = ["model", "K", "digit Fréchet distance at K", "at 2,500 steps", "mean f, K → 2,500"]
    return table([*header, "share of the commonest class, %"], rows)


def faces_run() -> str:
    """A row per training seed of ``celeba-64``: its samples' distance to real faces as chains go on, and where f ends."""
    rows = []
    for name, found in load_study("long-run-faces").items():
        far = [f"{distance['frechet']:.0f}" for distance in found["distance"]]
        ends = [f"{found['f'][-1]:.1f}", f"{found['f_codes']:.1f}"]
        rows.append([name.partition("@")[2] or "1", far[0], far[found["looks"].index(found["K"])], far[-1], *ends])
    return table(
        ["faces, seed", "FD: start, N(0, I)", "at K", "at 2,500 steps", "mean f there", "mean f of codes"], rows
    )


def latent_attack() -> str:
    """Per model and attacked level: AUDDC, and how often the class changes within a budget."""
    rows, parts = [], load_study("latent-attack")
    for name, label in ATTACKED.items():
        if name not in parts:
            continue
        levels = parts[name]["levels"]
        areas = [mean_and_spread(v["auddc"]) for v in levels.values()]
        rows.append([f"AUDDC, {label}", *(number(pair, 2) for pair in areas)])
        changed = [(v["budgets"][BUDGET]["changed"], float("nan")) for v in levels.values()]
        rows.append([f"class changed in %, {label}", *map(percent, changed)])
    return table([f"attack on one level, {parts['mnist-vlae']['pairs']} pairs", "z_1", "z_2", "z_3"], rows)
