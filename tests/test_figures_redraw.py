"""Page 11: donors of both ways, the tie between levels, the spread of style, and the arrays behind the figures."""

import numpy as np
import pytest
import torch
from shared import tiny_model

from hebm_lib import GaussianPrior, JointEBMPrior, LatentSpec, build_model
from hebm_lib.metrics.hierarchy import style_variation
from hebm_lib.metrics.redraw import given_the_others, level_ties, shape_and_shade, style_spread
from hebm_lib.plotting import image_grid
from hebm_lib.reproduction.figures import redraw

LATENTS = LatentSpec((1, 2, 3))


def rough(latents=LATENTS):
    """A prior whose energy matters, in float64."""
    prior = JointEBMPrior(latents, hidden=(9, 8), spectral_norm=False).double().eval()
    for name, p in prior.named_parameters():
        p.data.mul_(3 if "weight" in name else 1)
    return prior


# ---- numbers --------------------------------------------------------------------------------------------------------


def test_donors_given_the_others_are_the_levels_that_the_prior_draws():
    prior, z = rough(), torch.randn(7, 6, dtype=torch.float64)
    before, chain = z.clone(), {"steps": 9, "step_size": 0.4}
    donors = given_the_others(prior, z, **chain, generator=torch.Generator().manual_seed(2))
    one_by_one = torch.Generator().manual_seed(2)
    for level in (1, 2, 3):
        drawn = prior.sample_level(z, level, **chain, generator=one_by_one)
        assert torch.equal(LATENTS.redraw(z, level, donors), drawn)
    assert torch.equal(z, before)


def test_a_sum_of_energies_per_level_ties_nothing():
    class PerLevel(GaussianPrior):
        def forward(self, z):
            return sum((3 * part).sin().sum(-1) for part in self.latents.split(z))

    z, donors = torch.randn(2, 50, 6, dtype=torch.float64)
    ties = level_ties(PerLevel(LATENTS), z, donors)
    assert ties.shape == (3, 50) and ties.abs().max() < 1e-12
    assert torch.equal(level_ties(GaussianPrior(LATENTS), z, donors), torch.zeros(3, 50, dtype=torch.float64))


def test_the_tie_of_a_product_in_closed_form():
    """f = c z_1 z_2 makes a Gaussian; both divergences from its marginals together are c² / (1 - c²)."""

    class Product(GaussianPrior):
        def forward(self, z):
            return 0.6 * z.prod(1)

    precision = torch.tensor([[1.0, -0.6], [-0.6, 1.0]], dtype=torch.float64)
    p = torch.distributions.MultivariateNormal(torch.zeros(2, dtype=torch.float64), precision_matrix=precision)
    ties = level_ties(Product(LatentSpec((1, 1))), p.sample((40_000,)), p.sample((40_000,)))
    assert ties.mean(1).tolist() == pytest.approx([0.5625, 0.5625], abs=0.03)
    product = p.covariance_matrix.diag().diag()
    q = torch.distributions.MultivariateNormal(torch.zeros(2, dtype=torch.float64), product)
    kl = torch.distributions.kl_divergence
    assert float(kl(p, q) + kl(q, p)) == pytest.approx(0.5625, rel=1e-9)


def test_style_spread_with_the_same_donors_for_all_is_style_variation():
    model = build_model(tiny_model()).eval()
    z, donors = torch.randn(4, 5), torch.randn(6, 5)
    spread = style_spread(model, z, donors.expand(4, -1, -1))
    expected = style_variation(model, z, donors)
    assert spread.keys() == expected.keys()
    for name, values in expected.items():
        assert spread[name] == pytest.approx(values, rel=1e-6)


def test_shape_and_shade_by_hand():
    image = torch.full((1, 1, 4, 4), -1.0)
    image[..., :2] = 0.0  # the left half, half bright
    moved, brighter, empty = image.roll(1, 3), image.clone(), torch.full_like(image, -1.0)
    brighter[..., :2] = 0.5
    assert shape_and_shade(image, image) == (1.0, 0.0)
    assert shape_and_shade(image, moved) == pytest.approx((1 / 3, 0.0))
    assert shape_and_shade(image, brighter) == pytest.approx((1.0, 0.25))
    assert shape_and_shade(empty, empty) == (1.0, 0.0)
    both = shape_and_shade(torch.cat([image, image]), torch.cat([moved, brighter]))
    assert both == pytest.approx((2 / 3, 0.125))


# ---- figures --------------------------------------------------------------------------------------------------------


class Bright:
    """A stand-in for a model of one unit per level: the left half shows z_1, the right half z_2, linearly."""

    latents = LatentSpec((1, 1))

    def decode(self, z):
        halves = (z / 10).clamp(-1, 1)
        return halves[:, None, None, :].expand(-1, 1, 8, -1).repeat_interleave(4, dim=3).contiguous()


def test_each_panel_holds_samples_and_redraws_of_its_level_and_way():
    model, z = Bright(), torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    shared, own = torch.tensor([[-1.0, -2.0], [-3.0, -4.0]]), -torch.arange(12.0).view(3, 2, 2)
    fig = redraw.draw_redraws(model, z, {"shared": shared, "own": own})
    axes = np.array(fig.axes).reshape(2, 2)
    for line, lent in zip(axes, (shared.expand(3, -1, -1), own), strict=True):
        for level, ax in enumerate(line, start=1):
            codes = z[:, None].repeat(1, 3, 1)
            codes[:, 1:, level - 1] = lent[..., level - 1]
            expected = image_grid(model.decode(codes.flatten(0, 1)), 3)
            assert np.array_equal(np.asarray(ax.images[0].get_array()), expected)
    titles = [ax.get_title() for ax in axes.flat]
    assert titles == ["only $z_1$ redrawn (bottom)", "only $z_2$ redrawn (top)", "", ""]
    assert [line[0].texts[0].get_text() for line in axes] == ["shared", "own"]
    assert axes[0, 0].lines[0].get_xdata()[0] == pytest.approx(expected.shape[1] / 3)


def test_forgetting_is_drawn_in_percent_with_a_tick_per_number_of_steps():
    ax = redraw.plot_forgetting((0, 2, 10), {"itself": [0.0, 0.4, 0.8], "noise": [0.9, 0.8, 0.85]}).axes[0]
    assert [line.get_label() for line in ax.lines] == ["itself", "noise"]
    assert ax.lines[0].get_ydata() == pytest.approx([0, 40, 80]) and ax.lines[1].get_ydata()[0] == pytest.approx(90)
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["0", "2", "10"]
