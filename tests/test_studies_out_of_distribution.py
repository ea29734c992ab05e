"""Out-of-distribution scores on images made on the spot."""

import math
from dataclasses import replace

import pytest
import torch
from shared import tiny_model

from hebm_lib import build_model
from hebm_lib.baselines.hvae import HVAE
from hebm_lib.data import ImageDataset, load_dataset
from hebm_lib.experiments import EXPERIMENTS, load_experiment
from hebm_lib.metrics.alterations import ALTERATIONS, altered
from hebm_lib.metrics.detection import joint_terms, tell_apart
from hebm_lib.metrics.pixels import grey_entropy, ink
from hebm_lib.metrics.scores import bernoulli_score, bound_score, likelihood_scores, model_scores
from hebm_lib.reproduction.studies import out_of_distribution


def images(level: int, n: int = 40) -> ImageDataset:
    pixels = torch.randint(level, level + 20, (n, 1, 28, 28), dtype=torch.uint8)
    return ImageDataset(pixels, torch.zeros(n, dtype=torch.int64))


def test_brightness_tells_dark_from_bright():
    assert ink(images(100)).mean().item() == pytest.approx(109.5 / 255, abs=0.01)
    found = tell_apart(images(100), images(10, 60), lambda data: {"dark": -ink(data)})
    assert found == {"dark": {"auprc": 1.0, "auroc": 1.0}}, "as many of each, the first ones"


def test_what_a_grey_image_costs_under_any_model():
    """Cross-entropy = entropy of the greys + KL: by hand, and never below the entropy."""
    pixels = torch.tensor([[0, 255, 51, 102]], dtype=torch.uint8).view(1, 1, 2, 2)
    data = ImageDataset(pixels, torch.zeros(1, dtype=torch.int64))
    by_hand = sum(-u * math.log(u) - (1 - u) * math.log(1 - u) for u in (0.2, 0.4))
    assert grey_entropy(data).item() == pytest.approx(by_hand, abs=1e-5)
    model = build_model(load_experiment("mnist").model).eval()
    data = images(90)
    torch.manual_seed(1)
    assert (bernoulli_score(model, data) > grey_entropy(data)).all()


def test_the_bernoulli_score_is_the_likelihood_of_a_model_with_such_pixels():
    config = load_experiment("mnist-vlae").model
    model = build_model(replace(config, baseline=replace(config.baseline, likelihood="bernoulli"))).eval()
    data = images(90, 20)
    torch.testing.assert_close(
        bernoulli_score(model, data, seed=2),
        -joint_terms(model, data, seed=2).likelihood,
        rtol=1e-4,
        atol=1e-2,
    )


