"""What fills the tables of the scoreboard page, the landing page and the README, and the book's first picture."""

from collections.abc import Callable
from functools import partial

import torch

from hebm_lib.checkpoint import load_pretrained, pretrained_names, write_atomically
from hebm_lib.experiments import load_experiment
from hebm_lib.plotting import plot_redraws, use_style
from hebm_lib.provenance import ROOT
from hebm_lib.reproduction.claims import paper_tables
from hebm_lib.reproduction.claims.family import all_runs, family
from hebm_lib.reproduction.claims.ledger import as_csv, ledger
from hebm_lib.reproduction.claims.left_out import left_out_all_digits, left_out_digit, left_out_settings
from hebm_lib.reproduction.claims.levels import FASHION, figure5, figure6, readers, table1, table1_units
from hebm_lib.reproduction.claims.robustness import faces_run, latent_attack, long_run
from hebm_lib.reproduction.claims.unfamiliar import out_of_distribution
from hebm_lib.reproduction.claims.worth import finding, worth_of_energies
from hebm_lib.reproduction.pages import fill_page

__all__ = ["FILLERS", "PAGES", "SHEET", "write_scoreboard"]

FILLERS: dict[str, Callable[[], str]] = {
    "table-1-mnist": table1,
    "table-1-units": table1_units,
    "table-1-units-2210": partial(table1_units, "2210"),
    "table-1-units-fashion": partial(table1_units, "fashion"),
    "table-1-fashion": partial(table1, "Fashion-MNIST", FASHION),
    "table-1-svhn": paper_tables.svhn_levels,
    "table-2": paper_tables.table2,
    "table-2-here": paper_tables.natural_images,
    "table-3": left_out_digit,
    "table-3-settings": left_out_settings,
    "table-3-all-digits": left_out_all_digits,
    "table-4": paper_tables.table4,
    "table-5": paper_tables.table5,
    "table-6": paper_tables.table6,
    "table-6-here": partial(paper_tables.natural_images, ("cifar10",)),
    "supplement-table-2": paper_tables.disentanglement,
    "figure-5": figure5,
    "figure-6": figure6,
    "figure-8": long_run,
    "figure-8-faces": faces_run,
    "figure-9": latent_attack,
    "family-mnist": partial(family, "mnist"),
    "family-fashion": partial(family, "fashion"),
    "out-of-distribution": out_of_distribution,
    "out-of-distribution-reversed": partial(out_of_distribution, "MNIST in, fashion out"),
    "worth": worth_of_energies,
    "finding": finding,
    "ledger": ledger,
    "classifiers": readers,
    "all-runs": all_runs,
}
"""Tables by the names of their markers; see `hebm_lib.reproduction.pages`."""

PAGES = (ROOT / "book" / "scoreboard.md", ROOT / "README.md", ROOT / "book" / "intro.md")
"""Where those markers stand."""

SHEET = ROOT / "book" / "_static" / "claims.csv"
"""The ledger for a spreadsheet."""


def draw_cover() -> None:
    """The book's first picture, ``book/images/hierarchy.png``: the published MNIST model, one level redrawn at a time."""
    import matplotlib

    with matplotlib.rc_context():
        use_style()
        model = load_pretrained("mnist")
        generator = torch.Generator().manual_seed(3)
        chain = load_experiment("mnist").training.langevin
        z, donors = (model.prior.sample(n, chain.steps, chain.step_size, generator=generator) for n in (6, 8))
        figure = plot_redraws(model, z, donors)
        figure.savefig(ROOT / "book" / "images" / "hierarchy.png")
        matplotlib.pyplot.close(figure)


def write_scoreboard() -> None:
    """Fill the tables of `PAGES` and, where MNIST is published, draw the book's first picture."""
    for path in PAGES:
        fill_page(path, FILLERS)
    write_atomically(SHEET, as_csv())
    if "mnist" in pretrained_names():
        draw_cover()
