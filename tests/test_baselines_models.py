"""What is particular to one baseline: the chain of LVAE, HVAE's scores, BIVA's two ways, pro-VLAE's stages, LEBM's chains."""

import math
from dataclasses import replace

import pytest
import torch
from test_baselines_contract import MODELS, make
from test_baselines_terms import STEP, exaggerated, gen
from torch import nn
from torch.distributions import MultivariateNormal, Normal

from hebm_lib import GaussianPrior, LatentSpec, build_model
from hebm_lib.baselines.common import gaussian_log_prob
from hebm_lib.baselines.lebm import LatentEBM, ShortRun
from hebm_lib.config import BaselineConfig, LangevinConfig


@pytest.fixture
def x(digits):
    return digits.batch(slice(0, 6))


# ---- LVAE -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["lvae", "lvae, vectors"])
def test_lvae_is_a_chain(name):
    """The image sees z_1 alone, and z_1's prior sees z_2 alone."""
    model = exaggerated(name)
    z, other = (torch.randn(5, 9, generator=gen(i), dtype=torch.float64) for i in (1, 2))
    for level, seen in ((1, True), (2, False), (3, False)):
        assert torch.equal(model.decode(z), model.decode(model.latents.redraw(z, level, other))) is not seen
    seen = {}

    def remember(store):
        def choose(level, mean, scale):
            store[level] = torch.cat([mean, scale], 1)
            return model.latents.split(store["z"])[level - 1]

        return choose

    for label, code in (
        ("z", z),
        ("z_2", model.latents.redraw(z, 2, other)),
        ("z_3", model.latents.redraw(z, 3, other)),
    ):
        seen[label] = {"z": code}
        model.prior.walk(remember(seen[label]), z)
    assert not torch.allclose(seen["z"][1], seen["z_2"][1]) and torch.equal(seen["z"][1], seen["z_3"][1])
    assert not torch.allclose(seen["z"][2], seen["z_3"][2])


def test_lvaes_posterior_is_narrower_than_its_guess_and_than_the_prior(x):
    model, x = exaggerated("lvae"), x.double()
    guesses = {}
    model.inference.ascend(x, lambda level, mean, scale: guesses.update({level: (mean, scale)}))
    posterior = model.encode(x)
    for level, scale in enumerate(model.latents.split(posterior.stddev), start=1):
        guess = guesses[level][1]
        assert torch.equal(scale, guess) if level == 3 else (scale < guess).all()


# ---- HVAE -----------------------------------------------------------------------------------------------------------


def test_hvaes_scores_by_hand(x):
    model, x = exaggerated("hvae"), x.double()
    noise = model.noise(x, gen())
    draw = model.infer(x, noise)
    levels = model.latents.split(draw.kl)
    whole = model.log_likelihood(x, draw.z) - draw.kl.sum(1)
    torch.testing.assert_close(model.bound_above(x, 0, generator=gen()), whole)

    # L^{>1}: z_1 at the mode of p(z_1 | z_2, z_3), which the prior makes of no noise; its KL is not counted.
    ancestral = model.prior.noise_of(draw.z)
    ancestral[:, model.latents.columns(1)] = 0
    skipped, _ = model.prior.from_noise(ancestral)
    first = model.latents.columns(1)
    assert torch.equal(skipped[:, first.stop :].round(decimals=8), draw.z[:, first.stop :].round(decimals=8))
    part = model.log_likelihood(x, skipped) - levels[1].sum(1) - levels[2].sum(1)
    torch.testing.assert_close(model.bound_above(x, 1, generator=gen()), part)
    log_likelihood, kl = model.terms_above(x, 1, generator=gen())
    torch.testing.assert_close(log_likelihood, model.log_likelihood(x, skipped))
    torch.testing.assert_close(kl, levels[1].sum(1) + levels[2].sum(1))

    generator = gen(8)
    ratio = model.log_likelihood_ratio(x, 2, generator=gen(8))
    torch.testing.assert_close(
        ratio, model.bound_above(x, 0, generator=generator) - model.bound_above(x, 2, generator=generator)
    )
    assert ratio.shape == (6,) and ratio.abs().min() > 0
    with pytest.raises(ValueError, match="k must be between 0 and 2"):
        model.bound_above(x, 3)
    with pytest.raises(ValueError, match="samples must be at least 1, got 0"):
        model.bound_above(x, 1, samples=0)


