"""The scoreboard page and the README's table, generated from ``book/results`` (paper beside ours)."""

import torch

from hebm_lib.checkpoint import load_pretrained, pretrained_names, write_atomically
from hebm_lib.plotting import plot_redraws, use_style
from hebm_lib.results import ROOT, load_classifier_accuracy, load_paper, load_seeds, mean_and_sd, result_names

__all__ = ["README_END", "README_START", "readme_block", "scoreboard_page", "write_scoreboard"]

README_START, README_END = "<!-- scoreboard:start -->", "<!-- scoreboard:end -->"


THREE_LEVELS = {"mnist": "joint EBM", "mnist-vlae": "VLAE"}
"""Models of all ten digits on the same three levels."""
SECOND = "read by the crisp-digit classifier"


def percent(pair: tuple[float, float]) -> str:
    """``67.6 ± 0.4`` from shares; without the deviation where there is one run."""
    mean, sd = pair
    return f"{100 * mean:.1f}" + (f" ± {100 * sd:.1f}" if sd == sd else "")


def budget(results: list[dict]) -> str:
    """What the runs cost: seeds, epochs, minutes, device."""
    first = results[0]
    minutes = sum(r["provenance"]["seconds"] for r in results) / len(results) / 60
    seeds = f"{len(results)} seeds" if len(results) > 1 else "1 seed"
    epochs = first["config"]["training"]["epochs"]
    return f"{seeds}, {epochs} epochs, {minutes:.0f} min each, {first['provenance']['device']}"


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def table1() -> str:
    """Table 1, latent classifier: the paper's rows and ours."""
    paper = load_paper()["table1_latent_classifier_accuracy_percent"]["mnist"]
    rows = [[f"paper, {name}", *(f"{v:.1f}" for v in values), "not stated"] for name, values in paper.items()]
    for name, label in THREE_LEVELS.items():
        runs = load_seeds(name)
        if runs:
            rows.append([f"this book, {label}", *map(percent, mean_and_sd(runs, "latent_accuracy")), budget(runs)])
    return table(["MNIST, accuracy in %", "z_1", "z_2", "z_3", "budget"], rows)


def figure5() -> str:
    """Fig. 5 as a number: class change when one level is redrawn."""
    rows = [["paper", "a picture", "a picture", "a picture"]]
    for name, label in THREE_LEVELS.items():
        runs = load_seeds(name)
        if not runs:
            continue
        rows.append([f"class change in %, {label}", *map(percent, mean_and_sd(runs, "class_change"))])
        rows.append([f"the same, {SECOND}", *map(percent, mean_and_sd(runs, "plain_class_change"))])
        for key, measure in (("stroke_width", "spread of stroke width, pixels"), ("slant", "spread of slant")):
            pairs = mean_and_sd(runs, key)
            values = [f"{mean:.3f}" + (f" ± {sd:.3f}" if sd == sd else "") for mean, sd in pairs]
            rows.append([f"{measure}, {label}", *values])
    return table(["only this level redrawn", "z_1", "z_2", "z_3"], rows)


def figure6(variants: bool = False) -> str:
    """Fig. 6 as a number: stay and visit shares of the two traversals; ``variants`` adds the models changed on purpose."""
    rows = [["paper", "a picture", "a picture", "a picture", "a picture"]]
    names = {"mnist-012": "this book, joint EBM"}
    if variants:
        names |= {
            "mnist-012-gaussian": "no energy, f = 0",
            "mnist-012-mild": "f 1-Lipschitz",
            "mnist-012-rich": "rich bottom path",
        }
    for name, label in names.items():
        runs = load_seeds(name)
        for prefix, reader in (("", ""), ("plain_", f", {SECOND}")) if runs else ():
            stay, visit = (mean_and_sd(runs, f"{prefix}traversal_{kind}") for kind in ("stay", "visit"))
            cells = [stay[0], visit[1], visit[0], stay[1]]
            rows.append([label + reader, *map(percent, cells)])
    header = ["digits 0, 1, 2; one unit per level, %", "stays along z_1", "z_2 meets all three", "z_1 meets all three"]
    return table([*header, "stays along z_2"], rows)


def readers() -> str:
    """What the two classifiers read on real digits, as they are and worn."""
    accuracy = load_classifier_accuracy()
    kinds = next(iter(accuracy.values()))
    rows = [[name, *(percent((shares[kind], float("nan"))) for kind in kinds)] for name, shares in accuracy.items()]
    return table(["accuracy on MNIST's test images, %", *kinds], rows)


