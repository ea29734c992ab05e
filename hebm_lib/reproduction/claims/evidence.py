"""What the stored runs say of each claim: a number on which the claim's side is the positive one, with its interval.

Every function reads ``book/results`` and returns `Evidence`, or None where nothing has been run. The records of
``book/claims.yml`` name them.
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hebm_lib.reproduction.claims.worth import bounds_of_pair
from hebm_lib.reproduction.results import load_seeds, paired
from hebm_lib.reproduction.studies.latent_attack import BUDGET
from hebm_lib.reproduction.studies.study import stored_study

__all__ = ["MEASURES", "Evidence", "parts_of"]


@dataclass(frozen=True)
class Evidence:
    """How far the claim's side is ahead.

    Attributes:
        what: the number in words, with a place ``{}`` for it.
        mean, low, high: of the advantage, in its unit, with the 95 % interval over seeds; NaN where there is one seed.
        n: training seeds, or repetitions where ``what`` says so.
        unit: behind the number.
        digits: after the point.
    """

    what: str
    mean: float
    low: float
    high: float
    n: int
    unit: str = ""
    digits: int = 1

    def text(self) -> str:
        """The number as a table shows it.

        Example:
            >>> Evidence("gains {}", 4.6, 3.9, 5.4, 3, " nats").text()
            'gains +4.6 nats [3.9, 5.4], n = 3'
            >>> Evidence("{}", -0.02, -3.2, 3.1, 5, digits=0).text()
            '+0 [-3, 3], n = 5'
        """
        value = f"{self.mean:+z.{self.digits}f}{self.unit}"  # z: no minus before a zero
        if self.low == self.low:
            value += f" [{self.low:z.{self.digits}f}, {self.high:z.{self.digits}f}]"
        return self.what.format(value) + f", n = {self.n}"


def advantage(what: str, ours: Sequence[float], theirs: Sequence[float], **form) -> Evidence | None:
    """Evidence from pairs, the claim's side first."""
    if not ours:
        return None
    return Evidence(what, *paired(ours, theirs), len(ours), **form)


def worst(parts: list[Evidence]) -> Evidence:
    """Of several things that must all hold the one that is least certain."""
    return min(parts, key=lambda part: part.mean if part.low != part.low else part.low)


def metric(name: str, key: str) -> list:
    """One metric of all published seeds of a run."""
    return [run["metrics"][key] for run in load_seeds(name) if key in run["metrics"]]


def stepwise(what: str, rows: list[list[float]], **form) -> Evidence | None:
    """The smallest rise from a level to the next, over seeds."""
    if not rows:
        return None
    levels = range(len(rows[0]) - 1)
    return worst(
        [advantage(what, [100 * row[i + 1] for row in rows], [100 * row[i] for row in rows], **form) for i in levels]
    )


def parts_of(study: str, base: str) -> dict[int, dict]:
    """The stored parts of a study by training seed: ``base``, ``base@2``, …; empty where there are none."""
    found = {}
    for name, part in stored_study(study)["parts"].items():
        stem, _, seed = name.partition("@")
        if stem == base:
            found[int(seed or 1)] = part
    return found


def between(study: str, ahead: str, behind: str, pick: Callable[[dict], float], what: str, **form) -> Evidence | None:
    """Evidence from two parts of a study, paired by seed: how much larger ``pick`` is of the first."""
    first, second = parts_of(study, ahead), parts_of(study, behind)
    seeds = sorted(first.keys() & second.keys())
    return advantage(what, [pick(first[s]) for s in seeds], [pick(second[s]) for s in seeds], **form)


def class_at_the_bottom() -> Evidence | None:
    rows = metric("mnist-hvae", "latent_accuracy")
    what = "bottom level reads the class better than the top by {}"
    return advantage(what, [100 * row[0] for row in rows], [100 * row[-1] for row in rows], unit=" points")


def nats() -> Evidence | None:
    ours, theirs = zip(*bounds_of_pair("mnist"), strict=True)
    return advantage("bound over the same ladder with f = 0: {}", ours, theirs, unit=" nats")


