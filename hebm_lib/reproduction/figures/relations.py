"""Page 00: who is computed from whom in each model, as data: what the diagram draws and what a model can be asked."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from hebm_lib.baselines.conditional_prior import ConditionalPrior

__all__ = [
    "CONDITIONAL",
    "ONE_LEVEL",
    "WITH_ENERGY",
    "Arrows",
    "arrows",
    "codes_of",
    "drawn",
    "followers",
    "heard",
    "sources",
]

ONE_LEVEL, CONDITIONAL, WITH_ENERGY = ("vae", "lebm"), ("lvae", "hvae", "biva"), ("lebm", "joint-ebm")
"""Kinds without a hierarchy; with a conditional prior; with an energy."""


@dataclass(frozen=True)
class Arrows:
    """Who is computed from whom.

    Nodes are the image ``x``; codes ``z1 … zL``, in BIVA ``b1``, ``t1`` … (inferred on the way up and down) below ``zL``;
    and features, which are functions of what reaches them: ``hi`` of the generator when z_i has joined it, ``ri`` of the
    inference network.
    """

    generation: tuple[tuple[str, str], ...]
    inference: tuple[tuple[str, str], ...]


def codes_of(kind: str, level: int, levels: int = 3) -> tuple[str, ...]:
    """The codes of one level: one, or BIVA's two below the top."""
    return (f"b{level}", f"t{level}") if kind == "biva" and level < levels else (f"z{level}",)


def arrows(kind: str, levels: int = 3) -> Arrows:
    """The arrows of a kind of model; VAE and latent EBM have one level whatever is asked for."""
    levels = 1 if kind in ONE_LEVEL else levels
    return Arrows(tuple(generation(kind, levels)), tuple(inference(kind, levels)))


def feature(level: int) -> str:
    """The generator's feature when z_level has joined it; at the bottom that is the mean image."""
    return f"h{level}" if level > 1 else "x"


def generation(kind: str, levels: int) -> list[tuple[str, str]]:
    """Top down. In LVAE nothing but the code passes on; elsewhere a feature carries what is above."""
    if kind == "lvae":
        return [(f"z{level}", f"z{level - 1}" if level > 1 else "x") for level in range(levels, 0, -1)]
    edges = []
    for level in range(levels, 0, -1):
        codes = codes_of(kind, level, levels)
        edges += [(code, feature(level)) for code in codes]
        if level < levels:
            edges.append((feature(level + 1), feature(level)))
            edges += [(feature(level + 1), code) for code in codes if kind in CONDITIONAL]
    return edges


def inference(kind: str, levels: int) -> list[tuple[str, str]]:
    """Bottom up, and in LVAE and BIVA down again."""
    top = f"z{levels}"
    edges = [(f"r{levels - 1}" if levels > 1 else "x", top)]
    for level in range(1, levels):
        read, above = f"r{level}", f"r{level + 1}" if level + 1 < levels else top
        first, *others = codes_of(kind, level, levels)
        edges += [(f"r{level - 1}" if level > 1 else "x", read), (read, first)]
        if kind in ("hvae", "biva"):  # what was drawn joins the way up
            edges.append((first, above))
        if kind == "lvae":  # the prior, which is merged with what was read
            edges.append((f"z{level + 1}", first))
        for second in others:  # BIVA's way down reads both ways
            edges += [(read, second), (feature(level + 1), second)]
    return edges


def sources(edges: Iterable[tuple[str, str]], node: str) -> set[str]:
    """The codes, and ``x``, that a node is computed from, directly or by way of features."""
    edges, found = tuple(edges), set()
    for start, end in edges:
        if end == node:
            found |= sources(edges, start) if start[0] in "hr" else {start}
    return found


def drawn(kind: str, levels: int = 3) -> dict[int, set[int]]:
    """The levels that each level's prior, and the image (0), are generated from by the arrows."""
    edges, levels = arrows(kind, levels).generation, 1 if kind in ONE_LEVEL else levels
    nodes = {0: ("x",)} | {level: codes_of(kind, level, levels) for level in range(1, levels + 1)}
    return {place: {int(code[1:]) for node in own for code in sources(edges, node)} for place, own in nodes.items()}


def followers(kind: str, level: int, levels: int = 3) -> set[str]:
    """What is generated from a level's codes, directly or by way of others: what moves when its noise is drawn anew."""
    edges, codes = arrows(kind, levels).generation, set(codes_of(kind, level, levels))
    found = set(codes)
    while more := {end for start, end in edges if start in found} - found:
        found |= more
    return {node for node in found - codes if node[0] != "h"}


@torch.no_grad()
def heard(model) -> dict[int, set[int]]:
    """What `drawn` says, asked of a model: the levels that each level's prior, and the image (0), are computed from.

    One level after another is given other values, and the answer is what changes. Of a model with an energy this is the
    generator alone: an energy ties levels together without an order.
    """
    latents, generator = model.latents, torch.Generator(model.device).manual_seed(0)
    like = {"device": model.device, "dtype": next(model.parameters()).dtype, "generator": generator}
    z, other = torch.randn(2, 4, latents.total, **like)

    def answers(code: Tensor) -> dict[int, Tensor]:
        found = {level: torch.zeros(0) for level in range(1, latents.levels + 1)} | {0: model.decode(code)}
        parts = latents.split(code)

        def choose(level: int, mean: Tensor, scale: Tensor) -> Tensor:
            found[level] = torch.cat([mean, scale], 1)
            return parts[level - 1]

        if isinstance(model.prior, ConditionalPrior):
            model.prior.walk(choose, code)
        return found

    was_training = model.training
    model.eval()  # batch norm in training would mix the four rows
    before = answers(z)
    after = {level: answers(latents.redraw(z, level, other)) for level in range(1, latents.levels + 1)}
    model.train(was_training)
    return {
        place: {level for level, answer in after.items() if not torch.equal(answer[place], before[place])}
        for place in sorted(before)
    }
