"""What page 01 draws: which levels are redrawn, the bars, the order of the lines' names; and the bound of a chain."""

import numpy as np
import pytest
import torch

from hebm_lib import LatentSpec
from hebm_lib.plotting import image_grid, plot_redraws
from hebm_lib.reproduction.figures import conditional


class Stripes:
    """A stand-in for a model of four levels of one unit, one stripe of the image each."""

    latents = LatentSpec((1, 1, 1, 1))

    def decode(self, z):
        return z.clamp(-1, 1)[:, None, None, :].expand(-1, 1, 4, -1).contiguous()


def picture(ax) -> np.ndarray:
    return np.asarray(ax.images[0].get_array())


# ---- redrawing ------------------------------------------------------------------------------------------------------


def test_each_panel_redraws_its_group_and_nothing_else():
    z, donors = torch.full((2, 4), -0.5), torch.full((3, 4), 0.5)
    fig = plot_redraws(Stripes(), z, donors, [(1, 2), (3, 4)], symbol=r"\epsilon")
    assert [ax.get_title() for ax in fig.axes] == [
        r"only $\epsilon_1, \epsilon_2$ redrawn (bottom)",
        r"only $\epsilon_3, \epsilon_4$ redrawn (top)",
    ]
    for ax, row in zip(fig.axes, ([0.5, 0.5, -0.5, -0.5], [-0.5, -0.5, 0.5, 0.5]), strict=True):
        assert np.array_equal(picture(ax), image_grid(Stripes().decode(torch.tensor([row] * 6)), 3))


@pytest.mark.parametrize("levels, words", [((2, 4), r"$\epsilon_2, \epsilon_4$ redrawn"), ((), "nothing redrawn")])
def test_the_explorer_shows_samples_and_the_same_with_the_chosen_levels_of_their_donors(levels, words):
    z, donor = torch.full((3, 4), -0.5), torch.full((3, 4), 0.5)
    fig = conditional.explore_noise(Stripes(), z, donor, levels)
    moved = z.clone()
    moved[:, [level - 1 for level in levels]] = 0.5
    assert np.array_equal(picture(fig.axes[0]), image_grid(Stripes().decode(torch.cat([z, moved])), 3))
    assert words in fig.axes[0].get_title()


# ---- numbers as pictures --------------------------------------------------------------------------------------------


def test_the_kl_of_each_level_is_a_line_with_its_name_and_names_do_not_meet():
    rows = [{"step": step, "kl_1": 5.0, "kl_2": 4.99, "kl_3": 0.1 * step} for step in range(11)]
    fig = conditional.plot_kl_per_level({"run": rows, "again": rows}, floors=(2.0, 2.0, 4.0))
    for ax in fig.axes:
        *lines, floor_a, floor_b = ax.lines
        assert [line.get_ydata()[-1] for line in lines] == [5.0, 4.99, 1.0]
        assert [floor_a.get_ydata()[0], floor_b.get_ydata()[0]] == [2.0, 4.0]
        heights = {text.get_text(): text.get_position()[1] for text in ax.texts}
        assert heights["$z_3$"] < heights["$z_2$"] < heights["$z_1$"]
        assert heights["$z_1$"] - heights["$z_2$"] >= 0.07


# ---- the chain ------------------------------------------------------------------------------------------------------


def test_the_chain_s_figure_shows_every_bound():
    fig = conditional.plot_linear_chain([0.0, 0.5, 0.9], [-3.0, -3.0, -3.0], 10.0)
    assert fig.axes[1].lines[0].get_xdata().tolist() == [0.0, 0.5, 0.9]
    low, high = fig.axes[1].get_ylim()
    assert low < -3 < high
