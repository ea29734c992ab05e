"""What pages 16 and 18 draw: heights, marks and labels are those of the numbers."""

import json
import shutil
import subprocess

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from hebm_lib.metrics.detection import JointTerms, detection, read_auprc
from hebm_lib.reproduction.figures import detection as pictures


@pytest.fixture
def terms():
    """Familiar images and ones with a larger SSE, the same energy and codes farther out."""
    near = [torch.randn(60).abs() for _ in range(4)]
    far = [near[0] + 2, near[1].clone(), near[2] - 1, near[3] + 5]
    return JointTerms(*near), JointTerms(*far)


def test_bars_marks_and_what_is_missing():
    values = {"a": [0.2, (0.5, 0.1)], "b": [None, 0.9]}
    floors = {"random": [0.3, 0.4], "worst": [0.1, 0.2]}
    ax = plt.figure().gca()
    pictures.draw_bars(
        values,
        ("x", "y"),
        ax=ax,
        colors={"a": "red", "b": "blue"},
        marks={"b": [0.7, None]},
        floors=floors,
        missing="later",
    )
    heights = [[bar.get_height() for bar in series] for series in ax.containers if hasattr(series, "patches")]
    np.testing.assert_equal(heights, [[0.2, 0.5], [np.nan, 0.9]])
    (dots,) = [line for line in ax.lines if line.get_label() == "the paper"]
    bar = ax.containers[-1].patches[0]
    assert dots.get_xdata()[0] == pytest.approx(bar.get_x() + bar.get_width() / 2) and list(dots.get_ydata()) == [0.7]
    assert [text.get_text() for text in ax.texts] == ["later"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["x", "y"]
    assert ax.get_legend_handles_labels()[1].count("random") == 1


def test_one_mark_per_group_stands_in_its_middle():
    ax = plt.figure().gca()
    pictures.draw_bars({"a": [0.2, 0.4], "b": [0.1, 0.3]}, "xy", ax=ax, colors={"a": "r", "b": "b"}, marks=[0.5, 0.6])
    (dots,) = [line for line in ax.lines if line.get_label() == "the paper"]
    assert list(dots.get_xdata()) == [0, 1] and list(dots.get_ydata()) == [0.5, 0.6]


def test_terms_as_scores(terms):
    near, far = terms
    assert list(pictures.term_scores(near)) == ["SSE", "-f(z)", "-log N(z; 0, I)", "-log p(x, z)"]
    flat = JointTerms(near.likelihood, torch.zeros(60), near.base, near.sse)
    assert "-f(z)" not in pictures.term_scores(flat)
    torch.testing.assert_close(pictures.term_scores(near)["-log p(x, z)"], -near.log_joint)


def test_the_explorer_of_prevalence_says_where_it_stands():
    positive = torch.arange(200) < 50
    score = torch.randn(200) + positive
    ax = pictures.explore_prevalence(score, positive, 0.25).axes[0]
    assert f"AUPRC {detection(score, positive).auprc:.2f}" in ax.get_title() and "0.25" in ax.get_title()


def test_a_digit_left_out_that_scores_higher_is_found():
    score, positive = torch.arange(100.0), torch.arange(100) >= 80
    ax = pictures.explore_left_out(score, positive, 7, "score").axes[0]
    assert ax.get_title() == "without the 7: AUPRC 1.00, AUROC 1.00" and ax.get_xlabel() == "score"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["the other nine", "the 7, left out"]


def test_sigma_curves(terms):
    ax = pictures.draw_sigma({"a": [0.9, 0.4]}, [0.1, 1.0], ax=plt.figure().gca(), colors={"a": "red"}, trained=0.3)
    assert list(ax.lines[0].get_ydata()) == [0.9, 0.4] and ax.get_xscale() == "log"
    assert list(ax.lines[1].get_xdata()) == [0.3, 0.3] and list(ax.lines[2].get_ydata()) == [0.5, 0.5]
    other = {"measure": "AUPRC", "chance": 0.2}
    ax = pictures.draw_sigma({"a": [1, 1]}, [1, 2], ax=plt.figure().gca(), colors={"a": "red"}, trained=1, **other)
    assert ax.get_ylabel() == "AUPRC" and list(ax.lines[2].get_ydata()) == [0.2, 0.2]
    ax = pictures.draw_sigma({"a": [1, 1]}, [1, 2], ax=plt.figure().gca(), colors={"a": "red"})
    assert len(ax.lines) == 2 and "in training" in ax.get_xlabel(), "each was trained with its own"


def test_the_explorer_ranks_with_its_sigma(terms):
    near, far = terms
    for power in (-3.0, 5.0):
        both = torch.cat([-near.at_sigma(2**power), -far.at_sigma(2**power)])
        area = detection(both, torch.arange(120) >= 60).auroc
        assert f"AUROC {area:.2f}" in pictures.explore_sigma(near, far, power).axes[0].get_title()


def test_the_browsers_calculator_reads_as_the_library_does():
    """Its handler is run by Node on a form of plain objects."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    pairs = [(v, p) for v in (0.0, 0.1, 0.2, 0.36, 0.722, 1.0) for p in (0.05, 0.1, 0.36, 0.9)] + [
        (0.5, 1.0),
        (1.5, 0.3),
    ]
    script = (
        f"const read = new Function({json.dumps(pictures.READ_AUPRC)});\n"
        f"for (const [v, p] of {json.dumps(pairs)}) {{ const said = {{}};\n"
        "read.call({elements: [{value: String(v)}, {value: String(p)}, said]}); console.log(said.value); }"
    )
    done = subprocess.run([node, "-e", script], capture_output=True, text=True, check=True)
    for (value, prevalence), line in zip(pairs, done.stdout.splitlines(), strict=True):
        if not (0 <= value <= 1 and 0 < prevalence < 1):
            assert line == "both numbers lie between 0 and 1"
            continue
        found = read_auprc(value, prevalence)
        assert f"floor {found.floor:.3f}, chance {prevalence:.3f}: {found.verdict}" in line
        assert f"<strong>{line}</strong>" in pictures.auprc_calculator(value, prevalence), (
            "before anything is typed in, too"
        )