def test_more_draws_make_hvaes_bound_tighter(x):
    model, x = exaggerated("hvae"), x.double()
    with torch.no_grad():
        few = torch.stack([model.bound_above(x, 0, generator=gen(i)) for i in range(60)]).mean()
        many = torch.stack([model.bound_above(x, 0, samples=30, generator=gen(i)) for i in range(10)]).mean()
    assert many > few + 0.1


def test_hvaes_local_code_joins_place_by_place():
    model = make("hvae").eval()
    z = torch.zeros(1, 37)
    entry = model.generator.rungs[0].entry
    other = z.clone()
    other[0, 5] = 1.0  # channel 0, row 1, column 1 of z_1's 4×4 map
    change = (entry(other[:, :32]) - entry(z[:, :32]))[0].abs().sum(0)
    assert change[1, 1] > 0 and change.count_nonzero() == 1


# ---- BIVA -----------------------------------------------------------------------------------------------------------


def test_bivas_two_ways(x):
    """z_i^BU depends on noise below it alone; z_i^TD also on what was drawn above."""
    model, x = exaggerated("biva"), x.double()
    noise, donor = model.noise(x, gen(1)), model.noise(x, gen(2))
    up = {1: slice(0, 2), 2: slice(4, 7), 3: slice(10, 13)}
    down = {1: slice(2, 4), 2: slice(7, 10)}
    before = model.infer(x, noise)

    def moved(columns):
        changed = noise.clone()
        changed[:, columns] = donor[:, columns]
        after = model.infer(x, changed)
        means = ~torch.isclose(before.mean, after.mean, rtol=1e-9, atol=1e-12).all(0)
        return {f"{way}{i}" for way, group in (("up", up), ("down", down)) for i, c in group.items() if means[c].any()}

    assert moved(up[3]) == {"down1", "down2"}, "the top code: only what is inferred going down"
    assert moved(down[2]) == {"down1"}
    assert moved(down[1]) == set()
    assert moved(up[2]) == {"up3", "down1", "down2"}
    assert moved(up[1]) == {"up2", "up3", "down1", "down2"}


def test_bivas_draw_by_hand(x):
    """The whole pass again, written out with the parts of a model of two levels."""
    config = replace(
        MODELS["biva"][1],
        latent_dims=(4, 3),
        generator=replace(MODELS["biva"][1].generator, factors=(2,), widths=(6,), entries=("map",)),
        inference=replace(MODELS["biva"][1].inference, factors=(2,), widths=(6,), reads=("map",)),
    )
    model = build_model(config).eval()
    noise = torch.randn(6, 7)
    q, g, p = model.inference, model.generator, model.prior

    def gaussian(head, h):
        mean, spread = head(h)
        return mean, 0.05 + 0.95 * nn.functional.softplus(spread + math.log(math.e - 1))

    r = q.stages[0](x)
    up_mean, up_scale = gaussian(q.heads[0][1], r.flatten(1))
    z_up = up_mean + up_scale * noise[:, :2]
    joined = nn.functional.leaky_relu(r + q.entries[0].linear(z_up).view(6, 6, 4, 4), 0.01)
    top_mean, top_scale = gaussian(q.heads[1], q.top(joined.flatten(1)))
    z_top = top_mean + top_scale * noise[:, 4:]
    h = g.rungs[1](g.to_map(g.top(z_top)).view(6, 8, 2, 2), None)
    merged = q.merges[0].conv(torch.cat([r, nn.functional.leaky_relu(h, 0.01)], 1))
    down_mean, down_scale = gaussian(q.merges[0].head, nn.functional.leaky_relu(merged, 0.01).flatten(1))
    z_down = down_mean + down_scale * noise[:, 2:4]
    prior_mean, prior_scale = gaussian(p.heads[0][1], nn.functional.leaky_relu(h, 0.2).flatten(1))
    image = torch.tanh(g.rungs[0](h, torch.cat([z_up, z_down], 1)))

    draw = model.infer(x, noise)
    z = torch.cat([z_up, z_down, z_top], 1)
    torch.testing.assert_close(draw.z, z)
    torch.testing.assert_close(draw.image, image)
    log_q = Normal(torch.cat([up_mean, down_mean, top_mean], 1), torch.cat([up_scale, down_scale, top_scale], 1))
    zero, one = torch.zeros(6, 3), torch.ones(6, 3)
    log_p = Normal(torch.cat([prior_mean, zero], 1), torch.cat([prior_scale, one], 1))
    torch.testing.assert_close(draw.kl, log_q.log_prob(z) - log_p.log_prob(z), rtol=1e-4, atol=1e-4)


