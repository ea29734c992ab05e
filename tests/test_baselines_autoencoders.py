"""RAE and two-stage VAE against closed forms: ridge regression, factor analysis, hand-written losses."""

from dataclasses import replace

import pytest
import torch
from test_baselines_contract import experiment, make
from test_baselines_terms import STEP, gen
from torch import nn
from torch.nn.utils import parametrize

from hebm_lib import LatentSpec, Trainer, build_model, load_dataset
from hebm_lib.baselines.post_hoc import MixturePrior
from hebm_lib.baselines.rae import RAE
from hebm_lib.config import BaselineConfig
from hebm_lib.networks import diagonal_gaussian

PAIR = LatentSpec((2,))


@pytest.fixture
def x(digits):
    return digits.batch(slice(0, 6))


# ---- RAE ------------------------------------------------------------------------------------------------------------


class Linear(nn.Module):
    """``W z`` as images of 4×4; as an encoder ``A x``, a point."""

    def __init__(self, matrix, points=False):
        super().__init__()
        self.matrix, self.points = nn.Parameter(matrix), points

    def forward(self, value):
        out = value.flatten(1) @ self.matrix.T
        return diagonal_gaussian(out, torch.full_like(out, 0.1)) if self.points else out.view(-1, 1, 4, 4)


def test_the_best_linear_encoder_of_an_rae_is_ridge_regression():
    """‖x - W z‖²/(4 D) + β ‖z‖²/d is least at a z known in closed form; there the loss has no gradient, else it has one."""
    w, beta, x = (
        torch.randn(16, 2, generator=gen(1)).double(),
        0.03,
        torch.randn(50, 1, 4, 4, generator=gen(2)).double(),
    )
    ridge = torch.linalg.solve(w.T @ w / (4 * 16) + beta / 2 * torch.eye(2), w.T / (4 * 16))
    settings = BaselineConfig(code_weight=beta, decoder_weight=0.0)
    for factor in (1.0, 1.1):
        encoder, prior = Linear(factor * ridge, points=True), MixturePrior(PAIR, components=2).double()
        model = RAE(Linear(w), encoder, prior, 0.7, settings)
        (update,) = model.algorithm(x, STEP, 0.0, gen())
        (gradient,) = torch.autograd.grad(update.loss, encoder.matrix)
        assert (gradient.abs().max() < 1e-8) == (factor == 1.0)


def test_raes_loss_is_the_published_one_of_images_in_0_1(x):
    model = make("rae").double()
    model.settings = replace(model.settings, code_weight=0.2, decoder_weight=1e-3)
    (update,) = model.algorithm(x.double(), STEP, 0.0, gen())
    mean, z = (model.reconstruct(x.double()) + 1) / 2, model.encode(x.double()).mean
    squares = sum(p.square().sum() for p in model.generator.parameters())
    published = ((x + 1) / 2 - mean).square().mean() + 0.2 * z.square().mean() + 1e-3 * squares
    torch.testing.assert_close(update.loss, published * 2 * 64 / model.sigma**2)


def test_spectral_norm_keeps_every_layer_of_the_decoder_at_one():
    config = experiment("rae").model
    model = build_model(replace(config, baseline=BaselineConfig(decoder="spectral")))
    for _ in range(30):  # a call in training mode is one power iteration
        model.decode(torch.zeros(2, 3))
    layers = [m for m in model.generator.modules() if parametrize.is_parametrized(m)]
    assert len(layers) > 3
    for layer in layers:
        across = isinstance(layer, nn.ConvTranspose2d)
        weight = layer.weight.transpose(0, 1).flatten(1) if across else layer.weight.flatten(1)
        assert torch.linalg.matrix_norm(weight, 2).item() == pytest.approx(1, abs=0.05)
    terms = next(model.algorithm(torch.zeros(2, 1, 8, 8), STEP, 0.0, gen()))
    terms.loss.backward()
    assert all(p.grad is not None for p in model.parameters())


def test_the_mixture_is_fitted_to_the_codes_of_the_checkpoint():
    data, config = load_dataset("digits", "train").subset(slice(0, 300)), experiment("rae", epochs=1)
    model = Trainer(make("rae"), config, progress=False).fit(data).model
    codes = model.encode(data.batch(slice(None))).mean
    fresh = MixturePrior(model.latents, components=3).fit(codes, seed=config.training.seed)
    torch.testing.assert_close(fresh.mixture.mean, model.prior.mixture.mean)
    normal = MixturePrior(model.latents).log_prob_unnormalized(codes).mean()
    assert model.prior.log_prob_unnormalized(codes).mean() > normal
    assert (model.prior.sample(2000, generator=gen()).mean(0) - codes.mean(0)).abs().max() < 0.1 * codes.std()


# ---- two-stage VAE --------------------------------------------------------------------------------------------------


