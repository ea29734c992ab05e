"""One written protocol for priors and one for models, and every kind held to them."""

import inspect

import pytest
import torch
from shared import tiny_model
from test_baselines_contract import MODELS, OURS
from torch import nn
from torch.distributions import Independent, Normal

from hebm_lib import GaussianPrior, JointEBM, JointEBMPrior, LatentSpec, build_model
from hebm_lib.config import LangevinConfig
from hebm_lib.metrics.prior_report import prior_samples
from hebm_lib.model import ElboTerms, Model
from hebm_lib.prior import Prior

CONFIGS = (
    {name: config for name, (_, config) in MODELS.items()} | OURS | {"f = 0": tiny_model(prior=MODELS["vae"][1].prior)}
)


class Decoder(nn.Module):
    """Images of 20×12 in three channels: no ladder of the library makes these."""

    def __init__(self):
        super().__init__()
        self.map = nn.Linear(8, 3 * 20 * 12)

    def forward(self, z):
        return torch.tanh(self.map(z)).view(-1, 3, 20, 12)


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.map = nn.Linear(3 * 20 * 12, 16)

    def forward(self, x):
        mean, spread = self.map(x.flatten(1)).chunk(2, 1)
        return Independent(Normal(mean, spread.exp()), 1)


def foreign() -> JointEBM:
    return JointEBM(Decoder(), Encoder(), JointEBMPrior(LatentSpec((3, 5))), sigma=0.3)


@pytest.fixture(params=[*CONFIGS, "foreign"])
def model(request):
    torch.manual_seed(0)
    return (foreign() if request.param == "foreign" else build_model(CONFIGS[request.param])).eval()


def images(model, n: int = 3) -> torch.Tensor:
    with torch.no_grad():
        return torch.rand_like(model.decode(torch.zeros(n, model.latents.total))) * 2 - 1


def same_arguments(protocol, thing) -> None:
    """Every method of the protocol can be called with the protocol's arguments, in its order."""
    for name, wanted in inspect.getmembers(protocol, inspect.isfunction):
        if name.startswith("_") or name not in protocol.__dict__:
            continue
        wanted, found = (list(inspect.signature(f).parameters.values()) for f in (wanted, getattr(type(thing), name)))
        assert [p.name for p in found[: len(wanted)]] == [p.name for p in wanted], name
        assert [p.kind for p in found[: len(wanted)]] == [p.kind for p in wanted], name
        assert all(p.default is not p.empty for p in found[len(wanted) :]), name


def test_priors_keep_their_protocol(model):
    prior, latents, n = model.prior, model.latents, 4
    assert isinstance(prior, Prior)
    same_arguments(Prior, prior)
    z = prior.sample(n, 6, 0.1, generator=torch.Generator().manual_seed(1))
    assert torch.equal(z, prior.sample(n, 6, 0.1, generator=torch.Generator().manual_seed(1)))
    assert z.shape == (n, latents.total) and not z.requires_grad
    assert prior(z).shape == prior.log_prob_unnormalized(z).shape == (n,)
    assert prior.has_energy == bool(prior(z).abs().max() > 1e-4)
    path = prior.sample(n, 6, 0.1, z0=z, trajectory=True, every=3, backend=None)
    assert path.shape == (3, n, latents.total) and torch.equal(path[0], z) and not torch.equal(path[1], z)
    moved = prior.sample_level(z, 1, 5, 0.1)
    first = latents.columns(1)
    assert torch.equal(moved[:, first.stop :], z[:, first.stop :]) and not torch.equal(moved[:, first], z[:, first])
    (slope,) = torch.autograd.grad(prior.log_prob_unnormalized(z.requires_grad_()).sum(), z)
    assert slope.shape == z.shape and slope.isfinite().all()
    for wrong in (
        lambda: prior(torch.zeros(n, latents.total + 1)),
        lambda: prior.log_prob_unnormalized(torch.zeros(n, latents.total + 1)),
        lambda: prior.sample(n, 2, 0.1, z0=torch.zeros(n + 1, latents.total)),
        lambda: prior.sample_level(z.detach(), latents.levels + 1, 2, 0.1),
    ):
        with pytest.raises(ValueError):
            wrong()


