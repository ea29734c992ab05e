import math
from dataclasses import replace

import pytest
import torch
from shared import quadrature, tiny_model
from torch import nn
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence

from hebm_lib import GaussianPrior, JointEBM, JointEBMPrior, LatentSpec, build_model, load_pretrained
from hebm_lib.config import PriorConfig
from hebm_lib.model import gaussian_kl

LATENTS = LatentSpec((1, 1))


class LinearGenerator(nn.Module):
    """``g(z) = W z + b``, as an image."""

    def __init__(self, weight, bias):
        super().__init__()
        self.latents = LATENTS
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)
        self.side = math.isqrt(len(bias))

    def forward(self, z):
        return (z @ self.weight.T + self.bias).view(-1, 1, self.side, self.side)


class LinearInference(nn.Module):
    """``q(z|x) = N(A (x - b), diag(s²))``."""

    channels, image_size = 1, 2

    def __init__(self, weight, bias, scale):
        super().__init__()
        self.latents = LATENTS
        self.weight, self.bias, self.scale = nn.Parameter(weight), bias, scale

    def forward(self, x):
        mean = (x.flatten(1) - self.bias) @ self.weight.T
        return Independent(Normal(mean, self.scale.expand_as(mean)), 1)


SIGMA = 0.6


def linear_model(prior):
    """Two latent units, four pixels, everything Gaussian, float64; q is deliberately not the posterior."""
    torch.manual_seed(4)
    w, b = torch.randn(4, 2, dtype=torch.float64), torch.randn(4, dtype=torch.float64)
    exact_map = torch.linalg.solve(w.T @ w + SIGMA**2 * torch.eye(2), w.T)
    scale = torch.tensor([0.5, 0.3], dtype=torch.float64)
    inference = LinearInference(0.8 * exact_map, b, scale)
    return JointEBM(LinearGenerator(w, b), inference, prior.double(), SIGMA)