def test_the_best_pixel_noise_is_the_root_mean_square_error(x):
    """γ_x² = SSE / D, where the loss's derivative is 0; and its derivative elsewhere is D - SSE / γ_x²."""
    model = make("twostage").double()
    slope, error = None, 64 * 0.4**2
    for _ in range(2):
        model.sigma = sigma = (error / 64) ** 0.5
        loss, terms = model.first_loss(x.double(), 1.0, gen())
        error = terms["sse"].item()
        (slope,) = torch.autograd.grad(loss, model.generator.log_noise)
        assert slope.item() == pytest.approx(64 - error / sigma**2, abs=1e-6)
    assert abs(slope.item()) < 1e-6


def test_the_two_losses_add_up_to_the_bound(x):
    """E log q(z_1|x) + second loss is the KL of both levels; the first loss with N(0, I) is a VAE's."""
    model = make("twostage").double().eval()
    model.generator.log_noise.data.fill_(-0.3)
    model.prior.log_noise.data.fill_(-0.5)
    many = x[:1].double().expand(20_000, -1, -1, -1)
    with torch.no_grad():
        draw = model.infer(many, model.noise(many, gen(1)))
        low = model.latents.columns(1)
        of_codes = torch.distributions.Normal(draw.mean[:, low], draw.scale[:, low]).log_prob(draw.z[:, low]).sum(1)
        second, _ = model.second_loss(many, 1.0, gen(2))
        first, terms = model.first_loss(many, 0.0, gen(3))
        found = model.terms(many, draw)
    error = (draw.kl.sum(1) - of_codes).std().item() / 20_000**0.5
    assert second.item() == pytest.approx((draw.kl.sum(1) - of_codes).mean().item(), abs=6 * error)
    assert -first.item() == pytest.approx(found.reconstruction.mean().item(), rel=1e-3)
    q = model.inference.first(x[:1].double())
    exact = torch.distributions.kl_divergence(q.base_dist, torch.distributions.Normal(0.0, 1.0)).sum()
    assert terms["kl_first"].item() == pytest.approx(exact.item())


def test_stages_take_turns():
    data, config = load_dataset("digits", "train").subset(slice(0, 300)), experiment("twostage", epochs=2)
    seen = []

    def keep(trainer):
        groups = trainer.model.parameter_groups()
        seen.append({name: [p.detach().clone() for p in group] for name, group in groups.items()})

    start = make("twostage").parameter_groups()
    model = make("twostage")
    model.settings = replace(model.settings, first_stage=1.0)
    Trainer(model, config, progress=False).fit(data, on_epoch=keep)

    def same(one, other):
        return [torch.equal(a, b) for a, b in zip(one, other, strict=True)]

    assert all(same(start["second"], seen[0]["second"])) and not any(same(start["first"], seen[0]["first"]))
    assert all(same(seen[0]["first"], seen[1]["first"])) and not any(same(seen[0]["second"], seen[1]["second"]))


def test_the_rate_of_each_stage_falls_within_its_turn():
    """Two stages of two epochs: the second starts at the full rate, and both end where a run of four ends."""
    data, config = load_dataset("digits", "train").subset(slice(0, 200)), experiment("twostage", epochs=4)
    rate, fall = config.training.optimiser.lr_beta_phi, 0.5
    training = replace(config.training, optimiser=replace(config.training.optimiser, lr_decay=fall))
    model, seen = make("twostage"), []
    model.settings = replace(model.settings, first_stage=2.0)

    def keep(trainer):
        seen.append([trainer.optimisers[name].param_groups[0]["lr"] for name in ("first", "second")])

    Trainer(model, training, progress=False).fit(data, on_epoch=keep)
    first, second = zip(*seen, strict=True)
    assert first == pytest.approx([rate, rate * fall**2, rate * fall**4, rate * fall**4])
    assert second == pytest.approx([rate, rate, rate, rate * fall**2])


def test_a_linear_second_stage_learns_the_law_of_its_codes():
    """Codes with a known covariance: f, γ_z linear is factor analysis, whose evidence the second loss bounds."""
    model = make("twostage")
    codes = torch.randn(4000, 3, generator=gen(1)) @ torch.diag(torch.tensor([2.0, 0.5, 0.5]))
    model.inference.first = lambda_first = nn.Module()
    lambda_first.forward = lambda x: diagonal_gaussian(x, torch.full_like(x, 1e-3))
    optimiser, source = torch.optim.Adam(model.parameter_groups()["second"], lr=1e-2), gen(2)
    for _ in range(600):
        batch = codes[torch.randint(len(codes), (200,), generator=source)]
        loss, _ = model.second_loss(batch, 1.0, source)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        z = model.prior.sample(20_000, generator=gen(3))[:, :3]
        loss, _ = model.second_loss(codes, 1.0, gen(4))
    law = torch.distributions.MultivariateNormal(codes.mean(0), codes.T.cov())
    entropy = -law.log_prob(codes).mean()
    assert entropy - 0.02 < loss < entropy + 0.15, "minus the bound is at least the entropy, and near it"
    torch.testing.assert_close(z.std(0), codes.std(0), rtol=0.1, atol=0)
