"""The bench's figures, drawn from the stored results."""

from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from hebm_lib.plotting import ALPHA, BETA, DATA, PHI, REFERENCE, use_style

__all__ = ["draw_all", "draw_gap", "draw_sampling", "draw_scaling", "draw_steps"]

COLOURS = {"authors' loop": BETA, "TorchEBM": "#E69F00", "ours, reference": "#56B4E9", "ours, closed-form": PHI}


def draw_sampling(result: dict) -> Figure:
    """Time per chain against the batch size, one panel per setting, every contender and the reference."""
    settings = list(dict.fromkeys(entry["setting"] for entry in result["sampling"]))
    figure, axes = plt.subplots(1, len(settings), figsize=(8.2, 3.6), sharey=True)
    for ax, setting in zip(axes, settings, strict=True):
        entries = [entry for entry in result["sampling"] if entry["setting"] == setting]
        batches = [entry["batch"] for entry in entries]
        for name, row in entries[0]["rows"].items():
            if "absent" in row:
                continue
            own = name == entries[0]["default"]
            ms = [1e3 * entry["rows"][name]["seconds"] for entry in entries]
            colour = ALPHA if own else COLOURS.get(name, "#CC79A7")
            ax.loglog(batches, ms, "o-", color=colour, lw=2.4 if own else 1.6, ms=5, label=name)
        reference = [1e3 * entry["flops"] / result["matmul_flops_per_second"] for entry in entries]
        ax.loglog(batches, reference, "--", color=REFERENCE, lw=1.4, label="reference")
        ax.set(title=setting, xlabel="batch", xticks=batches, xticklabels=[f"{b:,}" for b in batches])
        ax.minorticks_off()
    axes[0].set_ylabel("ms per chain")
    axes[-1].legend(fontsize=8.5)
    return figure


def draw_gap(result: dict) -> Figure:
    """Our default's time per chain in shares: the reference, noise, weights, the rest; one bar per setting and batch.

    The parts are timed alone. Where they add up to more than the chain takes, the bar passes 1 and there is no rest.
    """
    entries = result["sampling"][::-1]
    figure, ax = plt.subplots(figsize=(7.6, 0.9 + 0.36 * len(entries)))
    labels = [f"{entry['setting']}, batch {entry['batch']:,}" for entry in entries]
    left = [0.0] * len(entries)
    parts = {"reference": REFERENCE, "noise": PHI, "weights": BETA, "rest": ALPHA}
    for name, colour in parts.items():
        shares = []
        for entry, done in zip(entries, left, strict=True):
            whole = entry["rows"][entry["default"]]["seconds"]
            reference = entry["flops"] / result["matmul_flops_per_second"]
            share = {"reference": reference, "rest": whole * max(0.0, 1 - done)}.get(
                name, entry["parts"].get(name, 0.0)
            )
            shares.append(share / whole)
        ax.barh(labels, shares, left=left, color=colour, height=0.62, label=name)
        left = [a + b for a, b in zip(left, shares, strict=True)]
    ax.axvline(1, color="black", lw=1)
    ax.set(xlabel="share of the chain's time", xlim=(0, max(1.0, *left)))
    ax.grid(axis="y", visible=False)
    ax.legend(ncols=4, loc="lower left", bbox_to_anchor=(0, 1.0), fontsize=9)
    return figure


def draw_steps(result: dict) -> Figure:
    """Left: a training step in the authors' way and ours. Right: where ours spends it."""
    entries = result["steps"][::-1]
    names = [entry["experiment"] for entry in entries]
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.2, 1.5 + 0.5 * len(entries)))
    for offset, key, colour in ((0.2, "authors' way", BETA), (-0.2, "ours", ALPHA)):
        ms = [1e3 * entry["rows"][key]["seconds"] for entry in entries]
        bars = left.barh([i + offset for i in range(len(entries))], ms, height=0.36, color=colour, label=key)
        left.bar_label(bars, fmt="%.0f", padding=3, fontsize=9)
    left.set(yticks=range(len(entries)), yticklabels=names, xlabel="ms per step")
    left.margins(x=0.15)
    colours = dict(zip(entries[0]["profile"], (ALPHA, DATA, PHI, "#56B4E9", BETA, REFERENCE), strict=False))
    done = [0.0] * len(entries)
    for kind, colour in colours.items():
        shares = [entry["profile"][kind] for entry in entries]
        right.barh(names, shares, left=done, color=colour, height=0.6, label=kind)
        done = [a + b for a, b in zip(done, shares, strict=True)]
    right.set(xlabel="share of our step", xlim=(0, 1), yticks=[])
    for ax, columns in ((left, 2), (right, 3)):
        ax.grid(axis="y", visible=False)
        ax.legend(ncols=columns, loc="lower left", bbox_to_anchor=(0, 1.0), fontsize=8.5)
    return figure


def draw_scaling(result: dict) -> Figure:
    """Time per chain against K, batch, width and latent size, with the fitted exponents."""
    figure, axes = plt.subplots(1, len(result["scaling"]), figsize=(9.6, 3.0))
    for ax, (axis, found) in zip(axes, result["scaling"].items(), strict=True):
        for name, seconds in found["seconds"].items():
            colour = PHI if name == "closed-form" else ALPHA
            label = f"{name}: {found['exponents'][name]:.2f}"
            ax.loglog(found["x"], [1e3 * s for s in seconds], "o-", color=colour, ms=4.5, label=label)
        ax.set(title=axis, xticks=[found["x"][0], found["x"][-1]])
        ax.set_xticklabels([f"{x:,}" for x in ax.get_xticks().astype(int)])
        ax.minorticks_off()
        ax.legend(fontsize=8.5, title="exponent", title_fontsize=8.5)
    axes[0].set_ylabel("ms per chain")
    return figure


def draw_all(benches: dict[str, dict], folder: Path) -> list[Path]:
    """Write ``bench-<device>-<figure>.png`` for every stored result; the files' paths."""
    makers = {"sampling": draw_sampling, "gap": draw_gap, "steps": draw_steps, "scaling": draw_scaling}
    written = []
    with matplotlib.rc_context():
        use_style()
        for name, result in benches.items():
            for what, make in makers.items():
                figure = make(result)
                written.append(folder / f"{name}-{what}.png")
                figure.savefig(written[-1])
                plt.close(figure)
    return written