def joint_over_separate() -> Evidence | None:
    what = "gain of a joint f over one f per level: {}"
    return between("fixed-codes", "base", "separate", lambda part: part["gain"], what, unit=" nats")


def street_numbers_sort() -> Evidence | None:
    """Figure 4's order: z_1 has most of the light, z_2 of the colour, z_4 of the digit. The least certain of the three."""
    from hebm_lib.reproduction.studies.photograph_levels import LEVELS

    stored = stored_study("natural-images")["parts"]
    parts, found = [stored[name] for name in LEVELS if name in stored], []
    for level, what, key in ((1, "light", "light"), (2, "colour", "colour"), (4, "digit", "class_change")):
        mine = [100 * part[key][level - 1] for part in parts]
        rest = [100 * max(part[key][: level - 1] + part[key][level:]) for part in parts]
        words = f"z_{level} changes the {what} more than any other level does, by {{}}"
        found.append(advantage(words, mine, rest, unit=" points"))
    return worst(found) if parts else None


def levels_sort() -> Evidence | None:
    return stepwise(
        "digit changes more often from level to level, at least by {}", metric("mnist", "class_change"), unit=" points"
    )


def level_accuracy(cell: str) -> list[list[float]]:
    """Table 1's accuracies of a cell of the study ``levels``, by seed."""
    return [part["latent_accuracy"] for _, part in sorted(parts_of("levels", cell).items())]


def rises_with() -> Evidence | None:
    what = "accuracy rises from level to level, at least by {}"
    return stepwise(what, level_accuracy("levels-222-own"), unit=" points")


def falls_without() -> Evidence | None:
    rows = level_accuracy("levels-222-own-gaussian")
    what = "with f = 0 the top falls below the middle by {}"
    return advantage(what, [100 * row[1] for row in rows], [100 * row[2] for row in rows], unit=" points")


def stay_and_visit() -> Evidence | None:
    stay = [100 * row[0] for row in metric("mnist-012", "traversal_stay")]
    visit = [100 * row[1] for row in metric("mnist-012", "traversal_visit")]
    return worst(
        [
            advantage("walks that do so, above 85 %: {}", side, [85.0] * len(side), unit=" points")
            for side in (stay, visit)
        ]
    )


def modes() -> Evidence | None:
    what = "prior told from the codes less often by {}"
    ours = [100 * fit["c2st"]["prior"][2] for fit in metric("mnist-012-2d", "prior_fit")]
    theirs = [100 * fit["c2st"]["gaussian"][2] for fit in metric("mnist-012-2d-gaussian", "prior_fit")]
    return advantage(what, theirs, ours, unit=" points")


def long_chains() -> Evidence | None:
    """Of digits and faces the less certain; both measure a distance after K and after 2,500 steps."""
    digits = [(run["distance"][1], run["distance"][-1]) for run in metric("mnist", "health")]
    parts, faces = parts_of("long-run-faces", "celeba-64"), []
    for seed in sorted(parts):
        at = dict(zip(parts[seed]["looks"], parts[seed]["distance"], strict=True))
        faces.append((at[parts[seed]["K"]]["frechet"], at[parts[seed]["looks"][-1]]["frechet"]))
    found = []
    for of, pairs in (("digits", digits), ("faces", faces)):
        if pairs:
            what = f"distance of {of} at 2,500 steps below 1.15 times that at K by {{}}"
            found.append(advantage(what, [1.15 * near for near, _ in pairs], [far for _, far in pairs], digits=0))
    return worst(found) if found else None


def attack() -> Evidence | None:
    """An attack on the top level, and one on the bottom, within the same budget: how often another digit is rebuilt."""
    seeds = parts_of("latent-attack", "mnist").values()
    if not seeds:
        return None
    bottom, *_, top = zip(
        *([100 * at["budgets"][str(BUDGET)]["changed"] for at in part["levels"].values()] for part in seeds),
        strict=True,
    )
    what = "attacks on the top change the digit more often than those on the bottom by {}"
    return advantage(what, top, bottom, unit=" points")


