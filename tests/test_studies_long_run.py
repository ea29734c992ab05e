"""The study of long chains: the latent EBM's energy learned anew on its own codes."""

from dataclasses import replace

import pytest
import torch
from shared import tiny_model

from hebm_lib import build_model
from hebm_lib.config import BaselineConfig, LangevinConfig
from hebm_lib.metrics.chain_health import gain
from hebm_lib.reproduction.studies import long_run
from hebm_lib.training.batches import as_batches
from hebm_lib.training.phases import FixedCodes


@pytest.fixture
def model():
    torch.manual_seed(0)
    one = tiny_model()
    one = replace(
        one,
        kind="lebm",
        latent_dims=(2,),
        generator=replace(one.generator, factors=(), widths=(), entries=()),
        inference=replace(one.inference, factors=(), widths=(), reads=()),
        baseline=BaselineConfig(posterior=LangevinConfig(steps=6, step_size=0.1)),
    )
    return build_model(one).eval()


def test_codes_are_where_posterior_chains_end(model, digits):
    """As points, the same each time; in a mean over images the chains have climbed."""
    images = as_batches(digits, torch.float32)
    codes = long_run.posterior_codes(model, images, batch=100)
    assert codes.mean.shape == (len(digits), 2) and (codes.deviation == 0).all()
    assert torch.equal(codes.mean, long_run.posterior_codes(model, images, batch=100).mean)
    x = images.batch(torch.arange(100))
    start = torch.randn(100, 2, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert model.log_joint(x, codes.mean[:100]).mean() > model.log_joint(x, start).mean()


def test_an_energy_that_is_learned_anew_gains_on_its_codes(model):
    """Codes N((1.5, 0), 0.3² I): at most KL = 0.5 (1.5² + 2 (0.3² - 1 - ln 0.3²)) nats can be gained."""
    draws = torch.randn(2_000, 2, generator=torch.Generator().manual_seed(2)) * 0.3 + torch.tensor([1.5, 0.0])
    codes, old = FixedCodes(draws[:1_000], torch.zeros(1_000, 2)), model.prior
    recipe = replace(long_run.RECIPE, hidden=(32, 32), k=20, chains=200, jumps=2, steps=1_000, rate=1e-2)
    history = long_run.learn_anew(model, codes, recipe, seed=1)
    best = 0.5 * (1.5**2 + 2 * (0.3**2 - 1)) - 2 * torch.tensor(0.3).log().item()
    found, *_ = gain(model.prior, draws[1_000:], model.prior.log_z(generator=torch.Generator().manual_seed(3)))
    assert len(history) == 10 and model.prior is not old and not model.prior.training
    assert 0.6 * best < found < best + 0.1


def test_a_part_that_learns_anew_measures_the_published_model_with_another_prior(monkeypatch):
    """Whatever part is asked for: training's K and s of its own prior, and α's seed from the name."""
    asked = {}
    monkeypatch.setattr(long_run, "posterior_codes", lambda model, images: "codes")
    monkeypatch.setattr(long_run, "load_split", lambda data, split: -torch.ones(3, 1, 28, 28))
    monkeypatch.setattr(long_run, "learn_anew", lambda *args, seed: asked.update(args=args, seed=seed))
    monkeypatch.setattr(long_run, "long_run_report", lambda model, langevin, test, classifier: {"K": langevin.steps})
    assert long_run.measure_long_run("mnist-lebm") == {"K": 60} and not asked
    assert long_run.measure_long_run(long_run.ANEW[2]) == {"K": 150}
    assert asked["seed"] == 3 and asked["args"][1:] == ("codes", long_run.RECIPE)
    assert set(long_run.ANEW) < long_run.STUDY.parts.keys()
