"""Page 17's figures: what stands in their arrays."""

import matplotlib.pyplot as plt

from hebm_lib.reproduction.figures.ablations import draw_setting

VALUES = {"15": (8.0, 1.0), "60": (4.0, 0.5), "300": (3.0, float("nan"))}


def test_curves_stand_at_their_settings():
    curves = {"one": VALUES, "other": {"300": (1.0, 0.0), "15": (2.0, 0.0)}}
    ax = draw_setting(curves, ax=plt.subplots()[1], colors=("blue", "red"), floors={"perfect": (1.0, "green")})
    one, other = (line for line in ax.lines if line.get_marker() == "o")
    assert list(one.get_xdata()) == [0, 1, 2] and list(one.get_ydata()) == [8, 4, 3]
    assert list(other.get_xdata()) == [2, 0] and list(other.get_ydata()) == [1, 2]
    assert [text.get_text() for text in ax.get_xticklabels()] == list(VALUES) and ax.get_ylim()[0] == 0
    assert any(line.get_label() == "perfect" and set(line.get_ydata()) == {1.0} for line in ax.lines)