# ---- pro-VLAE -------------------------------------------------------------------------------------------------------


def pro(fade=0.0):
    settings = BaselineConfig(epochs_per_step=2, fade_epochs=fade, inactive_kl=0.25)
    return build_model(replace(MODELS["provlae"][1], baseline=settings))


def test_pro_vlaes_stages():
    model = pro(fade=1.0)
    assert [model.progress(epoch) for epoch in (0, 1.9, 2, 2.5, 3, 9)] == [
        [0.0, 1.0],
        [0.0, 1.0],
        [0.0, 1.0],
        [0.5, 1.0],
        [1.0, 1.0],
        [1.0, 1.0],
    ]
    assert [pro().progress(epoch) for epoch in (1.9, 2)] == [[0.0, 1.0], [1.0, 1.0]]
    config = replace(STEP, kl_weights=(8.0, 8.0))
    assert [model.level_weights(config, epoch) for epoch in (1.9, 2)] == [[0.25, 8.0], [8.0, 8.0]]


def test_a_waiting_level_says_nothing_and_its_kl_is_trained_alone(x):
    model = pro().train()
    (update,) = model.algorithm(x, STEP, 0.5, gen())
    z, other = torch.randn(6, 5), torch.randn(6, 5)
    assert torch.equal(model.decode(z), model.decode(model.latents.redraw(z, 1, other)))
    assert not torch.equal(model.decode(z), model.decode(model.latents.redraw(z, 2, other)))
    draw = model.infer(x, model.noise(x, gen()))
    terms = model.terms(x, draw)
    kl = terms.kl.mean(0)
    torch.testing.assert_close(update.loss, 0.25 * kl[0] + kl[1] - terms.reconstruction.mean())
    parameters = list(model.inference.heads[0].parameters())
    gradients = torch.autograd.grad(update.loss, parameters, retain_graph=True)
    from_kl = torch.autograd.grad(0.25 * kl[0], parameters)
    for a, b in zip(gradients, from_kl, strict=True):
        torch.testing.assert_close(a, b)
    silent = torch.autograd.grad(update.loss, list(model.generator.rungs[0].entry.parameters()))
    assert not any(g.any() for g in silent)


def test_a_joining_level_is_faded_in_on_both_sides(x):
    model = pro(fade=1.0).eval()
    z = torch.randn(6, 5)
    whole = model.decode(z)
    list(model.algorithm(x, STEP, 2.0, gen()))
    nothing, unread = model.decode(z), model.encode(x).mean[:, :2]
    assert (unread - unread[:1]).abs().max() < 1e-6, "a dimmed feature is the same for all images"
    list(model.algorithm(x, STEP, 2.5, gen()))
    half = model.decode(z)
    assert 0 < (half - nothing).norm() < (whole - nothing).norm()
    list(model.algorithm(x, STEP, 3.0, gen()))
    assert torch.equal(model.decode(z), whole)


def test_a_finished_pro_vlae_is_a_vlae(x):
    model = make("provlae").eval()
    vlae = build_model(replace(MODELS["provlae"][1], kind="vlae")).eval()
    vlae.load_state_dict({k: v for k, v in model.state_dict().items() if k not in ("strength", "visible")})
    assert torch.equal(model.reconstruct(x), vlae.reconstruct(x))
    ours, theirs = (m.elbo(x, z=m.encode(x).mean) for m in (model, vlae))
    assert torch.equal(ours.kl, theirs.kl) and torch.equal(ours.reconstruction, theirs.reconstruction)


# ---- latent EBM -----------------------------------------------------------------------------------------------------

PAIR = LatentSpec((2,))


class Plane(nn.Module):
    """``g(z) = W z`` for two units and 16 pixels."""

    latents = PAIR

    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, z):
        return (z @ self.weight.T).view(-1, 1, 4, 4)


