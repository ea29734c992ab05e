"""Page 17's figures: what stands in their arrays."""

import math

import matplotlib.pyplot as plt

from hebm_lib.reproduction.figures.ablations import draw_kinds, draw_setting

VALUES = {"15": (8.0, 1.0), "60": (4.0, 0.5), "300": (3.0, float("nan"))}


def test_curves_stand_at_their_settings():
    curves = {"one": VALUES, "other": {"300": (1.0, 0.0), "15": (2.0, 0.0)}}
    ax = draw_setting(curves, ax=plt.subplots()[1], colors=("blue", "red"), floors={"perfect": (1.0, "green")})
    one, other = (line for line in ax.lines if line.get_marker() == "o")
    assert list(one.get_xdata()) == [0, 1, 2] and list(one.get_ydata()) == [8, 4, 3]
    assert list(other.get_xdata()) == [2, 0] and list(other.get_ydata()) == [1, 2]
    assert [text.get_text() for text in ax.get_xticklabels()] == list(VALUES) and ax.get_ylim()[0] == 0
    assert any(line.get_label() == "perfect" and set(line.get_ydata()) == {1.0} for line in ax.lines)


def test_a_bar_for_every_kind_that_a_model_has():
    rows = {"with": {"prior": (3.0, 0.1), "codes": (1.0, 0.1)}, "without": {"codes": (2.0, float("nan"))}}
    ax = draw_kinds(rows, ax=plt.subplots()[1], names={"prior": "K steps"})
    assert sorted(bar.get_height() for bar in ax.patches) == [1, 2, 3]
    assert sorted(ax.get_legend_handles_labels()[1]) == ["K steps", "codes"], "one label per kind"
    middles = [bar.get_x() + bar.get_width() / 2 for bar in ax.patches]
    assert middles[0] < 0 < middles[1] and math.isclose(middles[2], 1)
