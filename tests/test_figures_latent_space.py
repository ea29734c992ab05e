"""What pages 12 and 13 draw: the arrays behind the figures, their colours, ranges and sizes."""

import json
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from torch import nn

from hebm_lib import LatentSpec
from hebm_lib.plotting import ALPHA, PHI
from hebm_lib.reproduction.figures import latent_space

# ---- what each level knows ------------------------------------------------------------------------------------------


def test_a_map_has_a_line_per_seed_a_mean_and_the_printed_numbers_of_its_row():
    cell = {"with": ([(0.2, 0.9), (0.4, 0.7)], ALPHA), "without": ([(0.3, 0.5)], PHI)}
    fig = latent_space.draw_levels_map(
        {"digits": {"walls": cell, "map": cell}, "clothes": {"map": cell}},
        printed={"digits": {"paper": ((0.1, 0.6), ALPHA)}},
        chance=0.1,
    )
    walls, plain, missing, clothes = fig.axes
    assert [ax.get_title() for ax in (walls, plain)] == ["walls", "map"] and not missing.axison
    assert walls.get_ylabel().startswith("digits") and clothes.get_ylabel().startswith("clothes")
    told = [(list(line.get_ydata()), to_hex(line.get_color()).upper()) for line in walls.lines]
    expected = [
        ([10, 60], ALPHA),
        ([20, 90], ALPHA),
        ([40, 70], ALPHA),
        ([30, 80], ALPHA),
        ([30, 50], PHI),
        ([30, 50], PHI),
    ]
    assert [(pytest.approx(values), color) for values, color in expected] == told[:6]
    for ax in (walls, clothes):
        assert ax.xaxis.get_tick_params()["labelbottom"], "the lowest of its column names the levels"
    assert len(clothes.lines) == len(walls.lines) - 1, "nothing is printed of that row"
    assert [label.get_text() for label in clothes.get_xticklabels()] == ["$z_1$", "$z_2$"]
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["paper", "with", "without"]


class BySide(nn.Module):
    """Class 1 right of 0 in the first unit, class 0 left of it."""

    def forward(self, z):
        return torch.stack([-z[:, 0], z[:, 0]], 1)


def test_regions_lie_where_the_classifier_says():
    codes = torch.tensor([[-1.0, -3.0], [2.0, 1.0], [-0.5, 0.0]])
    _, ax = plt.subplots()
    latent_space.draw_code_regions(BySide(), codes, torch.tensor([0, 1, 0]), ax=ax, title="z", points=50)
    picture = ax.images[0].get_array()
    left, right, low, high = ax.images[0].get_extent()
    assert (left, right, low, high) == pytest.approx((-1.3, 2.3, -3.3, 1.3))
    x = np.linspace(left, right, 50)
    assert (picture == (x > 0)[None]).all(), "columns are the first unit"
    assert [len(line.get_xdata()) for line in ax.lines] == [2, 1]


# ---- prior samples and posterior codes ------------------------------------------------------------------------------

LATENTS = LatentSpec((2, 2))


def chains(n=7, steps=5):
    rng = torch.Generator().manual_seed(0)
    return torch.randn(steps + 1, n, 4, generator=rng), 5 * torch.randn(9, 4, generator=rng)


def test_the_top_level_is_in_the_first_row_and_samples_lie_over_codes():
    path, codes = chains()
    fig = latent_space.draw_transition_over_codes(LATENTS, path, codes, (0, 3, 5))
    axes = np.array(fig.axes).reshape(2, 3)
    for row, level in enumerate((2, 1)):
        for ax, step in zip(axes[row], (0, 3, 5), strict=True):
            under, over = ax.lines
            assert to_hex(under.get_color()).upper() == PHI and to_hex(over.get_color()).upper() == ALPHA
            np.testing.assert_allclose(over.get_xydata(), path[step][:, LATENTS.columns(level)])
            np.testing.assert_allclose(under.get_xydata(), codes[:, LATENTS.columns(level)])
            seen = torch.cat([codes, path[[0, 3, 5]].flatten(0, 1)])[:, LATENTS.columns(level)]
            for column, (low, high) in zip(seen.T, (ax.get_xlim(), ax.get_ylim()), strict=True):
                assert low < column.min() and column.max() < high, "every dot is inside"
            assert np.ptp(ax.get_xlim()) == pytest.approx(np.ptp(ax.get_ylim()))
    assert [ax.get_title() for ax in axes[0]] == ["step 0", "step 3", "step 5"]
    assert [row[0].get_ylabel() for row in axes] == ["$z_2$", "$z_1$"]


def test_the_film_is_small_html_and_leaves_no_figure_open(monkeypatch):
    monkeypatch.delenv("HEBM_FRAMES", raising=False)
    path, codes = chains()
    before = plt.get_fignums()
    html = latent_space.animate_transition(LATENTS, path, codes, range(6), alt='Blue over "green"')
    assert len(json.loads(re.search(r"pictures = (\[[^\]]*\])", html)[1])) == 6 and len(html) < 400_000
    assert plt.get_fignums() == before
    images = re.findall("<img[^>]*>", html)
    assert len(images) == 1 and 'alt="Blue over &quot;green&quot;"' in images[0], "what is shown is told in words, too"
    assert html.count("<button") == 1 and "http" not in html


def test_the_approach_is_drawn_over_its_floor():
    fig = latent_space.draw_approach((0, 1, 10), {"a": [0.1, 0.01, -0.001]}, {"a": 0.003}, trained=1)
    (ax,) = fig.axes
    curve, start, trained = ax.lines
    assert list(curve.get_ydata()) == pytest.approx([0.1, 0.01, 0.001]), "what is below the floor stays in sight"
    assert start.get_ydata()[0] == 0.1 and trained.get_xdata()[0] == 1
    assert ax.get_title() == "a" and ax.get_yscale() == "log"
