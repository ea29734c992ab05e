"""Pictures of long chains: what stands in which place."""

import numpy as np
import pytest
import torch
from PIL import Image
from shared import tiny_model

from hebm_lib import build_model
from hebm_lib.plotting import image_grid
from hebm_lib.reproduction.figures.long_run import (
    draw_faces_run,
    draw_long_run,
    explore_chain,
    faces_of,
    plot_class_shares,
    plot_over_steps,
)


@pytest.fixture
def model():
    return build_model(tiny_model()).eval()


def report(scale=1.0):
    return {
        "K": 60,
        "steps": [0, 60, 100, 200],
        "distance": [4 * scale, 2.0, 2.0, 2.0],
        "distance_sd": [0.5] * 4,
        "white": [0.1, 0.2, 0.2, 0.2],
        "class_shares": [[0.5, 0.5], [0.6, 0.4], [0.7, 0.3], [0.8, 0.2]],
        "reference": {"data": {"class_shares": [0.4, 0.6]}},
    }


def test_figure_8_has_a_row_per_chain_and_a_column_per_moment(model):
    path = torch.randn(21, 5, 5)
    fig = draw_long_run(model, path, every=10, chains=2, trained_steps=10)
    images, profile = fig.axes
    expected = image_grid(model.decode(torch.cat([path[::10, 0], path[::10, 1]])), 3)
    assert abs(images.images[0].get_array() - expected).max() < 1e-6
    assert images.images[0].get_extent() == [-5, 25, 0, 1] and profile.get_xlim() == (-5, 25)
    assert len(profile.lines[0].get_ydata()) == 21


def test_lines_bands_and_references():
    references = {"distance": {"data": 1.0, "reconstructions": 1.5}}
    fig = plot_over_steps({"a": report(), "b": report(2)}, {"distance": "d", "white": "w"}, references=references)
    left, right = fig.axes
    assert left.lines[1].get_ydata().tolist() == [8, 2, 2, 2] and len(left.collections) == 2
    assert len(left.lines) == 5 and len(right.lines) == 3, "two models, K, and two references on the left"
    assert [text.get_text() for text in fig.legends[0].texts] == ["a", "b", "data", "reconstructions"]


def test_class_shares_end_with_the_data():
    fig = plot_class_shares({"a": report(), "b": report()})
    picture = fig.axes[0].images[0].get_array()
    assert picture.shape == (2, 6) and picture[:, 0].tolist() == [0.5, 0.5] and picture[:, -1].tolist() == [0.4, 0.6]


def test_the_explorer_shows_the_moment_that_was_asked_for(model):
    paths = {1: torch.randn(4, 6, 5), 16: torch.randn(4, 6, 5)}
    fig = explore_chain(model, paths, 16, 200, 100)
    expected = image_grid(model.decode(paths[16][2]), 3)
    assert abs(fig.axes[0].images[0].get_array() - expected).max() < 1e-6


@pytest.fixture
def stored_faces(tmp_path):
    """Three moments of four chains, 8×8 pixels in RGB, each of one grey that tells which it is."""
    greys = torch.arange(12.0).view(12, 1, 1, 1) / 6 - 1
    pixels = image_grid(greys.expand(12, 3, 8, 8), 4)
    path = tmp_path / "chains.png"
    Image.fromarray((255 * pixels).round().astype("uint8")).save(path)
    return path


def test_a_picture_of_chains_is_cut_where_its_images_are(stored_faces):
    faces = faces_of(stored_faces, 3, 4)
    assert faces.shape == (3, 4, 8, 8, 3) and all(faces[t, c].std() == 0 for t in range(3) for c in range(4))
    assert faces[2, 1, 0, 0, 0] == round(255 * 9 / 12)
    with pytest.raises(ValueError, match="no 5 rows and 4 columns"):
        faces_of(stored_faces, 5, 4)


def test_faces_stand_over_their_step_and_every_seed_has_its_lines(stored_faces):
    faces = faces_of(stored_faces, 3, 4)
    report = {"K": 50, "steps": [0, 50, 100, 200], "f": [0.0, 1.0, 1.2, 1.3], "f_low": [-1.0] * 4, "f_high": [2.0] * 4}
    report |= {"looks": [0, 200], "distance": [{"frechet": 30.0}, {"frechet": 20.0}]}
    fig = draw_faces_run({"1": report, "2": report}, faces, chains=2, references={"f = 0": 25.0})
    images, f, distance = fig.axes
    shown = np.asarray(images.images[0].get_array())
    assert shown.shape == (16, 24, 3) and (shown[8:, 16:] == faces[2, 1]).all()
    assert images.images[0].get_extent() == [-50, 250, 0, 1]
    assert len(f.lines) == 3 and list(distance.lines[1].get_ydata()) == [30, 20]
