"""Page 16's figures: what stands in their arrays."""

import math

import matplotlib.pyplot as plt
import pytest
import torch
from conftest import tiny_model

from hebm_lib import build_model
from hebm_lib.reproduction.figures.ablations import draw_kinds, draw_setting, explore_steps

VALUES = {"15": (8.0, 1.0), "60": (4.0, 0.5), "300": (3.0, float("nan"))}


def test_the_papers_curve_meets_ours_at_the_base():
    ax = draw_setting(
        VALUES,
        ax=plt.subplots()[1],
        paper={"15": 60.0, "60": 20.0, "300": 10.0},
        base="60",
        floors={"perfect": (1.0, "green")},
    )
    ours, theirs = (next(line for line in ax.lines if line.get_marker() == m).get_ydata() for m in ("o", "D"))
    assert list(ours) == [8, 4, 3] and list(theirs) == pytest.approx([12, 4, 2])
    assert [text.get_text() for text in ax.get_xticklabels()] == list(VALUES) and ax.get_ylim()[0] == 0
    assert any(line.get_label() == "perfect" and set(line.get_ydata()) == {1.0} for line in ax.lines)


def test_a_bar_for_every_kind_that_a_model_has():
    rows = {"with": {"prior": (3.0, 0.1), "codes": (1.0, 0.1)}, "without": {"codes": (2.0, float("nan"))}}
    ax = draw_kinds(rows, ax=plt.subplots()[1], names={"prior": "K steps"})
    assert sorted(bar.get_height() for bar in ax.patches) == [1, 2, 3]
    assert sorted(ax.get_legend_handles_labels()[1]) == ["K steps", "codes"], "one label per kind"
    middles = [bar.get_x() + bar.get_width() / 2 for bar in ax.patches]
    assert middles[0] < 0 < middles[1] and math.isclose(middles[2], 1)


def test_steps_of_the_same_chains():
    model = build_model(tiny_model()).eval()
    fig = explore_steps(model, [0, 4, 10], chains=3, seed=5)
    noise = torch.Generator().manual_seed(5)
    path = model.prior.sample(200, 10, 0.4, generator=noise, trajectory=True, every=2)
    expected = [f"K = {k}: mean f = {model.prior(path[k // 2]).mean().item():.2f}" for k in (0, 4, 10)]
    assert [ax.get_title(loc="left") for ax in fig.axes] == expected
    assert len(explore_steps(model, [0]).axes) == 1
