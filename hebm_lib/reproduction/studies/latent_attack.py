"""The latent attack (Fig. 9) on every level of the joint EBM and of VLAE, its own ladder with f = 0: three training seeds.

Of a model without walls at the bottom there is a pair too, of one seed.
"""

import torch
from matplotlib.figure import Figure
from torch import Tensor

from hebm_lib.data import ImageDataset, load_split
from hebm_lib.experiments import load_experiment
from hebm_lib.metrics.attack import attack_divergence, latent_attack, share_of_the_way
from hebm_lib.metrics.classifier import load_classifier, predict
from hebm_lib.provenance import rounded
from hebm_lib.reproduction.runs import published_or_trained
from hebm_lib.reproduction.studies.study import Study

__all__ = ["BUDGET", "BUDGETS", "LABELS", "PAIRS", "STUDY", "draw_latent_attack", "draw_pairs", "measure_attack"]

PAIRS, SHOWN = 300, 5
"""Pairs of test images that are attacked, and how many of them the picture shows."""
BUDGETS = (0.1, 0.3, 0.5)
"""``‖d‖ / ‖x - x_t‖``: how much an attack may change. Levels and models are compared at the same budget."""
BUDGET = 0.3
"""That of the picture, the scoreboard and the ledger: at most about one attacked image in ten looks like another digit."""
STEPS = 150
"""Of an attack. Within `BUDGET`, ten times as many leave 95 to 100 % of the divergence that these leave."""


def draw_pairs(test: ImageDataset, n: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Indices of ``n`` originals and as many targets of other classes, all different, ``(n,)`` each."""
    order = torch.randperm(len(test), generator=torch.Generator().manual_seed(seed))
    first, second = order[: len(order) // 2], order[len(order) // 2 : len(order) // 2 * 2]
    differ = (test.labels[first] != test.labels[second]).nonzero().flatten()[:n]
    return first[differ], second[differ]


@torch.no_grad()
def measure_attack(
    model, classifier, x: Tensor, target: Tensor, target_labels: Tensor, attacked: Tensor, seed: int = 1
) -> dict[str, float]:
    """What an attack did to the pairs, means over them.

    Args:
        x, target: the pairs, ``(n, C, H, W)``.
        target_labels: ``(n,)``.
        attacked: ``x + d``, ``(n, C, H, W)``.
        seed: of the noise that the attack is compared with.

    Returns:
        ``way``, how far the reconstruction went towards the target's, see `share_of_the_way`; and shares of pairs:
        ``changed``, the reconstruction's class is no longer what it was; ``hit``, it is the target's; ``seen``, the attacked
        image itself has changed its class; ``noise``, what ``changed`` is for a random d of the same length.
    """
    rebuilt, rebuilt_x, rebuilt_target = (model.reconstruct(images) for images in (attacked, x, target))
    before, after = predict(classifier, rebuilt_x), predict(classifier, rebuilt)
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed)).to(x)
    length = ((attacked - x).flatten(1).norm(dim=1) / noise.flatten(1).norm(dim=1)).view(-1, 1, 1, 1)
    shaken = predict(classifier, model.reconstruct((x + length * noise).clamp(-1, 1)))
    found = {
        "way": share_of_the_way(rebuilt[None], rebuilt_x, rebuilt_target),
        "changed": after != before,
        "hit": after == target_labels,
        "seen": predict(classifier, attacked) != predict(classifier, x),
        "noise": shaken != before,
    }
    return {name: values.double().mean().item() for name, values in found.items()}


def measure_latent_attack(name: str, *, precision: str = "32-true") -> dict:
    """All levels of a model attacked, each by itself, within every budget of `BUDGETS`.

    Returns:
        ``pairs``; ``levels``, per level ``start``, the divergence before the attack in nats, and ``budgets``: what
        `measure_attack` finds, with ``divergence``, what is left of it, and ``longer``, what ten times the steps leave of the
        first ten pairs', as a share of what these steps leave.
    """
    model, classifier = published_or_trained(name, precision=precision), load_classifier()
    x, target, labels = load_pairs(name, PAIRS)
    with torch.no_grad():
        q, goal = model.encode(x), model.encode(target)
    levels = {}
    for level in range(1, model.latents.levels + 1):
        attack = latent_attack(model, x, target, level, budgets=BUDGETS, steps=STEPS)
        longer = latent_attack(model, x[:10], target[:10], level, budgets=BUDGETS, steps=10 * STEPS).divergence
        budgets = {
            str(budget): measure_attack(model, classifier, x, target, labels, attack.images[row])
            | {
                "divergence": attack.divergence[row].mean().item(),
                "longer": (longer[row].mean() / attack.divergence[row, :10].mean()).item(),
            }
            for row, budget in enumerate(BUDGETS)
        }
        start = attack_divergence(q, goal, model.latents.columns(level)).mean().item()
        levels[str(level)] = {"start": start, "budgets": budgets}
    return rounded({"pairs": PAIRS, "levels": levels})


def load_pairs(name: str, n: int) -> tuple[Tensor, Tensor, Tensor]:
    """Originals, targets ``(n, C, H, W)`` and the targets' labels from the test images of a run's data."""
    test = load_split(load_experiment(name).data, "test")
    first, second = draw_pairs(test, n)
    return test.batch(first), test.batch(second), test.labels[second]


def draw_latent_attack(parts: dict[str, dict]) -> Figure:
    """Fig. 9 with our models of the first seed: a row of panels per model, a panel per attacked level, one budget."""
    from hebm_lib.reproduction.figures.attack import attack_rows, draw_attacks

    panels = []
    for name, label in LABELS.items():
        model = published_or_trained(name)
        x, target, _ = load_pairs(name, SHOWN)
        row = []
        for level in range(1, model.latents.levels + 1):
            attack = latent_attack(model, x, target, level, budgets=(BUDGET,), steps=STEPS)
            row.append((f"{label}: $z_{level}$ attacked", attack_rows(model, x, target, attack.images[0])))
        panels.append(row)
    return draw_attacks(panels)


LABELS = {"mnist": "joint EBM", "mnist-gaussian": "VLAE"}
"""A model and its own ladder with f = 0, from the same first weights."""
STUDY = Study(
    "latent-attack",
    "Fig. 9: one level's code made into another image's, within a budget for the change of the image",
    {
        "mnist": ("mnist",),
        "mnist-gaussian": (),
        **{f"{name}@{seed}": () for seed in (2, 3) for name in LABELS},
        "mnist-map": ("mnist-map",),
        "mnist-map-gaussian": ("mnist-map-gaussian",),
    },
    measure_latent_attack,
    draw_latent_attack,
    trains=True,
)
