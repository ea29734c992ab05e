"""Figures 8 and 9 as numbers: chains that run on, and codes under attack."""

import statistics

from hebm_lib.metrics.long_run import drift
from hebm_lib.reproduction.claims.evidence import parts_of
from hebm_lib.reproduction.results import load_seeds, mean_and_spread, paired
from hebm_lib.reproduction.studies.latent_attack import BUDGET, LABELS
from hebm_lib.reproduction.studies.long_run import ANEW
from hebm_lib.reproduction.studies.study import load_study
from hebm_lib.reproduction.tables import number, percent, table

__all__ = ["drifts", "faces_run", "latent_attack", "long_run", "seeds_under_attack"]

CHAINS = {
    "mnist": "joint EBM, ten digits",
    "mnist-capped": "the same, f 3-Lipschitz, fresh chains",
    "mnist-lebm": "latent EBM, ten digits",
    **{part: f"the same, f learned anew, seed {seed} of f" for seed, part in enumerate(ANEW, start=1)},
    "mnist-vlae": "VLAE (no energy), ten digits",
    "mnist-012": "joint EBM, digits 0, 1, 2; one unit per level",
    "mnist-012-capped": "the same, f 10-Lipschitz, fresh chains",
    "mnist-012-lebm": "latent EBM, digits 0, 1, 2; two units",
}
WITHOUT_WALLS = {"mnist-map": "joint EBM", "mnist-map-gaussian": "VLAE"}


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


def drifts() -> str:
    """Is the end of a long chain level? What still moves per 1,000 steps, over training seeds, with a 95 % interval.

    Faces are followed from step 1,000 on, digits from step 1,500, where there are two looks.
    """
    faces = list(load_study("long-run-faces").values())
    digits = [run["metrics"]["health"] for run in load_seeds("mnist")]
    found = {
        "mean f, faces": [(run["steps"], run["f"], 1_000) for run in faces],
        "FD, faces": [(run["looks"], [far["frechet"] for far in run["distance"]], 1_000) for run in faces],
        "mean f, digits": [(run["steps"], run["f"], 1_500) for run in digits],
        "digit Fréchet distance": [(run["steps"], run["distance"], 1_500) for run in digits],
    }
    rows = []
    for what, runs in found.items():
        slopes = [drift(steps, values, start=start) for steps, values, start in runs]
        mean, low, high = paired(slopes, [0.0] * len(slopes))
        climb = statistics.fmean(values[-1] - values[0] for _, values, _ in runs)
        cells = [f"{mean:+z.1f} [{low:+z.1f}, {high:+z.1f}]", str(len(runs))]
        rows.append([what, f"{climb:+z.1f}", f"{runs[0][2]:,}", *cells])
    head = ["measure", "first look to last", "drift from step", "per 1,000 steps, 95 % interval", "seeds"]
    return table(head, rows)


def seeds_under_attack(base: str) -> list[dict]:
    """What the study found of each training seed of a model, level by level, in the order of seeds."""
    return [part["levels"] for part in parts_of("latent-attack", base).values()]


def latent_attack() -> str:
    """How often an attack within one budget makes another digit of the reconstruction, level by level, with and without f."""
    at = str(BUDGET)

    def shares(base: str, key: str) -> list[list[float]]:  # per level one share per seed
        seeds = seeds_under_attack(base)
        return [[levels[level]["budgets"][at][key] for levels in seeds] for level in seeds[0]]

    def row(label: str, base: str, key: str) -> list[str]:
        return [label, *(percent(mean_and_spread(values)) for values in shares(base, key))]

    changed = {label: shares(base, "changed") for base, label in LABELS.items()}
    apart = [
        "{:+.1f} [{:.1f}, {:.1f}]".format(*(100 * value for value in paired(*pair)))
        for pair in zip(*changed.values(), strict=True)
    ]
    ours = next(iter(LABELS))
    rows = [
        *(row(f"rebuilt as another digit, {label}", base, "changed") for base, label in LABELS.items()),
        ["difference, paired by seed", *apart],
        *(row(f"rebuilt as the target's digit, {label}", base, "hit") for base, label in LABELS.items()),
        row("after a random change of the same size, joint EBM", ours, "noise"),
        row("the attacked image itself looks like another digit, joint EBM", ours, "seen"),
        *(
            row(f"rebuilt as another digit, {label} without walls, one seed", base, "changed")
            for base, label in WITHOUT_WALLS.items()
        ),
    ]
    n, pairs = len(seeds_under_attack(ours)), load_study("latent-attack")[ours]["pairs"]
    return table(
        [f"% of {pairs} pairs, {n} training seeds; level attacked", "$z_1$, bottom", "$z_2$", "$z_3$, top"], rows
    )
