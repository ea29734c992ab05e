"""The study and the figures of disentanglement, on models that are known through and through."""

import json
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from shared import tiny_experiment, tiny_model
from torch.distributions import Independent, Normal

from hebm_lib import build_model
from hebm_lib.data import FACTORS, ImageDataset, factor_values, grid_index, render_shapes
from hebm_lib.reproduction import runs
from hebm_lib.reproduction.figures.disentanglement import (
    draw_factors,
    draw_information,
    draw_units_traversed,
    factor_rows,
    traverse_units,
)
from hebm_lib.reproduction.studies import STUDIES, disentanglement
from hebm_lib.reproduction.studies.disentanglement import measure_disentanglement


@pytest.fixture
def pictures():
    """Small images that show two of their factors as grey values: the floor's hue left, the shape right."""
    factors = factor_values(torch.randperm(480_000)[:600])
    images = torch.zeros(600, 1, 8, 8, dtype=torch.uint8)
    images[..., :4], images[..., 4:] = (20 * factors[:, 0]).view(-1, 1, 1, 1), (60 * factors[:, 4]).view(-1, 1, 1, 1)
    about = {"factor_sizes": np.array(list(FACTORS.values()))}
    data = ImageDataset(images, factors[:, 4], "pictures", extra={"factors": factors.numpy()}, about=about)
    return data


@pytest.fixture
def reader():
    """A model with levels of two and three units that reads the shape into z_1's second, the floor into z_2's first."""
    model = build_model(tiny_model()).eval()

    def encode(x):
        mean = torch.zeros(len(x), 5)
        mean[:, 1], mean[:, 2] = 2 * x[:, 0, 0, 7], 3 * x[:, 0, 0, 0]
        return Independent(Normal(mean, torch.where(mean.abs().amax(0) > 0, 0.02, 1.0).expand_as(mean)), 1)

    model.encode = encode
    return model


def test_a_reader_of_two_factors_in_numbers(reader, pictures):
    found = measure_disentanglement(reader, pictures, fitted=300, tested=200)
    assert json.loads(json.dumps(found)) == found
    assert [k for k, speaks in enumerate(found["active"]) if speaks] == [1, 2]
    levels = torch.tensor(found["levels"])
    assert levels.shape == (2, 6) and levels[0, 4] > 0.95 and levels[1, 0] > 0.95
    assert levels[0, 0] < 0.2 and levels[1, 4] < 0.2
    assert 0.25 < found["mig"] < 0.4, "two factors of six"
    assert found["mig_sup"] > 0.8
    assert found["probe"][0][4] > 0.9 > 0.5 > found["probe"][1][4]
    assert found["dci"].keys() == {"disentanglement", "completeness", "informativeness"} and len(found["kl"]) == 2
    with pytest.raises(ValueError, match="but there are 600"):
        measure_disentanglement(reader, pictures)


def test_a_run_is_trained_and_measured(monkeypatch, tmp_path, pictures):
    """A tiny entry in the place of the registry's; measured again, the finished run is not trained again."""
    monkeypatch.setattr(runs, "load_experiment", lambda name: tiny_experiment())
    for module in (runs, disentanglement):
        monkeypatch.setattr(module, "load_split", lambda data, split: pictures)
    monkeypatch.setattr(runs, "ROOT", tmp_path)
    monkeypatch.setattr(
        disentanglement, "measure_disentanglement", partial(measure_disentanglement, fitted=100, tested=100)
    )
    found = disentanglement.measure_run("tiny@2")
    assert found["images"] == 600 and len(found["information"]) == 6 and len(found["information"][0]) == 5
    assert disentanglement.measure_run("tiny@2") == found and "precision" not in found
    assert disentanglement.measure_run("tiny@3", precision="bf16-mixed")["precision"] == "bf16-mixed"


def test_seven_models_with_three_seeds():
    parts = STUDIES["disentanglement"].parts
    assert len(parts) == 21 and {"shapes3d", "shapes3d-provlae-s3@3"} <= parts.keys()


# ---- figures --------------------------------------------------------------------------------------------------------


def test_in_a_row_one_factor_moves():
    base = (0, 6, 3, 5, 0, 4)
    rows = factor_rows(base, columns=8)
    assert rows.shape == (6, 8, 3, 64, 64)
    still = render_shapes(grid_index(torch.tensor([base])))[0]
    assert torch.equal(rows[4, 0], still) and torch.equal(rows[0, 0], still)
    assert all(len({image.numpy().tobytes() for image in row}) == min(8, n) for row, n in zip(rows, FACTORS.values()))
    ax = draw_factors(rows).axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == [f"{name} ({n})" for name, n in FACTORS.items()]
    picture = ax.images[0].get_array()
    assert abs(picture.shape[0] / picture.shape[1] - 6 / 8) < 0.02


def test_shades_are_shares_and_lines_part_the_levels():
    information = torch.zeros(6, 5)
    information[4, 3], information[0, 1], information[1, 0] = 0.9, 1.2, -0.1
    active = [False, True, False, True, False]
    ax = draw_information(information, (3, 2), ax=plt.subplots()[1], active=active)
    shown = torch.as_tensor(ax.images[0].get_array())
    assert shown.max() == 1 and shown.min() == 0 and shown[4, 3].item() == pytest.approx(0.9)
    assert sorted(text.get_text() for text in ax.texts) == ["0.9", "1.0"]
    assert [line.get_xdata()[0] for line in ax.lines] == [2.5]
    assert [label.get_text() for label in ax.get_xticklabels()][2:4] == ["$z_{1,3}$", "$z_{2,1}$"]
    assert [label.get_color() == "black" for label in ax.get_xticklabels()] == active


def test_a_traversal_moves_one_unit_and_the_top_level_stands_first():
    model = build_model(tiny_model()).eval()
    x = 2 * torch.rand(1, 1, 8, 8) - 1
    images = traverse_units(model, x, columns=5, reach=1.5)
    z = model.encode(x).mean.detach()
    z[0, 3] = -1.5
    assert images.shape == (5, 5, 1, 8, 8) and torch.allclose(images[3, 0], model.decode(z)[0], atol=1e-5)
    axes = draw_units_traversed(images, (2, 3)).axes
    assert [ax.get_title(loc="left") for ax in axes] == ["$z_2$", "$z_1$"]
    assert [len(ax.get_yticks()) for ax in axes] == [3, 2]
