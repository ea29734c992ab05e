"""The latent attack against closed forms, another optimiser and hand-made curves."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from sklearn.metrics import auc
from torch.distributions import Independent, Normal, kl_divergence

from hebm_lib import LatentSpec
from hebm_lib.metrics.attack import (
    attack_divergence,
    auddc,
    latent_attack,
    relative_distance,
    share_of_the_way,
)


class LinearEncoder:
    """``q(z|x) = N(W x, S²)`` with the same S for all images."""

    def __init__(self, dims=(2, 3), pixels=16):
        self.latents = LatentSpec(dims)
        self.weight = torch.randn(self.latents.total, pixels) / pixels**0.5
        self.scale = torch.rand(self.latents.total) + 0.5

    def encode(self, x):
        mean = x.flatten(1) @ self.weight.T
        return Independent(Normal(mean, self.scale.expand_as(mean)), 1)


class CurvedEncoder(LinearEncoder):
    """Both parameters move with the image."""

    def encode(self, x):
        h = x.flatten(1) @ self.weight.T
        return Independent(Normal(h.tanh(), (0.5 * h.roll(1, -1)).exp()), 1)


def images(n, low=-0.2, high=0.2):
    return low + (high - low) * torch.rand(n, 1, 4, 4)


@pytest.mark.parametrize("level", [1, 2, None])
def test_a_linear_encoder_is_attacked_as_the_closed_form_says(level):
    """KL = ½‖S⁻¹W(x + d - x_t)‖² is quadratic in d: A = S⁻¹W gives d = (AᵀA + 2 C I)⁻¹ AᵀA (x_t - x) inside the box."""
    model, x, target, weights = LinearEncoder(), images(3), images(3), (0.05, 0.5)
    attack = latent_attack(model, x, target, level, weights, steps=400, rate=0.05)
    columns = slice(None) if level is None else model.latents.columns(level)
    a = (model.weight / model.scale[:, None])[columns].double()
    gram = a.T @ a
    for row, c in enumerate(weights):
        exact = torch.linalg.solve(
            gram + 2 * c * torch.eye(16).double(), gram @ (target - x).flatten(1).double().T
        ).T.view_as(x)
        assert (x + exact).abs().max() < 1, "the box does not matter here"
        assert torch.allclose((attack.images[row] - x).double(), exact, atol=2e-3)
        kl = 0.5 * ((x + exact - target).flatten(1).double() @ a.T).square().sum(1)
        assert torch.allclose(attack.divergence[row].double(), kl, rtol=2e-2, atol=1e-4)
        assert torch.allclose(attack.distortion[row].double(), exact.flatten(1).norm(dim=1), rtol=1e-2)


@pytest.mark.parametrize("level", [1, 2])
def test_within_a_budget_a_linear_encoder_is_attacked_as_the_closed_form_says(level):
    """At the border of the ball d = (AᵀA + λI)⁻¹ AᵀA (x_t - x), λ such that ‖d‖ is the budget: a bisection finds it.

    Where the target's code is nearer than that, nothing of the divergence is left.
    """
    model, x, target, budgets, bound = LinearEncoder(), images(3), images(3), (0.05, 0.2), 0
    attack = latent_attack(model, x, target, level, budgets=budgets, steps=600, rate=0.02)
    a = (model.weight / model.scale[:, None])[model.latents.columns(level)].double()
    gram, identity = a.T @ a, torch.eye(16).double()
    for row, budget in enumerate(budgets):
        for i in range(3):
            way = (target[i] - x[i]).flatten().double()
            low, high = 0.0, 1e6
            for _ in range(200):
                middle = (low + high) / 2
                d = torch.linalg.solve(gram + middle * identity, gram @ way)
                low, high = (middle, high) if d.norm() > budget * way.norm() else (low, middle)
            length, left = attack.distortion[row, i].item(), attack.divergence[row, i].item()
            assert length <= budget * way.norm().item() * 1.0001
            best = 0.5 * (a @ (d - way)).square().sum().item() if low > 0 else 0.0
            assert left == pytest.approx(best, rel=1e-3, abs=1e-6)
            bound += low > 0 and length == pytest.approx(budget * way.norm().item(), rel=1e-3)
    assert bound >= 3, "mostly the budget binds"


@pytest.mark.parametrize("budgets", [(0.0, 0.3), (-0.1,)])
def test_a_budget_is_positive(budgets):
    with pytest.raises(ValueError, match="positive share of the way"):
        latent_attack(LinearEncoder(), images(2), images(2), 1, budgets=budgets)


def test_inside_the_box_a_curved_encoder_is_attacked_as_by_l_bfgs_b():
    """The original protocol's other optimiser, one pair and one C at a time, on an encoder whose variances move too."""
    model, x, target, c = CurvedEncoder(), images(2, 0.5, 1.0), images(2, -1.0, 1.0), 0.01
    attack = latent_attack(model, x, target, 2, (c,), steps=600)
    columns, goal = model.latents.columns(2), model.encode(target)
    at_border = 0
    for i in range(2):

        def objective(d, i=i):
            d = torch.tensor(d, dtype=torch.float32, requires_grad=True)
            q = model.encode(x[i : i + 1] + d.view(1, 1, 4, 4))
            goal_i = Independent(Normal(goal.mean[i : i + 1], goal.stddev[i : i + 1]), 1)
            value = attack_divergence(q, goal_i, columns).sum() + c * d.square().sum()
            value.backward()
            return value.item(), d.grad.double().numpy()

        flat = x[i].flatten().double().numpy()
        best = minimize(objective, np.zeros(16), jac=True, bounds=list(zip(-1 - flat, 1 - flat)), method="L-BFGS-B")
        found = attack.divergence[0, i] + c * attack.distortion[0, i] ** 2
        assert found.item() == pytest.approx(best.fun, rel=0.02, abs=1e-4)
        at_border += (attack.images[0, i].abs() > 1 - 1e-6).sum().item()
    assert at_border > 0 and attack.images.abs().max() <= 1


