"""What page 02 draws: the values above Fig. 2's columns, and the chains on the exact posterior."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from shared import tiny_model

from hebm_lib import LatentSpec, build_model
from hebm_lib.config import GeneratorConfig, InferenceConfig
from hebm_lib.exact import Grid2D, exact_log_posterior, grid_mean
from hebm_lib.plotting import image_grid
from hebm_lib.reproduction.figures.latent_ebm import draw_unit_walks, explore_chain, name_units


class Bright:
    """A stand-in for a model of one level with two units: the left half shows the first, the right half the second."""

    latents = LatentSpec((2,))

    def decode(self, z):
        halves = (z / 10).clamp(-1, 1)
        return halves[:, None, None, :].expand(-1, 1, 8, -1).repeat_interleave(4, dim=3).contiguous()


@pytest.fixture
def model():
    config = tiny_model(
        kind="lebm",
        latent_dims=(2,),
        generator=GeneratorConfig(factors=(), widths=(), entries=(), top_hidden=(16,), base_width=8),
        inference=InferenceConfig(factors=(), widths=(), reads=()),
    )
    return build_model(config).double().eval()


def test_a_panel_walks_one_unit_and_names_every_column():
    z, values = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[-8.0, 0.0, 8.0], [-2.0, -0.04, 4.0]])
    figure = draw_unit_walks(Bright(), z, values)
    for unit, ax in enumerate(figure.axes):
        walked = z[:, None, :].repeat(1, 3, 1)
        walked[:, :, unit] = values[unit]
        expected = image_grid(Bright().decode(walked.flatten(0, 1)), 3)
        np.testing.assert_allclose(np.asarray(ax.images[0].get_array()), expected)
        assert ax.get_title() == f"unit {unit + 1}"
        texts = [label.get_text() for label in ax.get_xticklabels()]
        assert texts == (["-8.0", "0.0", "8.0"] if unit == 0 else ["-2.0", "0.0", "4.0"])
        # Each label stands over the middle of its own column: images of 8 pixels with lines of 1 between them.
        np.testing.assert_allclose(ax.get_xticks(), [4, 13, 22], atol=0.6)


def test_units_are_named_where_an_axis_has_a_name():
    _, (named, bare) = plt.subplots(1, 2)
    named.set(xlabel="$z_1$", ylabel="$z_2$")
    name_units(named, bare)
    assert (named.get_xlabel(), named.get_ylabel()) == ("unit 1", "unit 2")
    assert (bare.get_xlabel(), bare.get_ylabel()) == ("", "")


def test_the_explorer_shows_the_image_its_chain_and_the_exact_error(model):
    grid, x = Grid2D(5.0, 41), torch.rand(1, 1, 8, 8) * 2 - 1
    figure = explore_chain(model, x, grid, 20, 0.1, chains=7, extent=3.0)
    plane, *panels = figure.axes
    ends, path = plane.lines[0].get_xydata(), plane.lines[1].get_xydata()
    assert ends.shape == (7, 2) and path.shape == (21, 2)
    np.testing.assert_allclose(path[-1], ends[0])
    assert plane.get_xlim() == (-3, 3) and plane.get_xlabel() == "unit 1"
    assert [ax.get_title() for ax in panels] == ["$x$", "step 0", "step 1", "step 3", "step 7", "step 20"]
    np.testing.assert_allclose(np.asarray(panels[0].images[0].get_array()), image_grid(x, 1))
    drawn = image_grid(model.decode(torch.as_tensor(path[-1:])), 1)
    np.testing.assert_allclose(np.asarray(panels[-1].images[0].get_array()), drawn, atol=1e-6)
    with torch.no_grad():
        log_p = exact_log_posterior(model, x, grid)
        exact = float(grid_mean(log_p, model.sse(x.double(), grid.z)[None], grid))
    titles = [f.get_suptitle() for f in figure.subfigs]
    assert titles[1].endswith(f"exact posterior: {exact:.1f}") and "K' = 20" in titles[1]


def test_the_explorer_repeats_itself_and_starts_from_the_same_noise(model):
    grid, x = Grid2D(5.0, 21), torch.zeros(1, 1, 8, 8)
    first, again, other = (explore_chain(model, x, grid, k, 0.2, chains=3) for k in (5, 5, 0))
    paths = [f.axes[0].lines[1].get_xydata() for f in (first, again, other)]
    np.testing.assert_array_equal(paths[0], paths[1])
    np.testing.assert_array_equal(paths[2], paths[0][:1])
    assert [ax.get_title() for ax in other.axes[1:]] == ["$x$", "step 0"]