def test_models_keep_their_protocol(model):
    x, latents = images(model), model.latents
    assert isinstance(model, Model)
    same_arguments(Model, model)
    posterior = model.encode(x)
    assert posterior.batch_shape == (3,) and posterior.event_shape == (latents.total,)
    assert model.reconstruct(x).shape == x.shape == model.sample(3, 2, 0.1).shape
    z = model.draw(x, posterior=posterior, generator=torch.Generator().manual_seed(2))
    assert z.shape == (3, latents.total)
    torch.testing.assert_close(
        model.log_joint(x, z), model.pixel_log_likelihood(x, model.decode(z)) + model.prior.log_prob_unnormalized(z)
    )
    drawn = model.elbo(x, posterior=posterior, generator=torch.Generator().manual_seed(2))
    given = model.elbo(x, z=z)
    assert isinstance(drawn, ElboTerms) and drawn.kl.shape == (3, latents.levels)
    for name in ("reconstruction", "kl", "energy", "sse"):
        torch.testing.assert_close(getattr(given, name), getattr(drawn, name), rtol=1e-4, atol=1e-4)
    assert model.noise_view().decode(z).shape == x.shape
    if model.bounds_levels:
        torch.testing.assert_close(
            model.bound_above(x, 0, generator=torch.Generator().manual_seed(2)), drawn.elbo_plus_log_z
        )
    narrow = Independent(Normal(torch.zeros_like(z), torch.full_like(z, 0.1)), 1)
    if model.gaussian_posterior:
        assert not torch.equal(model.elbo(x, posterior=narrow).kl, drawn.kl)
    else:
        with pytest.raises(ValueError, match="leave posterior out"):
            model.elbo(x, posterior=narrow)


def test_elbo_exists_once(model):
    assert type(model).elbo is JointEBM.elbo and type(model).terms is JointEBM.terms


@pytest.mark.parametrize("name", ["hvae, dense", "lvae", "biva"])
def test_samples_of_a_hierarchy_follow_its_prior(name):
    """They were N(0, I) once, whatever the prior said."""
    model = build_model(CONFIGS[name]).double().eval()
    for head in model.prior.heads:
        for p in head.parameters():
            nn.init.normal_(p, std=0.5)
    samples = prior_samples(model, LangevinConfig(steps=4, step_size=0.4), 4000, torch.Generator().manual_seed(0))
    own = model.prior.sample(4000, 4, 0.4, generator=torch.Generator().manual_seed(0))
    assert samples.keys() == {"prior"} and torch.equal(samples["prior"], own)
    assert (samples["prior"][:, model.latents.columns(1)].std(0) - 1).abs().max() > 0.1


def test_given_steps_a_prior_without_energy_still_gives_exact_samples():
    model = JointEBM(Decoder(), Encoder(), GaussianPrior(LatentSpec((3, 5))), sigma=0.3)
    samples = prior_samples(model, LangevinConfig(steps=4, step_size=0.4), 5, torch.Generator().manual_seed(0))
    assert torch.equal(samples["prior"], torch.randn(5, 8, generator=torch.Generator().manual_seed(0)))


class Returns(nn.Module):
    def __init__(self, make):
        super().__init__()
        self.make = make

    def forward(self, given):
        return self.make(given)


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda x: x.flatten(1)[:, :8], TypeError, r"Independent\(Normal.*got Tensor"),
        (lambda x: Normal(torch.zeros(len(x), 8), 1.0), TypeError, "got Normal"),
        (lambda x: Independent(Normal(torch.zeros(len(x), 7), 1.0), 1), ValueError, r"event shape \(8,\).*\(7,\)"),
        (lambda x: Independent(Normal(torch.zeros(1, 8), 1.0), 1), ValueError, r"batch shape \(2,\).*got \(1,\)"),
    ],
)
def test_what_is_wrong_with_an_encoder_is_said(make, error, message):
    model = JointEBM(Decoder(), Returns(make), JointEBMPrior(LatentSpec((3, 5))), sigma=0.3)
    with pytest.raises(error, match=message):
        model.elbo(torch.zeros(2, 3, 20, 12))


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda z: (z, z), TypeError, "must return a tensor of images, got tuple"),
        (lambda z: z.sum(), ValueError, "one image per code"),
        (lambda z: torch.zeros(1, 3, 20, 12), ValueError, r"one image per code, \(2, …\)"),
        (lambda z: torch.zeros(len(z), 1, 20, 12), ValueError, r"of shape \(2, 1, 20, 12\).*\(2, 3, 20, 12\)"),
    ],
)
def test_what_is_wrong_with_a_decoder_is_said(make, error, message):
    model = JointEBM(Returns(make), Encoder(), JointEBMPrior(LatentSpec((3, 5))), sigma=0.3)
    with pytest.raises(error, match=message):
        model.elbo(torch.zeros(2, 3, 20, 12))
