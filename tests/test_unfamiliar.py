"""Out-of-distribution scores on images made on the spot."""

import pytest
import torch

from hebm_lib import build_model, unfamiliar
from hebm_lib.baselines.hvae import HVAE
from hebm_lib.data import ImageDataset
from hebm_lib.experiments import EXPERIMENTS, load_experiment


def images(level: int, n: int = 40) -> ImageDataset:
    pixels = torch.randint(level, level + 20, (n, 1, 28, 28), dtype=torch.uint8)
    return ImageDataset(pixels, torch.zeros(n, dtype=torch.int64))


def test_brightness_tells_dark_from_bright():
    assert unfamiliar.ink(images(100)).mean().item() == pytest.approx(109.5 / 255, abs=0.01)
    found = unfamiliar.tell_apart(images(100), images(10, 60), lambda data: {"dark": -unfamiliar.ink(data)})
    assert found == {"dark": {"auprc": 1.0, "auroc": 1.0}}, "as many of each, the first ones"


@pytest.mark.parametrize("name", ["mnist", "mnist-vlae", "mnist-hvae"])
def test_every_model_has_its_scores(name):
    model = build_model(load_experiment(name).model).eval()
    scores = unfamiliar.model_scores(model, images(90), seed=0)
    assert all(score.shape == (40,) and score.isfinite().all() for score in scores.values())
    assert ("-f(z)" in scores) == (name == "mnist") and ("LLR>1" in scores) == (name == "mnist-hvae")


def test_hvaes_own_scores_are_its_bounds():
    torch.manual_seed(0)
    model, data = build_model(load_experiment("mnist-hvae").model).eval(), images(90, 30)
    assert isinstance(model, HVAE)
    scores = unfamiliar.likelihood_scores(model, data, seed=3, batch=30)
    generator, x = torch.Generator().manual_seed(3), data.batch(slice(None))
    with torch.no_grad():
        bounds = [model.bound_above(x, k, generator=generator) for k in range(3)]
    torch.testing.assert_close(scores["-L"], -bounds[0])
    torch.testing.assert_close(scores["-L>2"], -bounds[2])
    torch.testing.assert_close(scores["LLR>2"], bounds[0] - bounds[2])


def test_the_directions_name_runs_of_the_registry():
    for other, runs in unfamiliar.DIRECTIONS.values():
        assert other in EXPERIMENTS and set(runs.values()) <= EXPERIMENTS.keys()
        assert {EXPERIMENTS[run].model.kind for run in runs.values()} == set(runs)
        assert len({EXPERIMENTS[run].data for run in runs.values()} | {EXPERIMENTS[other].data}) == 2