@pytest.mark.parametrize("name", ["mnist", "mnist-vlae"])
def test_the_bound_adds_up(name):
    model, data = build_model(load_experiment(name).model).eval(), images(90)
    found, x = bound_score(model, data, seed=1), data.batch(slice(None))
    with torch.no_grad():
        posterior, bound = model.encode(x), model.elbo(x, generator=torch.Generator().manual_seed(1))
    normal = torch.distributions.Normal(0.0, 1.0)
    kl = torch.distributions.kl_divergence(posterior.base_dist, normal.expand(posterior.mean.shape)).sum(1)
    torch.testing.assert_close(found["KL"], kl, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(found["-ELBO"], kl - bound.reconstruction - bound.energy, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("name", ["mnist-capped", "mnist-vlae", "mnist-hvae"])
def test_every_model_has_its_scores(name):
    model = build_model(load_experiment(name).model).eval()
    scores = model_scores(model, images(90), seed=0)
    assert all(score.shape == (40,) and score.isfinite().all() for score in scores.values())
    assert ("-f(z)" in scores) == (name == "mnist-capped") and ("LLR>1" in scores) == (name == "mnist-hvae")
    log_p_z = scores["-log N(z; 0, I)"] + scores.get("-f(z)", torch.zeros(40))
    assert torch.equal(scores.get("-f(z) - log N(z; 0, I)", log_p_z), log_p_z)


def test_hvaes_own_scores_are_its_bounds():
    torch.manual_seed(0)
    model, data = build_model(load_experiment("mnist-hvae").model).eval(), images(90, 30)
    assert isinstance(model, HVAE)
    scores = likelihood_scores(model, data, seed=3, batch=30)
    generator, x = torch.Generator().manual_seed(3), data.batch(slice(None))
    with torch.no_grad():
        bounds = [model.bound_above(x, k, generator=generator) for k in range(3)]
    torch.testing.assert_close(scores["-L>2"], -bounds[2])
    torch.testing.assert_close(scores["LLR>2"], bounds[0] - bounds[2])


def test_the_published_scripts_ratio_charges_both_bounds_for_all_levels():
    """So that the charge falls out: log p(x|z) - log p(x|z'), z' with the lowest k levels at the prior's mode."""
    torch.manual_seed(0)
    model, data = build_model(load_experiment("mnist-hvae").model).eval(), images(90, 30)
    scores = likelihood_scores(model, data, seed=3, batch=30)
    generator, x = torch.Generator().manual_seed(3), data.batch(slice(None))
    with torch.no_grad():
        (likelihood, kl), *above = [model.terms_above(x, k, generator=generator) for k in range(3)]
    for k, (part, its_kl) in enumerate(above, start=1):
        torch.testing.assert_close(scores[f"LLR>{k} without KL"], (likelihood - kl) - (part - kl), rtol=1e-4, atol=1e-3)
        torch.testing.assert_close(
            scores[f"LLR>{k}"], scores[f"LLR>{k} without KL"] - kl + its_kl, rtol=1e-4, atol=1e-3
        )


def test_more_draws_behind_hvaes_ratios():
    torch.manual_seed(0)
    model, data = build_model(load_experiment("mnist-hvae").model).eval(), images(90, 30)
    scores = likelihood_scores(model, data, seed=3, batch=30, draws=4)
    generator, x = torch.Generator().manual_seed(3), data.batch(slice(None))
    with torch.no_grad():
        bounds = [model.bound_above(x, k, samples=4, generator=generator) for k in range(3)]
    assert len(scores) == 6
    torch.testing.assert_close(scores["-L>1, 4 draws"], -bounds[1])
    torch.testing.assert_close(scores["LLR>2, 4 draws"], bounds[0] - bounds[2])
    one, many = (likelihood_scores(model, data, seed=5, draws=n) for n in (1, 50))
    again = likelihood_scores(model, data, seed=6, draws=50)
    ratio, averaged = "LLR>2 without KL", "LLR>2 without KL, 50 draws"
    assert (again[averaged] - many[averaged]).std() < 0.5 * (one[ratio] - many[averaged]).std(), "noise averages out"
    with pytest.raises(ValueError, match="draws must be at least 1, got 0"):
        likelihood_scores(model, data, draws=0)


def test_the_directions_name_runs_of_the_registry():
    for other, runs in out_of_distribution.DIRECTIONS.values():
        assert other in EXPERIMENTS and set(runs.values()) <= EXPERIMENTS.keys()
        for kind, run in runs.items():
            entry = EXPERIMENTS[run]
            assert entry.model.kind == ("hvae" if kind.startswith("HVAE") else "joint-ebm"), run
            on_or_off = "Bernoulli" in kind or "black or white" in kind
            assert entry.model.baseline.likelihood == ("bernoulli" if on_or_off else "gaussian"), run
            assert entry.data.binary == ("black or white" in kind), run
            assert entry.model.sigma == (float(kind.partition("σ = ")[2]) if "σ" in kind else 0.4), run
            assert ("VLAE" in kind) == (entry.training.energy.ladder_epochs == entry.training.epochs), (
                "f = 0 to the end"
            )
        for kind in runs.keys() & {f"joint EBM{pixels}" for pixels in out_of_distribution.PIXELS}:
            ours, twin = (EXPERIMENTS[runs[name]] for name in (kind, kind.replace("joint EBM", "VLAE")))
            assert ours.model == twin.model and ours.training.epochs == twin.training.epochs
        assert len({EXPERIMENTS[run].data.name for run in runs.values()} | {EXPERIMENTS[other].data.name}) == 2
    assert out_of_distribution.direction_of("fashion-hvae") == "fashion in, MNIST out"
    assert out_of_distribution.direction_of("mnist@3") == "MNIST in, fashion out"
    with pytest.raises(ValueError, match="no direction"):
        out_of_distribution.direction_of("digits")


@pytest.fixture
def small_sets(monkeypatch):
    """8×8 digits are at home, their negatives are not."""
    bright = load_dataset("digits", "train")
    dark = ImageDataset(255 - bright.images, bright.labels)
    monkeypatch.setattr(
        out_of_distribution, "load_split", lambda config, split: dark if config.name == "mnist" else bright
    )


def test_a_run_is_asked_about_its_own_direction(small_sets):
    result = out_of_distribution.scores_of_run("fashion", build_model(tiny_model()).eval())
    assert result["scores"]["SSE"].keys() == {"auprc", "auroc"} and result["sigma"] == 0.4
    assert len(result["kl"]) == 2 and min(result["kl"]) >= 0, "a number per level"
    found = out_of_distribution.scores_without_model("fashion")["scores"]
    assert found["bright"]["auroc"] == pytest.approx(1 - found["dark"]["auroc"], abs=1e-3)
    assert found["to mean image"]["auroc"] > 0.99 and found["grey entropy"]["auroc"] == pytest.approx(0.5, abs=0.01)


def test_both_sides_are_drawn_black_or_white_where_a_model_knows_no_grey(monkeypatch):
    asked = []
    monkeypatch.setattr(out_of_distribution, "load_split", lambda config, split: asked.append(config))
    for run in ("fashion-hvae-binary", "fashion-hvae-bernoulli"):
        out_of_distribution.both_sides(run)
    assert [config.binary for config in asked] == [True, True, False, False]
    assert [config.name for config in asked] == ["fashion-mnist", "mnist"] * 2


def test_pairs_have_three_seeds_and_wait_for_published_weights_only():
    parts = out_of_distribution.STUDY.parts
    assert parts["fashion"] == ("fashion",) and parts["fashion-gaussian"] == parts["fashion@3"] == ()
    pairs = [run for _, runs in out_of_distribution.DIRECTIONS.values() for run in runs.values() if f"{run}@2" in parts]
    assert len(pairs) == 17 and all(f"{run}@3" in parts for run in pairs)


@pytest.mark.parametrize("how", ALTERATIONS)
def test_alterations_keep_the_form_and_change_the_images(how):
    data = load_dataset("digits", "test").subset(slice(0, 20))
    other = altered(data, how)
    assert other.images.shape == data.images.shape and other.images.dtype == torch.uint8
    assert not torch.equal(other.images, data.images) and torch.equal(other.labels, data.labels)
    assert torch.equal(other.images, altered(data, how).images)


def test_alterations_by_hand():
    data = ImageDataset(torch.tensor([[10, 200], [30, 40]], dtype=torch.uint8).view(2, 1, 1, 2), torch.zeros(2).long())
    expected = {"inverted": [[245, 55], [225, 215]], "blank": [[0, 0], [0, 0]], "black or white": [[0, 255], [0, 0]]}
    expected |= {"mirrored": [[200, 10], [40, 30]], "two halves": [[10, 40], [30, 200]]}
    for how, pixels in expected.items():
        assert altered(data, how).images.flatten(1).tolist() == pixels, how
    with pytest.raises(ValueError, match="no alteration 'eaten'"):
        altered(data, "eaten")
