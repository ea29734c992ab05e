"""What pages 17 and 20 draw of several runs: each strip in its place."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from hebm_lib.reproduction.figures.natural import draw_chains, draw_systems


def strip(path, rows, side=33):
    """A picture of three rows of eight images, each row of one grey, with a frame around."""
    picture = np.zeros((3 * side + 1, 8 * side + 1), dtype=np.uint8)
    for i, grey in enumerate(rows):
        picture[1 + i * side : 1 + (i + 1) * side] = grey
    Image.fromarray(picture).save(path)
    return path


def test_every_system_has_its_line_under_the_test_images(tmp_path):
    pictures = {"one": strip(tmp_path / "a.png", (10, 20, 30)), "two": strip(tmp_path / "b.png", (10, 50, 60))}
    figure = draw_systems(pictures)
    greys = [[np.unique(image.get_array()).tolist() for image in ax.images] for ax in figure.axes]
    assert greys == [[[10]], [], [[20]], [[30]], [[50]], [[60]]]
    assert [text.get_text() for ax in figure.axes for text in ax.texts] == ["real", "one", "two"]
    plt.close(figure)


def test_every_setting_has_its_samples_of_short_and_of_long_chains(tmp_path):
    pictures = {
        name: tuple(strip(tmp_path / f"{name}{i}.png", (1, 2, grey + i)) for i in (0, 5))
        for name, grey in (("ten", 10), ("hundred", 100))
    }
    figure = draw_chains(pictures, titles=("short", "long"))
    greys = [[np.unique(image.get_array()).tolist() for image in ax.images] for ax in figure.axes]
    assert greys == [[[10]], [[15]], [[100]], [[105]]]
    assert [ax.get_title() for ax in figure.axes] == ["short", "long", "", ""]
    assert [text.get_text() for ax in figure.axes for text in ax.texts] == ["ten", "hundred"]
    plt.close(figure)


def test_pictures_of_two_image_sets_do_not_mix(tmp_path):
    with pytest.raises(ValueError, match="one size for all pictures"):
        draw_systems(
            {"one": strip(tmp_path / "a.png", (1, 2, 3)), "two": strip(tmp_path / "b.png", (1, 2, 3), side=65)}
        )
    with pytest.raises(ValueError, match="one size"):
        draw_systems({})
