"""What a level changes, on models whose levels have one job each by construction."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from hebm_lib.data import ImageDataset
from hebm_lib.latents import LatentSpec
from hebm_lib.reproduction.studies import photograph_levels
from hebm_lib.reproduction.studies.photograph_levels import measure_faces, measure_street_numbers

SIDE = 8


def paint(light: torch.Tensor, red: torch.Tensor, left: torch.Tensor) -> torch.Tensor:
    """Images ``(n, 3, 8, 8)``: a light everywhere, red against blue, and a bar on the left or on the right."""
    x = 0.25 * light[:, None, None, None] + torch.zeros(len(light), 3, SIDE, SIDE)
    x[:, 0] += 0.2 * red[:, None, None]
    x[:, 2] -= 0.2 * red[:, None, None]
    bar = torch.zeros(len(light), SIDE)
    bar[:, :3], bar[:, 5:] = 0.5 * left[:, None], -0.5 * left[:, None]
    return (x + bar[:, None, None, :]).clamp(-1, 1)


def signs(n: int, seed: int, columns: int = 3) -> torch.Tensor:
    return torch.randn(n, columns, generator=torch.Generator().manual_seed(seed)).sign()


@pytest.fixture
def model():
    """z_1 is the light, z_2 the colour, z_3 the side of the bar; the prior's chains draw signs."""

    def sample(n, steps, step_size, *, generator):
        return torch.randn(n, 3, generator=generator).sign()

    return SimpleNamespace(
        latents=LatentSpec((1, 1, 1)),
        prior=SimpleNamespace(sample=sample),
        decode=lambda z: paint(z[:, 0], z[:, 1], z[:, 2]),
        device=torch.device("cpu"),
    )


@pytest.fixture
def config():
    training = SimpleNamespace(langevin=SimpleNamespace(steps=2, step_size=0.1), seed=1)
    return SimpleNamespace(data="painted", training=training)


@pytest.fixture
def painted(monkeypatch):
    """Training and test images of the same kind; the side of the bar is the class, light and colour are attributes."""

    def load(data, split):
        z = signs(400, {"train": 5, "test": 6}[split])
        images = ((paint(*z.T) + 1) * 127.5).round().to(torch.uint8)
        attributes = z[:, :2].int().numpy()
        names = {"attribute_names": np.array(["light", "red"])}
        return ImageDataset(images, (z[:, 2] > 0).long(), extra={"attributes": attributes}, about=names)

    monkeypatch.setattr(photograph_levels, "load_split", load)
    monkeypatch.setattr(photograph_levels, "SAMPLES", 200)


def test_street_numbers_whose_levels_have_one_job_each(model, config, painted):
    found = measure_street_numbers(model, config)
    assert found["reader_accuracy"] > 0.95
    assert max(found["class_change"][:2]) < 0.05 < 0.35 < found["class_change"][2], found["class_change"]
    assert found["class_change"][2] == pytest.approx(found["class_change_all"], abs=0.05)
    for name, level in (("light", 0), ("colour", 1)):
        mine = found[name].pop(level)
        assert mine == pytest.approx(1, abs=0.2) and max(found[name]) < 0.05, found


def test_attributes_of_faces_flip_at_the_level_that_has_them(model, config, painted, monkeypatch, tmp_path):
    for name in ("image_features", "real_features"):
        monkeypatch.setattr(photograph_levels, name, lambda images: images.flatten(1))
    found = measure_faces(model, config, tmp_path / "redrawn.webp")
    assert found["samples"] == 100 and found["attributes"].keys() == {"light", "red"}
    for level, one in enumerate(found["attributes"].values()):
        assert one["auroc"] > 0.99
        mine = one["flips"].pop(level)
        assert mine == pytest.approx(one["flips_all"]) and 0.3 < mine < 0.7 and max(one["flips"]) == 0
    assert (tmp_path / "redrawn.webp").is_file()
