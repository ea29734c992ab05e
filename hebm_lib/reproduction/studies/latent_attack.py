"""The latent attack (Fig. 9) on every level of the joint EBM and of VLAE, the same ladders without the energy."""

import torch
from matplotlib.figure import Figure
from torch import Tensor

from hebm_lib.checkpoint import load_pretrained
from hebm_lib.data import ImageDataset, load_split
from hebm_lib.experiments import load_experiment
from hebm_lib.metrics.attack import (
    WEIGHTS,
    Attack,
    attack_divergence,
    auddc,
    latent_attack,
    relative_distance,
    share_of_the_way,
    within_budget,
)
from hebm_lib.metrics.classifier import load_classifier, predict
from hebm_lib.reproduction.studies.study import Study

__all__ = ["BUDGETS", "PAIRS", "STUDY", "draw_latent_attack", "draw_pairs", "measure_attack", "measure_latent_attack"]

PAIRS, SHOWN = 20, 5
"""Pairs of test images that are attacked, as many as in the original protocol, and how many of them the picture shows."""
BUDGETS = (0.1, 0.2, 0.3, 0.5)
"""``‖d‖ / ‖x - x_t‖``: how much an attack may change. Levels are compared at the same budget."""
PICTURE_BUDGET = 0.5


def draw_pairs(test: ImageDataset, n: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Indices of ``n`` originals and as many targets of other classes, all different, ``(n,)`` each."""
    order = torch.randperm(len(test), generator=torch.Generator().manual_seed(seed))
    first, second = order[: len(order) // 2], order[len(order) // 2 : len(order) // 2 * 2]
    differ = (test.labels[first] != test.labels[second]).nonzero().flatten()[:n]
    return first[differ], second[differ]


@torch.no_grad()
def measure_attack(
    model, classifier, x: Tensor, target: Tensor, target_labels: Tensor, attack: Attack, seed: int = 1
) -> dict:
    """What one level's attacks did to the pairs, as plain JSON types.

    Args:
        x, target: the pairs, ``(n, C, H, W)``.
        target_labels: ``(n,)``.
        attack: of these pairs.
        seed: of the noise that attacks are compared with.

    Returns:
        ``auddc`` per pair; per C the means over pairs of ``distortion``, ``distance``, ``way``, ``divergence``, and the
        shares ``changed`` (the reconstruction's class is no longer the original's) and ``hit`` (it is the target's);
        ``budgets``, the same of the best attack within each budget, with ``seen`` (the attacked image itself has changed
        its class) and ``noise`` (what ``changed`` is for a random d of the same length).
    """
    rebuilt_x, rebuilt_target = model.reconstruct(x), model.reconstruct(target)
    rebuilt = torch.stack([model.reconstruct(images) for images in attack.images])
    way_to_target = (target - x).flatten(1).norm(dim=1)
    distortion = attack.distortion / way_to_target
    before = predict(classifier, rebuilt_x)
    after = torch.stack([predict(classifier, images) for images in rebuilt])
    measures = {
        "distortion": distortion,
        "distance": relative_distance(rebuilt, rebuilt_x, rebuilt_target, target),
        "way": share_of_the_way(rebuilt, rebuilt_x, rebuilt_target),
        "divergence": attack.divergence,
        "changed": (after != before).float(),
        "hit": (after == target_labels).float(),
    }
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))
    noise = noise / noise.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    budgets = {}
    for budget in BUDGETS:
        images, chosen = within_budget(attack, distortion, budget)
        at = (chosen, torch.arange(len(x)))
        length = attack.distortion[at].view(-1, 1, 1, 1)
        shaken = predict(classifier, model.reconstruct((x + length * noise).clamp(-1, 1)))
        budgets[str(budget)] = {name: _mean(values[at]) for name, values in measures.items()} | {
            "seen": _mean(predict(classifier, images) != predict(classifier, x)),
            "noise": _mean(shaken != before),
        }
    areas = [round(v, 4) for v in auddc(distortion, measures["distance"]).tolist()]
    by_weight = {name: [_mean(row) for row in values] for name, values in measures.items()}
    return {"auddc": areas, **by_weight, "budgets": budgets}


def measure_latent_attack(name: str) -> dict:
    """All levels of a published model attacked, each by itself, with every C of `WEIGHTS`."""
    model, classifier = load_pretrained(name), load_classifier()
    x, target, labels = load_pairs(name, PAIRS)
    with torch.no_grad():
        q = model.encode(x), model.encode(target)
    levels = {}
    for level in range(1, model.latents.levels + 1):
        start = attack_divergence(*q, model.latents.columns(level))
        attack = latent_attack(model, x, target, level)
        levels[str(level)] = {
            "start": _mean(start),
            **measure_attack(model, classifier, x, target, labels, attack),
            "excess": excess(model, x, target, level, attack),
        }
    return {"pairs": PAIRS, "weights": list(WEIGHTS), "levels": levels}


def excess(model, x: Tensor, target: Tensor, level: int, attack: Attack, pairs: int = 3, steps: int = 2_000) -> dict:
    """Were the steps enough? By which share the objective lies above that of a much longer attack, for some C and pairs."""
    rows = [WEIGHTS.index(c) for c in (2**-4, 1.0, 16.0)]
    weights = torch.tensor([WEIGHTS[k] for k in rows])[:, None]
    longer = latent_attack(model, x[:pairs], target[:pairs], level, weights.flatten().tolist(), steps=steps)
    best = longer.divergence + weights * longer.distortion.square()
    found = (attack.divergence + torch.tensor(WEIGHTS)[:, None] * attack.distortion.square())[rows, :pairs]
    return {f"{c:g}": _mean(over) for c, over in zip(weights.flatten().tolist(), found / best - 1, strict=True)}


def load_pairs(name: str, n: int) -> tuple[Tensor, Tensor, Tensor]:
    """Originals, targets ``(n, C, H, W)`` and the targets' labels from the test images of a published model's data."""
    test = load_split(load_experiment(name).data, "test")
    first, second = draw_pairs(test, n)
    return test.batch(first), test.batch(second), test.labels[second]


def draw_latent_attack(parts: dict[str, dict]) -> Figure:
    """Fig. 9 with our models: a row of panels per model, a panel per attacked level, all within one budget."""
    from hebm_lib.reproduction.figures.attack import attack_rows, draw_attacks

    panels = []
    for name in parts:
        model = load_pretrained(name)
        x, target, _ = load_pairs(name, SHOWN)
        far = (target - x).flatten(1).norm(dim=1)
        row = []
        for level in range(1, model.latents.levels + 1):
            attack = latent_attack(model, x, target, level)
            images, _ = within_budget(attack, attack.distortion / far, PICTURE_BUDGET)
            row.append((f"{LABELS[name]}: $z_{level}$ attacked", attack_rows(model, x, target, images)))
        panels.append(row)
    return draw_attacks(panels)


def _mean(values: Tensor) -> float:
    """A mean in four digits: more would pretend to be reproducible."""
    return float(f"{values.double().mean():.4g}")


LABELS = {"mnist-capped": "joint EBM", "mnist-vlae": "VLAE"}
STUDY = Study(
    "latent-attack",
    "Fig. 9: one level's code made into another image's, with the smallest change of the image",
    {name: (name,) for name in LABELS},
    measure_latent_attack,
    draw_latent_attack,
)