def below_vlae(pack: str) -> Evidence | None:
    """The Fréchet distance of a joint EBM's samples, and of its twin's."""
    what = "distance below VLAE's by {}"
    return between("natural-images", f"{pack}-vlae", pack, lambda part: part["samples"]["frechet"], what)


def svhn_distance() -> Evidence | None:
    return below_vlae("svhn-11k")


def faces_distance() -> Evidence | None:
    return below_vlae("celeba-64")


def cifar_distance() -> Evidence | None:
    """Against the nearest of the five systems that Table 6 has beside ours: the one whose distances are least in the mean."""
    ours = parts_of("natural-images", "cifar10")
    five = [parts_of("natural-images", f"cifar10-{kind}") for kind in ("twostage", "rae", "ncpvae", "multincp", "lebm")]
    distances = [{seed: part["samples"]["frechet"] for seed, part in parts.items()} for parts in (ours, *five)]
    if not all(distances):
        return None
    mine, next_best = distances[0], min(distances[1:], key=lambda found: statistics.fmean(found.values()))
    seeds = sorted(mine.keys() & next_best.keys())
    what = "distance below that of the nearest of five others by {}"
    return advantage(what, [next_best[seed] for seed in seeds], [mine[seed] for seed in seeds])


def anomaly() -> Evidence | None:
    from hebm_lib.reproduction.claims.left_out import auprc_of, seeds_of
    from hebm_lib.reproduction.results import load_paper
    from hebm_lib.reproduction.studies.anomaly import PAPER_LABELS

    seeds = seeds_of("joint-ebm").values()
    ours = [statistics.fmean(auprc_of(by[label])[0] for label in PAPER_LABELS) for by in seeds]
    paper = statistics.fmean(load_paper()["table3_anomaly_auprc"]["ours"])
    return advantage("mean AUPRC of five digits, above the paper's: {}", ours, [paper] * len(ours), digits=2)


def on_codes(ahead: str, behind: str, what: str) -> Evidence | None:
    """How much farther samples of one setting are than those of another after training's K steps, on codes that stand still.

    Of MNIST's ladder and of those of photographs with three seeds or more the least certain.

    Args:
        ahead, behind: settings of the study ``image-codes``; ``k60`` is the ``base`` of ``fixed-codes``.
        what: with a place for the images and one for the number.
    """
    studies = {"MNIST": ("fixed-codes", "")} | {pack: ("image-codes", f"{pack}/") for pack in ("svhn-11k", "celeba-64")}
    found = []
    for images, (study, prefix) in studies.items():
        pair = [prefix + ("base" if (study, name) == ("fixed-codes", "k60") else name) for name in (ahead, behind)]
        words = what.format(images, "{}")
        found.append(between(study, *pair, lambda part: part["distance"]["K"], words, digits=0))
    enough = [evidence for evidence in found if evidence and evidence.n >= 3]
    return worst(enough) if enough else None


def more_steps() -> Evidence | None:
    return on_codes("k15", "k60", "distance on {} with K = 15 above that with K = 60: {}")


def wider() -> Evidence | None:
    return on_codes("h10", "k60", "distance on {} with 10 units above that with 100: {}")


def out_of_distribution() -> Evidence | None:
    what = "AUROC above its twin's with f = 0 by {}"

    def area(part: dict) -> float:
        return part["scores"]["-log p(x, z)"]["auroc"]

    return between("out-of-distribution", "fashion", "fashion-gaussian", area, what, digits=3)


def disentangles() -> Evidence | None:
    what = "MIG above pro-VLAE's after three steps by {}"
    return between("disentanglement", "shapes3d", "shapes3d-provlae-s3", lambda part: part["mig"], what, digits=2)


MEASURES: dict[str, Callable[[], Evidence | None]] = {
    measure.__name__: measure
    for measure in (
        class_at_the_bottom,
        nats,
        joint_over_separate,
        street_numbers_sort,
        levels_sort,
        rises_with,
        falls_without,
        stay_and_visit,
        modes,
        long_chains,
        attack,
        svhn_distance,
        faces_distance,
        cifar_distance,
        anomaly,
        more_steps,
        wider,
        out_of_distribution,
        disentangles,
    )
}
"""By the names that ``book/claims.yml`` uses."""