def all_runs() -> str:
    """One row per published run: test error, bound, f on both sides, parameters, budget."""
    rows = []
    for name in result_names():
        (result,) = (r for r in load_seeds(name) if r["name"] == name)
        m, size = result["metrics"], sum(result["parameters"].values())
        if "elbo_plus_log_z" not in m:
            continue
        kl = " / ".join(f"{v:.1f}" for v in m["kl"])
        f = f"{m['f_posterior']:.2f} / {m['f_prior']:.2f}"
        bound, exact = f"{m['elbo_plus_log_z']:.1f}", f"{m['elbo']:.1f}" if "elbo" in m else ""
        rows.append([name, f"{m['mse']:.4f}", bound, exact, kl, f, f"{size / 1e6:.2f}M", budget([result])])
    header = [
        "run",
        "test MSE, [-1, 1]",
        "ELBO + log Z, nats",
        "ELBO, nats",
        "KL per level, nats",
        "f posterior / prior",
        "parameters",
        "budget",
    ]
    return table(header, rows)


WAITING = """| table or figure of the paper | waits for |
| --- | --- |
| Fig. 1, Fig. 2 | the baselines BIVA and latent EBM |
| Table 1, Fashion-MNIST | the experiments |
| Table 1, SVHN; Fig. 4 | the SVHN images |
| Table 2, 4, 5, 6; Fig. 8, 10 | SVHN, CelebA and CIFAR-10, and a GPU |
| Table 3, Fig. 7, 9; supplement Table 1 | the experiments |
| supplement Table 2 | 3D Shapes |"""


def scoreboard_page() -> str:
    """The whole page, in MyST Markdown."""
    return f"""# Scoreboard

Every number of this page is read from the stored runs in `book/results/`; the paper's own stand in
`book/results/paper.json`. `make scoreboard` writes the page, and a test compares it with the runs. Where a budget or a
measure differs from the paper's, the row says so. A number that came out worse than the paper's stays.

## Table 1: latent classifier

Test accuracy of a two-layer classifier on the inferred code of each level {{cite}}`cui2023hierarchical`. The paper does
not state the networks, the sizes of the levels or the length of training for MNIST; ours are in the run's config.

{table1()}

Our VLAE is the same two ladders without the energy, f = 0, with the same data and training. Its accuracy rises with the
level too, where the paper's falls at the top. So on MNIST the rise is the doing of the ladders, whose bottom may see and
say style only, and not of the energy.

## Figure 5 as a number

500 prior samples; one level at a time is replaced by the same level of another prior chain. The class is read by the
book's digit classifier, stroke width and slant from the pixels. The goal that this book set itself: at most 10 % of the
classes change at the bottom, at least 60 % at the top, rising in between.

{figure5()}

## Figure 6 as a number

500 prior samples. Each unit is walked through eleven quantiles, 5 % to 95 %, of the data's posterior means. The
paper does not state its range. The goal that this book set itself is 85 % in each of the first two columns. The last
rows are the same model with one thing changed on purpose. They say where the order comes from: a bottom level that may see
and say too much takes the class (the last pair of rows), while the model without the energy sorts its two levels as well as
the one with it. Here the networks decide which level learns what. What the energy buys in these models of two units is
small: the exact bounds, in the table of all runs, with and without it lie within two nats of each other.

{figure6(variants=True)}

## The measuring tool

Generated digits are averages: fainter and softer than MNIST's. A classifier that was trained on crisp digits alone misreads
more than half of the real ones once they have a third of their ink. So the book's classifier, `mnist-classifier`, was
trained on faint and soft digits too. Where it decides, the tables above also give the reading of the one that was not,
`mnist-classifier-plain`.

{readers()}

## All runs

{all_runs()}

`f posterior / prior` are means of the negative energy on inferred codes of test images and on prior samples. The
partition function Z is not known, so the bound is given up to log Z; with two latent units in all it is a sum over a grid,
and the bound itself is given. Without an energy log Z is 0.

## What waits

{WAITING}
"""


def readme_block() -> str:
    """The README's part between its two markers."""
    return f"{README_START}\n{table1()}\n\n{figure5()}\n\n{figure6()}\n{README_END}"


def draw_cover() -> None:
    """The book's first picture, ``book/images/hierarchy.png``: the published MNIST model, one level redrawn at a time."""
    import matplotlib

    with matplotlib.rc_context():
        use_style()
        model = load_pretrained("mnist")
        generator = torch.Generator().manual_seed(3)
        z, donors = (model.prior.sample(n, 60, 0.4, generator=generator) for n in (6, 8))
        figure = plot_redraws(model, z, donors)
        figure.savefig(ROOT / "book" / "images" / "hierarchy.png")
        matplotlib.pyplot.close(figure)


def write_scoreboard() -> None:
    """Write ``book/scoreboard.md``, the README's block and, where MNIST is published, the book's first picture."""
    write_atomically(ROOT / "book" / "scoreboard.md", scoreboard_page())
    readme = (ROOT / "README.md").read_text()
    before, rest = readme.split(README_START)
    write_atomically(ROOT / "README.md", before + readme_block() + rest.split(README_END)[1])
    if "mnist" in pretrained_names():
        draw_cover()
