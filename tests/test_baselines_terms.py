"""The baselines' bounds against independent computations: closed forms, quadrature, importance sampling, walks by hand."""

import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from shared import tiny_model
from test_baselines_contract import HIERARCHIES, NONE, make
from torch import nn
from torch.distributions import Bernoulli, Independent, Laplace, MultivariateNormal, Normal, kl_divergence

from hebm_lib import GaussianPrior, JointEBM, LatentSpec, build_model
from hebm_lib.algorithm import algorithm_1
from hebm_lib.baselines.common import VariationalBaseline, gaussian_kl_between, gaussian_log_prob
from hebm_lib.baselines.lvae import precision_weighted
from hebm_lib.config import BaselineConfig, LangevinConfig, TrainingConfig

STEP = TrainingConfig(langevin=LangevinConfig(steps=0, step_size=0.4))


def gen(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def x(digits):
    return digits.batch(slice(0, 6))


def exaggerated(name: str):
    """A model in float64 whose posterior and prior are far from N(0, I) and from each other."""
    model = make(name).double().eval()
    generator = gen(5)
    for part in ("heads", "mean", "log_variance"):
        for key, p in model.named_parameters():
            if f".{part}." in key and key.endswith("bias"):
                p.data += 0.4 * torch.randn(p.shape, generator=generator, dtype=torch.float64)
    for key, p in model.named_parameters():
        if "prior.heads" in key and key.endswith("weight"):
            p.data *= 3
    return model


# ---- pixels ---------------------------------------------------------------------------------------------------------


def with_pixels(likelihood, kind="vlae"):
    return build_model(tiny_model(kind=kind, prior=NONE, baseline=BaselineConfig(likelihood=likelihood))).eval()


@pytest.mark.parametrize("kind", ["vlae", "joint-ebm"])
def test_the_three_likelihoods_are_torchs(x, kind):
    z = torch.randn(6, 5)
    for likelihood, density in (("gaussian", Normal), ("laplace", Laplace)):
        model = with_pixels(likelihood, kind)
        expected = density(model.decode(z), model.sigma).log_prob(x).flatten(1).sum(1)
        torch.testing.assert_close(model.log_likelihood(x, z), expected)
        torch.testing.assert_close(model.elbo(x, z=z).reconstruction, expected)
    model = with_pixels("bernoulli", kind)
    on = Bernoulli((model.decode(z) + 1) / 2)
    black_and_white = torch.where(x > 0, 1.0, -1.0)
    expected = on.log_prob((black_and_white + 1) / 2).flatten(1).sum(1)
    torch.testing.assert_close(model.log_likelihood(black_and_white, z), expected)


@pytest.mark.parametrize("likelihood", ["gaussian", "laplace", "bernoulli"])
def test_with_f_0_algorithm_1_moves_a_ladder_as_vlaes_bound_does(x, likelihood):
    """Both losses from the same weights and noise, with the energy's half left out; they differ by a constant."""
    slopes = []
    for kind in ("vlae", "joint-ebm"):
        torch.manual_seed(3)
        model = with_pixels(likelihood, kind).train()
        steps = model.algorithm if kind == "vlae" else partial(algorithm_1, model)
        (update,) = steps(x, replace(STEP, kl_warmup_epochs=0), 1.0, gen(4))
        slopes.append(torch.autograd.grad(update.loss, [*model.generator.parameters(), *model.inference.parameters()]))
    for one, other in zip(*slopes, strict=True):
        torch.testing.assert_close(one, other)


def test_there_are_three_likelihoods():
    ladder = with_pixels("gaussian")
    with pytest.raises(ValueError, match="no likelihood 'poisson'; there are gaussian, laplace, bernoulli"):
        JointEBM(ladder.generator, ladder.inference, ladder.prior, 0.3, likelihood="poisson")


def test_a_grey_image_counts_as_the_mean_over_its_black_and_white_versions(x):
    model, z = with_pixels("bernoulli"), torch.randn(6, 5)
    drawn = torch.bernoulli(((x + 1) / 2).expand(1500, *x.shape)) * 2 - 1
    versions = torch.stack([model.pixel_log_likelihood(version, model.decode(z)) for version in drawn])
    error = versions.std(0) / len(versions) ** 0.5
    assert ((model.log_likelihood(x, z) - versions.mean(0)).abs() < 5 * error).all()


@pytest.mark.parametrize("likelihood", ["gaussian", "laplace", "bernoulli"])
def test_no_likelihood_broadcasts_pixels(likelihood, x):
    """A row for an image, a channel too few, whole numbers; one image beside many mean images is meant."""
    model = with_pixels(likelihood)
    mean = model.decode(torch.randn(6, 5))
    for wrong in (x[..., :1], x[:, 0], x[:3], x[..., :7], x.long()):
        with pytest.raises(ValueError, match=r"expected images of floats of shape \(6, 1, 8, 8\), as the decoder"):
            model.pixel_log_likelihood(wrong, mean)
    beside = model.pixel_log_likelihood(x[:1], mean)
    torch.testing.assert_close(beside, model.pixel_log_likelihood(x[:1].expand_as(mean), mean))


# ---- one formula at a time ------------------------------------------------------------------------------------------


def test_kl_between_gaussians_and_log_density_are_torchs():
    a, b = (Normal(torch.randn(50), torch.rand(50) + 0.1) for _ in range(2))
    torch.testing.assert_close(gaussian_kl_between(a.mean, a.stddev, b.mean, b.stddev), kl_divergence(a, b))
    z = torch.randn(50)
    torch.testing.assert_close(gaussian_log_prob(z, a.mean, a.stddev), a.log_prob(z))


def test_precision_weighting_is_the_product_of_two_gaussians():
    """On a grid: the product of both densities, normalised, has the mean and the deviation of the formula."""
    axis = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    for mean, scale, prior_mean, prior_scale in ((1.0, 0.5, -0.5, 1.0), (0.0, 2.0, 1.0, 0.3)):
        weight = torch.softmax(Normal(mean, scale).log_prob(axis) + Normal(prior_mean, prior_scale).log_prob(axis), 0)
        expected = (weight * axis).sum()
        spread = (weight * (axis - expected).square()).sum().sqrt()
        values = (torch.tensor(v, dtype=torch.float64) for v in (mean, scale, prior_mean, prior_scale))
        got = precision_weighted(*values)
        torch.testing.assert_close(torch.stack(got), torch.stack((expected, spread)), rtol=1e-6, atol=1e-6)


def test_precision_weighting_is_the_exact_posterior_of_a_conjugate_chain():
    """x = z + noise: the guess N(x, noise²) combined with the prior is p(z|x), whatever was drawn above."""
    x, noise, prior_mean, prior_scale = 0.7, 0.4, -1.0, 1.5
    values = (torch.tensor(v, dtype=torch.float64) for v in (x, noise, prior_mean, prior_scale))
    mean, scale = precision_weighted(*values)
    gain = prior_scale**2 / (prior_scale**2 + noise**2)
    assert mean.item() == pytest.approx(prior_mean + gain * (x - prior_mean))
    assert scale.item() == pytest.approx(prior_scale * (1 - gain) ** 0.5)


# ---- VAE and VLAE ---------------------------------------------------------------------------------------------------


class Line(nn.Module):
    """One unit, two pixels: ``g(z) = w z``; as an inference network ``q(z|x) = N(a·x, s²)``."""

    channels, image_size = 1, 4
    latents = LatentSpec((1,))

    def __init__(self, weight, scale=None):
        super().__init__()
        self.weight, self.scale = nn.Parameter(weight), scale

    def forward(self, value):
        if self.scale is None:
            return (value @ self.weight[None]).view(-1, 1, 4, 4)
        mean = value.flatten(1) @ self.weight[:, None]
        return Independent(Normal(mean, self.scale.expand_as(mean)), 1)


def test_elbo_plus_kl_is_the_evidence_in_closed_form():
    """A linear VAE: ELBO + KL(q ‖ p(z|x)) = log p(x), all three known."""
    w, a, s = (torch.randn(16, generator=gen(i), dtype=torch.float64) for i in range(3))
    prior = GaussianPrior(LatentSpec((1,))).double()
    model = VariationalBaseline(Line(w), Line(0.1 * a, s[:1].abs() * 0.2 + 0.1), prior, 0.7, BaselineConfig()).double()
    x = torch.randn(1, 1, 4, 4, generator=gen(9), dtype=torch.float64)
    covariance = w[:, None] @ w[None] + 0.7**2 * torch.eye(16)
    evidence = MultivariateNormal(torch.zeros(16, dtype=torch.float64), covariance).log_prob(x.flatten())
    precision = 1 + w.square().sum() / 0.7**2
    posterior = Normal((w @ x.flatten()) / 0.7**2 / precision, precision**-0.5)
    q = model.encode(x)
    gap = kl_divergence(Normal(q.mean[0, 0], q.stddev[0, 0]), posterior)
    noise = torch.randn(100_000, 1, generator=gen(), dtype=torch.float64)
    z = q.mean + q.stddev * torch.cat([noise, -noise])
    elbo = model.elbo(x.expand(len(z), -1, -1, -1), z=z).elbo_plus_log_z.mean()
    assert gap > 0.1
    assert (elbo + gap).item() == pytest.approx(evidence.item(), abs=0.02)


def test_vlaes_loss_is_algorithm_1_with_f_0_up_to_a_constant(x):
    """Same networks, same noise: the controlled baseline is the joint EBM minus the energy and nothing else."""
    model = make("vlae").eval()
    joint = JointEBM(model.generator, model.inference, model.prior, model.sigma)
    for epoch, config in ((1.0, STEP), (0.5, replace(STEP, kl_warmup_epochs=2.0, kl_weights=(0.5, 3.0)))):
        (ours,), (theirs,) = model.algorithm(x, config, epoch, gen()), algorithm_1(joint, x, config, epoch, gen())
        constant = 32 * math.log(2 * math.pi * model.sigma**2)
        torch.testing.assert_close(ours.loss - constant, theirs.loss)
        for name in ("sse", "kl"):
            torch.testing.assert_close(ours.terms[name], theirs.terms[name])
        gradients = [torch.autograd.grad(u.loss, list(model.parameters())) for u in (ours, theirs)]
        for a, b in zip(*gradients, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_the_published_vlaes_own_choices(x):
    model = make("vlae, published choices").eval()
    posterior = model.encode(x)
    assert (posterior.stddev > 0.001).all() and (posterior.stddev < 1.001).all()
    (gate,) = [p for name, p in model.named_parameters() if name.endswith("gate")]
    assert torch.equal(gate, torch.full_like(gate, 0.1))
    z, other = torch.randn(6, 5), torch.randn(6, 5)
    moved = model.latents.redraw(z, 1, other)
    assert not torch.equal(model.decode(z), model.decode(moved))
    gate.data.zero_()
    assert torch.equal(model.decode(z), model.decode(moved)), "nothing passes a closed gate"
    assert sum(isinstance(m, nn.BatchNorm2d) for m in model.modules()) == 4 + 2  # two Stages of two, two doublings
    assert "log_likelihood" not in vars(model) and model.settings.likelihood == "laplace"


# ---- hierarchies ----------------------------------------------------------------------------------------------------


def log_posterior(model, x, z):
    """``log q(z|x)`` at given codes: solve for the noise that draws them. Each pass settles one more group of units."""
    noise = torch.zeros_like(z)
    for _ in range(2 * model.latents.levels):
        draw = model.infer(x, noise)
        noise = (z - draw.mean) / draw.scale
    torch.testing.assert_close(model.infer(x, noise).z, z)
    return gaussian_log_prob(z, draw.mean, draw.scale).sum(1)


@pytest.mark.parametrize("name", [n for n in HIERARCHIES if n not in ("hvae", "sri")])
def test_posterior_and_prior_are_the_densities_of_their_draws(name, x):
    """Both integrate to 1, estimated over an even mixture of draws from both, where no weight is larger than 2.

    It fails if a conditional is left out of a density, counted twice, or drawn from other parameters than it is counted
    with.
    """
    model, n = exaggerated(name), 5_000
    one = x[:1].double().expand(n, -1, -1, -1)
    with torch.no_grad():
        drawn = model.draw(one[: n // 2], generator=gen(1))
        z = torch.cat([drawn, model.prior.sample(n // 2, generator=gen(2))])
        log_q, log_p = log_posterior(model, one, z), model.prior.log_prob_unnormalized(z)
    log_mixture = torch.logaddexp(log_q, log_p) - math.log(2)
    for density in (log_q, log_p):
        weights = (density - log_mixture).exp()
        assert 0.05 < weights.std() < 0.99, "the two overlap, and differ"
        assert (weights.mean() - 1).abs() < 4.5 * weights.std() / n**0.5
    kl = (log_q - log_p)[: n // 2]
    assert kl.mean() > 0.2


@pytest.mark.parametrize("name", HIERARCHIES)
def test_noise_and_codes_are_two_names_of_one_draw(name):
    model = exaggerated(name)
    noise = torch.randn(20, model.latents.total, dtype=torch.float64)
    z, image = model.prior.from_noise(noise)
    torch.testing.assert_close(model.prior.noise_of(z), noise)
    torch.testing.assert_close(model.decode(z), image)
    torch.testing.assert_close(model.prior.sample(20, generator=gen(2)), model.prior.sample(20, 60, generator=gen(2)))
    top = model.latents.columns(model.latents.levels)
    assert torch.equal(z[:, top], noise[:, top]) and (z - noise).abs().mean() > 0.1
    path = model.prior.sample(20, 6, 0.1, generator=gen(2), trajectory=True, every=3)
    torch.testing.assert_close(path[0], model.prior.sample(20, generator=gen(2)))
    assert path.shape == (3, *z.shape) and not torch.equal(path[2], path[0])


@pytest.mark.parametrize("name", HIERARCHIES)
def test_redrawing_the_noise_of_a_level_moves_it_and_what_lies_below(name):
    model = exaggerated(name)
    view, latents = model.noise_view(), model.latents
    noise, donor = (torch.randn(20, latents.total, generator=gen(i), dtype=torch.float64) for i in (1, 2))
    before = latents.split(model.prior.from_noise(noise)[0])
    for level in range(1, latents.levels + 1):
        after = latents.split(model.prior.from_noise(latents.redraw(noise, level, donor))[0])
        moved = [not torch.allclose(a, b) for a, b in zip(before, after, strict=True)]
        assert moved == [i + 1 <= level for i in range(latents.levels)]
    assert torch.equal(view.decode(noise), model.prior.from_noise(noise)[1])
    assert view.prior.sample(4, generator=gen()).shape == (4, latents.total)


@pytest.mark.parametrize("name", HIERARCHIES)
def test_log_prior_of_a_draw_level_by_level(name):
    """Change of variables: log p(z) = log N(ε; 0, I) - Σ log σ, with the deviations by finite differences in ε."""
    model = exaggerated(name)
    noise = torch.randn(3, model.latents.total, dtype=torch.float64)
    z, _ = model.prior.from_noise(noise)
    log_p = Normal(0.0, 1.0).log_prob(noise).sum(1)
    for column in range(model.latents.total):
        nudged = noise.clone()
        nudged[:, column] += 1e-4
        log_p -= ((model.prior.from_noise(nudged)[0] - z)[:, column] / 1e-4).log()
    torch.testing.assert_close(model.prior.log_prob_unnormalized(z), log_p, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", HIERARCHIES)
def test_the_bounds_terms_are_those_of_the_draw(name, x):
    """Sum over levels = log q - log p for sampled terms; in closed form (LVAE) equal to it on average."""
    model = exaggerated(name)
    closed = name.startswith(("lvae", "sri"))
    n = {"lvae": 6_000, "sri": 1_500}[name.partition(",")[0]] if closed else 50
    one = x[:1].double().expand(n, -1, -1, -1)
    with torch.no_grad():
        draw = model.infer(one, torch.randn(n, model.latents.total, generator=gen(4), dtype=torch.float64))
        ratio = gaussian_log_prob(draw.z, draw.mean, draw.scale).sum(1) - model.prior.log_prob_unnormalized(draw.z)
        terms = model.terms(one, draw)
    torch.testing.assert_close(terms.kl.sum(1), draw.kl.sum(1))
    torch.testing.assert_close(terms.reconstruction, model.log_likelihood(one, draw.z))
    if closed:
        assert (draw.kl >= 0).all()
        error = (ratio - draw.kl.sum(1)).std() / n**0.5
        assert (ratio.mean() - draw.kl.sum(1).mean()).abs() < 5 * error
    else:
        torch.testing.assert_close(draw.kl.sum(1), ratio)


@pytest.mark.parametrize("name", HIERARCHIES)
def test_a_draw_walks_the_path(name, x):
    """Bound and codes come from one walk: the same noise gives the same draw, which is not the mean path plus noise."""
    model, x = exaggerated(name), x.double()
    noise = model.noise(x, gen(7))
    draw, posterior = model.infer(x, noise), model.encode(x)
    terms = model.elbo(x, generator=gen(7))
    torch.testing.assert_close(terms.kl, model.terms(x, draw).kl)
    torch.testing.assert_close(terms.reconstruction, model.log_likelihood(x, draw.z))
    torch.testing.assert_close(model.draw(x, generator=gen(7)), draw.z)
    assert not torch.allclose(draw.z, posterior.mean + posterior.stddev * noise, atol=1e-3)
    torch.testing.assert_close(model.infer(x, torch.zeros_like(noise)).z, posterior.mean)
    torch.testing.assert_close(model.elbo(x, z=draw.z).elbo_plus_log_z, terms.elbo_plus_log_z)


# ---- training losses ------------------------------------------------------------------------------------------------


def test_free_bits_are_a_floor_per_unit(x):
    for name, groups in (("biva", (2, 2, 3, 3, 3)), ("vlae", (2, 3))):
        model = make(name).eval()
        model.settings = replace(model.settings, free_bits=1e4, free_bits_epochs=2.0)
        (update,) = model.algorithm(x, STEP, 1.0, gen())
        reconstruction = model.terms(x, model.infer(x, model.noise(x, gen()))).reconstruction.mean()
        assert (update.loss + reconstruction).item() == pytest.approx(1e4 * len(groups), rel=1e-4)
        assert [model.free_nats(epoch) for epoch in (0, 2, 3, 4, 9)] == [1e4, 1e4, 5e3, 0, 0]
        model.settings = replace(model.settings, free_bits=2.0, free_bits_epochs=0.0)
        assert model.free_nats(0) == model.free_nats(1e6) == 2.0
        kl = model.infer(x, model.noise(x, gen())).kl.mean(0)
        floor = torch.cat([torch.full((size,), 2.0 / size) for size in groups])
        (update,) = model.algorithm(x, STEP, 1.0, gen())
        torch.testing.assert_close(update.loss + reconstruction, torch.maximum(kl, floor).sum(), rtol=1e-4, atol=1e-3)