def test_a_forbidding_weight_leaves_the_image_alone_and_no_weight_reaches_the_target():
    model, x, target = LinearEncoder(), images(4), images(4)
    attack = latent_attack(model, x, target, 1, (1e12, 0.0))
    assert torch.equal(attack.images[0], x) and attack.distortion[0].eq(0).all()
    assert attack.divergence[1].max() < 1e-3 < attack.divergence[0].min()


def test_the_divergence_goes_from_the_attacked_code_to_the_targets():
    mean, scale = torch.randn(2, 5, 4), torch.rand(2, 5, 4) + 0.3
    q, target = (Independent(Normal(m, s), 1) for m, s in zip(mean, scale))
    columns = slice(1, 3)
    expected = kl_divergence(Normal(mean[0], scale[0]), Normal(mean[1], scale[1]))[:, columns].sum(1)
    backwards = kl_divergence(Normal(mean[1], scale[1]), Normal(mean[0], scale[0]))[:, columns].sum(1)
    found = attack_divergence(q, target, columns)
    assert torch.allclose(found, expected, rtol=1e-4) and not torch.allclose(found, backwards, rtol=0.1)


def test_pairs_and_weights_of_one_batch_do_not_meet():
    model, x, target = CurvedEncoder(), images(3), images(3)
    together = latent_attack(model, x, target, 1, (0.0, 0.1), steps=40)
    alone = latent_attack(model, x[1:2], target[1:2], 1, (0.1,), steps=40)
    assert torch.allclose(together.images[1, 1], alone.images[0, 0], atol=1e-5)


def test_more_steps_never_make_the_best_iterate_worse():
    model, x, target = CurvedEncoder(), images(4), images(4)
    zero = latent_attack(model, x, target, 2, (0.05,), steps=0)
    some = latent_attack(model, x, target, 2, (0.05,), steps=50, rate=5.0)  # far too large a rate
    value = some.divergence + 0.05 * some.distortion**2
    assert torch.equal(zero.images[0], x) and (value <= zero.divergence + 1e-6).all()


def test_what_cannot_be_attacked_is_refused():
    model = LinearEncoder()
    with pytest.raises(ValueError, match="paired"):
        latent_attack(model, images(2), images(3), 1)
    with pytest.raises(ValueError, match="level must be between"):
        latent_attack(model, images(2), images(2), 3)
    model.encode = lambda x: Independent(Normal(torch.zeros(len(x), 5), torch.ones(len(x), 5)), 1)
    with pytest.raises(ValueError, match="no gradient leads from the code of a LinearEncoder"):
        latent_attack(model, images(2), images(2), 1)


# ---- what is read off an attack -------------------------------------------------------------------------------------


def test_area_under_a_hand_made_curve():
    # From (0, 1) straight to (0.5, 0.2), then level up to 1; the second pair gains nothing, the third at once.
    distortion = torch.tensor([[0.5, 0.3, 0.0], [0.25, 0.9, 1e-9]])
    distance = torch.tensor([[0.2, 1.0, 1.0], [0.6, 1.0, 0.0]])
    assert auddc(distortion, distance).tolist() == pytest.approx([0.3 + 0.1, 1.0, 0.0], abs=1e-6)


def test_points_beyond_the_target_do_not_count_and_the_curve_ends_with_its_lowest_point():
    distortion, distance = torch.tensor([[0.2], [0.4], [1.7]]), torch.tensor([[0.1], [0.5], [0.0]])
    x, y = [0, 0.2, 0.4, 0.4, 1], [1, 0.1, 0.5, 0.1, 0.1]
    assert auddc(distortion, distance).item() == pytest.approx(auc(x, y))
    assert auddc(torch.tensor([[1.7]]), torch.tensor([[0.0]])).item() == 1.0, "nothing in range: untouched"


def test_distances_are_normalised_at_both_ends():
    x, target = images(2), images(2, 0.5, 1.0)
    best = target - 0.1
    points = torch.stack([x, best, best + 0.2, x + 2 * (best - x)])
    assert torch.allclose(
        relative_distance(points[:2], x, best, target), torch.tensor([[1.0] * 2, [0.0] * 2]), atol=1e-5
    )
    assert torch.allclose(relative_distance(points[2:3], x, best, target), torch.zeros(1, 2), atol=1e-5)
    assert torch.allclose(share_of_the_way(points[[0, 1, 3]], x, best)[:, 0], torch.tensor([0.0, 1.0, 2.0]), atol=1e-5)