def draws(model, x, n=200_000):
    """Many posterior draws for one image, antithetic so that linear terms cancel."""
    q = model.encode(x)
    noise = torch.randn(n // 2, 2, dtype=torch.float64)
    return q, q.mean + q.stddev * torch.cat([noise, -noise])


# ---- the bound ------------------------------------------------------------------------------------------------------


def test_elbo_plus_kl_is_the_evidence():
    """Sec. 3.4 on a linear-Gaussian model: ELBO + KL(q ‖ posterior) = log p(x), all three in closed form."""
    model = linear_model(GaussianPrior(LATENTS))
    w, b = model.generator.weight, model.generator.bias
    eye2, eye4 = torch.eye(2, dtype=torch.float64), torch.eye(4, dtype=torch.float64)
    x = torch.randn(1, 1, 2, 2, dtype=torch.float64)
    evidence = MultivariateNormal(b, w @ w.T + SIGMA**2 * eye4).log_prob(x.flatten())
    covariance = torch.linalg.inv(eye2 + w.T @ w / SIGMA**2)
    posterior = MultivariateNormal(covariance @ w.T @ (x.flatten() - b) / SIGMA**2, covariance)
    q, z = draws(model, x)
    gap = kl_divergence(MultivariateNormal(q.mean[0], torch.diag(q.variance[0])), posterior)
    elbo = model.elbo(x.expand(len(z), -1, -1, -1), z=z).elbo_plus_log_z.mean()
    assert gap > 0.1
    assert (elbo + gap).item() == pytest.approx(evidence.item(), abs=0.02)


def test_the_identity_holds_with_an_energy_too():
    """The same with a joint energy: log Z, the evidence and the posterior by quadrature in two dimensions."""
    prior = JointEBMPrior(LATENTS, hidden=(16,), spectral_norm=False)
    prior.energy.layers[-1].weight.data *= 4
    model = linear_model(prior.eval())
    x = torch.randn(1, 1, 2, 2, dtype=torch.float64)
    points, _ = quadrature(prior.log_prob_unnormalized, extent=7, points=401)
    cell = math.log((14 / 400) ** 2)
    log_z = torch.logsumexp(prior.log_prob_unnormalized(points), 0) + cell
    log_joint = model.log_joint(x.expand(len(points), -1, -1, -1), points)
    log_evidence = torch.logsumexp(log_joint, 0) + cell - log_z
    q, z = draws(model, x)
    log_q = q.log_prob(points)
    gap = (log_q.exp() * (log_q - (log_joint - log_z - log_evidence))).sum() * math.exp(cell)
    bound = model.elbo(x.expand(len(z), -1, -1, -1), z=z)
    assert bound.energy.std() > 0.1 and gap > 0.1 and log_z.abs() > 0.01
    assert (bound.elbo_plus_log_z.mean() - log_z + gap).item() == pytest.approx(log_evidence.item(), abs=0.02)


def test_eq_10_is_the_gradient_of_the_log_likelihood():
    """∂/∂α log p(z⁺) = ∂f(z⁺) - E_p[∂f]: autograd through the exact log Z against draws from the prior's own chain."""
    prior = JointEBMPrior(LATENTS, hidden=(16,), spectral_norm=False).double()
    generator = torch.Generator().manual_seed(3)
    for layer, size in zip(prior.energy.layers, (1.5, 0.25)):  # an energy that bends: p_α is far from p_0
        layer.weight.data = size * torch.randn(layer.weight.shape, generator=generator, dtype=torch.float64)
    z_plus = 0.3 * torch.randn(500, 2, dtype=torch.float64) + torch.tensor([1.0, -0.5])
    points, _ = quadrature(prior.log_prob_unnormalized, extent=7, points=201)
    parameters = [p for name, p in prior.named_parameters() if name != "energy.layers.1.bias"]

    def flat(value):
        return torch.cat([g.flatten() for g in torch.autograd.grad(value, parameters)])

    log_z = torch.logsumexp(prior.log_prob_unnormalized(points), 0)  # its gradient is E_p[∂f], by quadrature
    exact = flat(prior(z_plus).mean() - log_z)
    z_minus = prior.sample(40_000, 500, 0.1)
    eq_10 = flat(prior(z_plus).mean() - prior(z_minus).mean())
    assert (eq_10 - exact).norm() < 0.05 * exact.norm()
    wrong = flat(prior(z_plus).mean() - prior(torch.randn_like(z_minus)).mean())  # samples of p_0 instead of p_α
    assert (wrong - exact).norm() > 0.15 * exact.norm()


def test_kl_is_torch_distributions_kl():
    mean, scale = torch.randn(50), torch.rand(50) + 0.1
    standard = Normal(torch.zeros(50), torch.ones(50))
    torch.testing.assert_close(gaussian_kl(mean, scale), kl_divergence(Normal(mean, scale), standard))


def test_elbo_terms_one_by_one():
    model = build_model(tiny_model()).eval()
    x = torch.rand(6, 1, 8, 8) * 2 - 1
    q = model.encode(x)
    z = q.rsample()
    terms = model.elbo(x, z=z)
    standard = Normal(torch.zeros(5), torch.ones(5))
    kl = kl_divergence(Normal(q.mean, q.stddev), standard)
    pixels = Normal(model.decode(z), model.sigma)
    assert terms.kl.shape == (6, 2)
    torch.testing.assert_close(terms.kl, torch.stack([kl[:, :2].sum(1), kl[:, 2:].sum(1)], 1))
    torch.testing.assert_close(terms.reconstruction, pixels.log_prob(x).flatten(1).sum(1))
    torch.testing.assert_close(terms.sse, (x - model.decode(z)).square().sum((1, 2, 3)))
    torch.testing.assert_close(terms.energy, model.prior(z))
    torch.testing.assert_close(terms.elbo_plus_log_z, terms.reconstruction - kl.sum(1) + terms.energy)


def test_elbo_draws_from_the_posterior_when_no_code_is_given():
    model = build_model(tiny_model()).eval()
    x = torch.rand(6, 1, 8, 8)
    torch.manual_seed(3)
    drawn = model.elbo(x)
    torch.manual_seed(3)
    assert torch.equal(drawn.sse, model.elbo(x, z=model.encode(x).rsample()).sse)
    assert not torch.equal(drawn.sse, model.elbo(x).sse)


def test_log_joint_by_hand():
    model = build_model(tiny_model()).eval()
    x, z = torch.rand(6, 1, 8, 8), torch.randn(6, 5)
    likelihood = Normal(model.decode(z), model.sigma).log_prob(x).flatten(1).sum(1)
    prior = model.prior(z) + Normal(0.0, 1.0).log_prob(z).sum(1)
    torch.testing.assert_close(model.log_likelihood(x, z), likelihood)
    torch.testing.assert_close(model.log_joint(x, z), likelihood + prior)


# ---- shapes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hidden", [(12, 12), ()])
def test_shapes(hidden):
    model = build_model(replace(tiny_model(), prior=PriorConfig(hidden=hidden))).eval()
    x = torch.rand(4, 1, 8, 8) * 2 - 1
    assert model.latents == LatentSpec((2, 3))
    assert model.encode(x).mean.shape == (4, 5)
    assert model.decode(torch.randn(4, 5)).shape == x.shape
    assert torch.equal(model.reconstruct(x), model.decode(model.encode(x).mean))
    images = model.sample(7, 3, 0.4)
    assert images.shape == (7, 1, 8, 8) and not images.requires_grad and images.abs().max() <= 1
    assert model.log_joint(x, torch.randn(4, 5)).shape == (4,)


def test_sampling_is_repeatable():
    model = build_model(tiny_model()).eval()
    a, b, c = (model.sample(3, 3, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(a, b) and not torch.equal(a, c)


def test_device_is_where_the_parameters_are():
    assert build_model(tiny_model()).device == torch.device("cpu")
    assert build_model(tiny_model()).to("meta").device == torch.device("meta")


# ---- bad inputs -----------------------------------------------------------------------------------------------------


def test_parts_with_other_levels_are_refused():
    parts = build_model(tiny_model())
    with pytest.raises(ValueError, match=r"disagree on the levels: \(2, 3\), \(2, 3\), \(3, 2\)"):
        JointEBM(parts.generator, parts.inference, GaussianPrior(LatentSpec((3, 2))), 0.4)


@pytest.mark.parametrize("sigma", [0.0, -1.0, math.nan])
def test_sigma_must_be_positive(sigma):
    parts = build_model(tiny_model())
    with pytest.raises(ValueError, match="sigma must be positive"):
        JointEBM(parts.generator, parts.inference, parts.prior, sigma)


def test_log_joint_refuses_images_of_another_size():
    with pytest.raises(ValueError, match="expected images"):
        build_model(tiny_model()).log_joint(torch.zeros(2, 1, 9, 9), torch.zeros(2, 5))


@pytest.mark.parametrize("spoil", [lambda x: 127.5 * (x + 1), lambda x: torch.where(x > 0.9, torch.nan, x)])
def test_images_of_another_range_are_refused_in_evaluation_mode(digits, spoil):
    model = build_model(tiny_model()).eval()
    x = spoil(digits.batch(slice(0, 5)))
    z = torch.zeros(5, model.latents.total)
    for call in (model.encode, model.reconstruct, model.elbo, lambda x: model.log_joint(x, z)):
        with pytest.raises(ValueError, match=r"images in \[-1, 1\].*divide images of 0 … 255 by 127.5"):
            call(x)
    model.train().encode(x)  # a training step never waits for the device to look; the trainer finds NaN at its next log


def test_in_mixed_precision_codes_and_energies_are_computed_in_full():
    """Half precision keeps three digits: too few for codes known to a hundredth, and for differences of f."""
    model, x = load_pretrained("mnist-map"), torch.rand(4, 1, 28, 28) * 2 - 1
    z = 3 * torch.randn(64, model.latents.total)
    with torch.no_grad():
        exact, f = model.encode(x).base_dist, model.prior(z)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed, same = model.encode(x).base_dist, model.prior(z)
    assert torch.equal(f, same) and same.dtype == torch.float32
    # What the convolutions round is left; the codes themselves lie on no grid of eight bits.
    assert mixed.loc.dtype == torch.float32 and not torch.equal(mixed.loc, mixed.loc.bfloat16().float())
    assert (mixed.loc - exact.loc).abs().max() < 0.1