def linear_lebm(steps, step_size):
    weight = torch.randn(16, 2, generator=gen(5), dtype=torch.float64)
    chain = ShortRun(PAIR, 4, 1, LangevinConfig(steps=steps, step_size=step_size))
    return LatentEBM(Plane(weight), chain, GaussianPrior(PAIR).double(), 0.8), weight


def test_the_posterior_chain_arrives_at_the_posterior():
    """Linear and Gaussian, so that p(z|x) is known; the chain's own bias is of the order of its squared step size."""
    model, w = linear_lebm(400, 0.05)
    x = torch.randn(1, 1, 4, 4, generator=gen(6), dtype=torch.float64)
    covariance = torch.linalg.inv(torch.eye(2) + w.T @ w / 0.8**2)
    posterior = MultivariateNormal(covariance @ w.T @ x.flatten() / 0.8**2, covariance)
    n = 5_000
    z0 = torch.randn(n, 2, generator=gen(7), dtype=torch.float64)
    z = model.posterior_chain(x.expand(n, -1, -1, -1), z0, 400, generator=gen(8))
    torch.testing.assert_close(z.mean(0), posterior.mean, atol=0.01, rtol=0)
    torch.testing.assert_close(z.T.cov(), covariance, atol=0.08 * float(covariance.diag().max()), rtol=0)
    assert not z.requires_grad
    codes = model.encode(x.expand(200, -1, -1, -1))
    assert (codes.mean.mean(0) - posterior.mean).abs().max() < 0.05
    assert (codes.stddev.mean(0) / covariance.diag().sqrt() - 1).abs().max() < 0.25


def test_a_short_chain_has_not_arrived():
    model, w = linear_lebm(1, 0.05)
    x = torch.ones(1, 1, 4, 4, dtype=torch.float64)
    far = model.posterior_chain(x, torch.full((1, 2), 3.0, dtype=torch.float64), 1, generator=gen())
    assert (far - 3.0).abs().max() < 1.5


def test_lebms_two_losses_by_hand(x):
    model = make("lebm").eval()
    config = replace(STEP, langevin=LangevinConfig(steps=5, step_size=0.4))
    energy, generator = model.algorithm(x, config, 0.0, gen())
    noise = gen()
    z0 = torch.randn(6, 3, generator=noise)
    z_plus = model.posterior_chain(x, z0, 4, generator=noise)
    z_minus = model.prior.sample(6, 5, 0.4, generator=noise)
    f_plus, f_minus = model.prior(z_plus).mean(), model.prior(z_minus).mean()
    assert (energy.group, generator.group) == ("alpha", "beta")
    torch.testing.assert_close(energy.loss, f_minus - f_plus)
    constant = 32 * math.log(2 * math.pi * model.sigma**2)
    torch.testing.assert_close(-generator.loss - constant, model.log_likelihood(x, z_plus).mean())
    last_first = replace(config, order="alpha-last")
    assert [u.group for u in model.algorithm(x, last_first, 0.0, gen())] == ["beta", "alpha"]


def test_the_posterior_chain_climbs_the_joint_density(x):
    model = make("lebm").eval()
    z0 = 2 * torch.randn(6, 3, generator=gen())
    path = model.posterior_chain(x, z0, 60, generator=gen(1), trajectory=True)
    assert path.shape == (61, 6, 3) and torch.equal(path[0], z0)
    assert model.log_joint(x, path[-1]).mean() > model.log_joint(x, z0).mean()


def test_lebms_codes_are_repeatable_and_leave_the_global_noise_alone(x):
    model = make("lebm").eval()
    state = torch.get_rng_state()
    first = model.encode(x)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first.mean, model.encode(x).mean) and first.stddev.min() >= 0.01


def test_spectral_norm_moves_once_per_chain(x):
    """One power iteration for the posterior chain, none for the prior's, one for f(z⁺) and f(z⁻) together."""
    model = make("lebm").train()
    counted = []
    norm = model.prior.energy.layers[0].parametrizations.weight[0]
    original = norm._power_method
    norm._power_method = lambda *a: (counted.append(1), original(*a))[1]
    list(model.algorithm(x, STEP, 0.0, gen()))
    assert len(counted) == 2


def test_log_density_of_a_point_is_torchs():
    z, mean, scale = torch.randn(9), torch.randn(9), torch.rand(9) + 0.1
    torch.testing.assert_close(gaussian_log_prob(z, mean, scale), Normal(mean, scale).log_prob(z))
