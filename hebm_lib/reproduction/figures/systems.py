"""Page 00: the seventeen systems in words, each linked to the file that builds it and to the pages on which it is at work."""

import re
import statistics
from dataclasses import dataclass

import yaml

from hebm_lib.config import ExperimentConfig
from hebm_lib.experiments import KIND_NAMES, experiment_of, load_experiment
from hebm_lib.model import BUILDERS
from hebm_lib.provenance import ROOT
from hebm_lib.reproduction.studies.study import load_study
from hebm_lib.reproduction.tables import table

__all__ = ["FAMILY", "OTHERS", "Member", "family_table", "others_table"]


@dataclass(frozen=True)
class Member:
    """One model in words.

    Attributes:
        name: as the book writes it.
        prior, hierarchy, inference, sampler: the four choices; ``{K}`` and ``{posterior}`` are steps of chains.
        pages: numbers of the pages on which it is at work.
        density: its prior with three levels, as a formula; empty for what has no diagram.
    """

    name: str
    prior: str
    hierarchy: str
    inference: str
    sampler: str
    pages: tuple[str, ...] = ()
    density: str = ""


PRODUCT, ABOVE = "$p_0(z_1)\\, p_0(z_2)\\, p_0(z_3)$", "$p_0(z_3)\\, p(z_2 | z_3)\\, p(z_1 | z_2, z_3)$"
INDEPENDENT, GIVEN = "independent Gaussians", "Gaussians, given all above"
DOWN, CHAIN, POSTERIOR = "a draw per level", "{K} steps on $f_\\alpha$", "{posterior} steps through $g_\\beta$"

FAMILY: dict[str, Member] = {
    kind: Member(KIND_NAMES[kind], *choices)
    for kind, choices in {
        "vae": ("Gaussian", "none", "network", "a draw", ("16",), "$p_0(z)$"),
        "lebm": ("tilted Gaussian", "none", POSTERIOR, CHAIN, ("02",), "$\\propto e^{f_\\alpha(z)}\\, p_0(z)$"),
        "vlae": (INDEPENDENT, "networks", "network", "a draw", ("10",), PRODUCT),
        "provlae": (INDEPENDENT, "networks, learned in turn", "network", "a draw", (), PRODUCT),
        "lvae": (
            "Gaussians, given the next",
            "prior",
            "network up, prior down",
            DOWN,
            ("01",),
            "$p_0(z_3)\\, p(z_2 | z_3)\\, p(z_1 | z_2)$",
        ),
        "hvae": (GIVEN, "prior", "network up", DOWN, ("01",), ABOVE),
        "biva": (GIVEN, "prior", "network up, then down", DOWN, ("01",), ABOVE),
        "joint-ebm": (
            "Gaussian, tilted jointly",
            "networks, tied by $f_\\alpha$",
            "network",
            CHAIN,
            ("04", "10"),
            "$\\propto e^{f_\\alpha([z_1, z_2, z_3])}\\, p_0(z)$",
        ),
    }.items()
}
"""The models by kind, in the order of the diagram: one level, independent levels, conditional levels, ours last."""

OTHERS: dict[str, Member] = {
    kind: Member(KIND_NAMES[kind], *choices)
    for kind, choices in {
        "abp": ("Gaussian", "none", f"{POSTERIOR}, a chain per image", "a draw", ("20",)),
        "sri": (GIVEN, "prior", f"{POSTERIOR}, on the noise", DOWN, ("20",)),
        "rae": ("mixture of Gaussians, fitted to codes", "none", "network, a point", "a draw", ("20",)),
        "twostage": ("a second VAE, of codes", "none", "network", "two draws", ("20",)),
        "ncpvae": ("Gaussian, tilted by a classifier", "networks", "network", CHAIN, ("20",)),
        "multincp": ("Gaussian, tilted in stages", "none", POSTERIOR, CHAIN, ("20",)),
        "jebm": ("Gaussians, given the next, tilted one by one", "prior", POSTERIOR, CHAIN, ("20",)),
        "meg": ("Gaussian; an energy scores images", "none", "nobody", "a draw", ("16",)),
        "bigan": ("Gaussian", "none", "network, against a discriminator", "a draw", ("16",)),
    }.items()
}
"""The others of the paper's Tables 2, 3 and 6, and JEBM, which stands in none of them."""


def entry_of(kind: str) -> ExperimentConfig:
    """The entry that stands for a kind: of MNIST, or of street numbers for what the book trains on photographs."""
    return load_experiment(experiment_of("mnist" if "16" in OTHERS[kind].pages else "svhn-11k", kind))


def outcome(kind: str) -> str:
    """The distance of a system's street numbers, or its mean AUPRC over the digits of Table 3."""
    if "16" not in OTHERS[kind].pages:
        return f"FD {load_study('natural-images')[f'svhn-11k-{kind}']['samples']['frechet']:.0f}"
    parts = [part for name, part in load_study("anomaly").items() if name.startswith(f"{kind}/")]
    return f"AUPRC {statistics.fmean(part['tests']['pooled']['auprc'][0] for part in parts):.2f}"


def link_to(kind: str, member: Member) -> str:
    """A member's name, linked to its file, and the pages of the book's contents on which it is at work."""
    settings = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]
    contents = (ROOT / "_toc.yml").read_text()
    file = BUILDERS[kind].__module__.replace(".", "/") + ".py"
    found = [page for n in member.pages for page in re.findall(rf"notebooks/({n}-[\w-]+)", contents)]
    links = [f"[{member.name}]({settings['url']}/blob/{settings['branch']}/{file})"]
    return ", ".join(links + [f"[{page[:2]}]({page}.ipynb)" for page in found])


def choices(kind: str, member: Member, config: ExperimentConfig) -> list[str]:
    """A row: name, units, and the four choices with the steps of the entry's chains."""
    steps = {"K": config.training.langevin.steps, "posterior": config.model.baseline.posterior.steps}
    return [
        link_to(kind, member),
        ", ".join(str(dim) for dim in config.model.latent_dims),
        member.prior,
        member.hierarchy,
        member.inference.format(**steps),
        member.sampler.format(**steps),
    ]


HEADER = ["model", "units", "prior", "hierarchy in", "who infers", "who samples"]


def family_table(bench: dict[str, dict]) -> str:
    """All models of MNIST in a Markdown table: the four choices, what is learned and how long an epoch takes.

    Args:
        bench: by kind, from `hebm_lib.reproduction.bench.load_family`.
    """
    rows = []
    for kind, member in FAMILY.items():
        size = f"{sum(bench[kind]['parameters'].values()) / 1e6:.2f}M"
        config = load_experiment(experiment_of("mnist", kind))
        rows.append([*choices(kind, member, config), size, f"{bench[kind]['seconds_per_epoch']:.0f}"])
    return table([*HEADER, "size", "s per epoch"], rows)


def others_table() -> str:
    """The rest of the seventeen: the four choices, and how each came out in the table of the paper that it is trained for."""
    rows = [[*choices(kind, member, entry_of(kind)), outcome(kind)] for kind, member in OTHERS.items()]
    return table([*HEADER, "came out"], rows)
