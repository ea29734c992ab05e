"""What an energy is worth: intervals, tables, curves and the slider that needs no kernel."""

import base64
import io
import json
import re

import matplotlib.pyplot as plt
import pytest
import torch
from PIL import Image
from scipy.stats import ttest_rel
from shared import tiny_model

from hebm_lib import build_model
from hebm_lib.reproduction.figures import worth

PARTS = {
    "base": {"gain": 3.0, "distance": {"K": 40.0, "long": 30.0}, "seconds": 10.0},
    "wild": {"diverged": True, "seconds": 1.0},
    "base@2": {"gain": 4.0, "distance": {"K": 50.0, "long": 20.0}, "seconds": 12.0},
    "wild@2": {"gain": 1.0, "distance": {"K": 60.0, "long": 90.0}, "seconds": 2.0},
}


def test_paired_is_the_t_interval_of_scipy():
    a, b = [3.0, 5.0, 4.0, 7.0], [1.0, 2.5, 3.0, 3.0]
    interval = ttest_rel(a, b).confidence_interval(0.95)
    mean, low, high = worth.paired(a, b)
    assert (low, high) == pytest.approx((interval.low, interval.high)) and mean == pytest.approx((low + high) / 2)


def test_one_pair_has_no_interval():
    mean, low, high = worth.paired([2.0], [1.0])
    assert mean == 1 and low != low and high != high


def test_numbers_by_setting_keep_the_place_of_a_run_that_diverged():
    assert worth.by_setting(PARTS, "base", "distance", "long") == [30.0, 20.0]
    assert worth.by_setting(PARTS, "wild", "distance", "K") == [None, 60.0]


def test_the_table_says_what_diverged():
    table = worth.study_table(PARTS, {"base": "the base", "wild": "a & b"})
    assert "<td>3.50 ± 0.71</td>" in table and "a &amp; b" in table and "1.00 (1 diverged)" in table
    assert table.count("<tr>") == 3


def test_curves_stand_at_their_means():
    fig, axes = plt.subplots(2, 1)
    worth.draw_gains(PARTS, {"all": {1: "base", 2: "wild"}}, axes=axes, xlabel="K")
    line = axes[0].lines[0]
    assert line.get_xdata().tolist() == [1, 2] and line.get_ydata().tolist() == [3.5, 1.0]
    assert axes[1].lines[0].get_ydata().tolist() == [25.0, 90.0]
    plt.close(fig)


def test_longer_chains_go_on_from_shorter_ones():
    model = build_model(tiny_model()).eval()
    fig = worth.draw_lengths({"one": (model, 0.4, [3, 6])}, columns=4, seed=2)
    assert [ax.get_title(loc="left") for ax in fig.axes] == ["one, 3 steps", "one, 6 steps"]
    first, second = (ax.images[0].get_array() for ax in fig.axes)
    assert abs(first - second).max() > 0
    plt.close(fig)


def test_a_film_holds_every_picture_and_a_button_that_plays_them(monkeypatch):
    monkeypatch.delenv("HEBM_FRAMES", raising=False)  # `make test` draws the first alone
    pictures = [torch.full((4, 1, 28, 28), value) for value in (-1.0, 1.0)]
    html = worth.film(pictures, [0, 15], columns=2, name="steps", alt="squares")
    found = json.loads(re.search(r"pictures = (\[[^\]]*\])", html)[1])
    shades = [Image.open(io.BytesIO(base64.b64decode(data))).convert("L") for data in found]
    middle = [sorted(shade.resize((60, 60), 0).tobytes())[1800] for shade in shades]
    assert middle == pytest.approx([0, 255], abs=2)
    assert html.count("<button") == 1 and 'max="1"' in html and "http" not in html


def test_a_film_needs_a_stop_for_each_picture():
    with pytest.raises(ValueError, match="as many stops"):
        worth.film([torch.zeros(1, 1, 4, 4)], [], columns=1, name="steps", alt="none")
