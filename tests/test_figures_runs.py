"""What pages 09 and 10 draw: the arrays behind the figures, their orientation, labels and ranges."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from shared import tiny_model

import hebm_lib.reproduction.figures as widgets
from hebm_lib import LatentSpec, build_model
from hebm_lib.plotting import image_grid
from hebm_lib.reproduction.figures import runs


class Bright:
    """A stand-in for a model of one unit per level: the left half shows z_1, the right half z_2, linearly."""

    latents = LatentSpec((1, 1))

    def decode(self, z):
        halves = (z / 10).clamp(-1, 1)
        return halves[:, None, None, :].expand(-1, 1, 8, -1).repeat_interleave(4, dim=3).contiguous()

    def reconstruct(self, x):
        return -x


class ReadRight(torch.nn.Module):
    """Reads class 0, 1, 2 by the brightness of the right half: so by z_2 alone."""

    def forward(self, x):
        level = (x[:, 0, 0, -1] * 10).round().clamp(0, 2).long()
        return torch.nn.functional.one_hot(level, 3).float()


def picture(ax) -> np.ndarray:
    return np.asarray(ax.images[0].get_array())


def test_the_package_re_exports_every_name():
    assert set(runs.__all__) <= set(widgets.__all__)
    assert all(getattr(widgets, name) is getattr(runs, name) for name in runs.__all__)


# ---- walks ----------------------------------------------------------------------------------------------------------


def test_walks_move_one_unit_and_say_how_far():
    model, z = Bright(), torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    values = torch.tensor([[-4.0, 0.0, 4.0], [-9.0, 1.0, 9.0]])
    fig = runs.draw_walks({"a": model, "b": model}, {"a": z, "b": z}, {"a": values, "b": values})
    assert len(fig.axes) == 4
    assert [ax.get_title() for ax in fig.axes[:2]] == ["a: $z_1$ from -4.0 to 4.0", "a: $z_2$ from -9.0 to 9.0"]
    for level, ax in ((1, fig.axes[0]), (2, fig.axes[1])):
        walks = model.latents.traverse(z, level, 0, values[level - 1]).flatten(0, 1)
        assert np.array_equal(picture(ax), image_grid(model.decode(walks), 3))


def test_progress_has_a_row_per_snapshot_and_a_panel_per_level():
    x, z = torch.full((4, 1, 8, 8), 0.5), torch.randn(8, 2)
    values = torch.tensor([[-1.0, 0.0, 1.0, 2.0], [-3.0, 0.0, 3.0, 6.0]])
    keys = ("step 0", "step 9")
    fig = runs.draw_progress(dict.fromkeys(keys, Bright()), x, dict.fromkeys(keys, z), dict.fromkeys(keys, values))
    axes = np.array(fig.axes).reshape(2, 4)
    assert [ax.get_title() for ax in axes[0]] == [
        "images, reconstructions",
        "prior samples",
        "walks along $z_1$",
        "walks along $z_2$",
    ]
    assert [row[0].get_ylabel() for row in axes] == list(keys) and not axes[1, 0].get_title()
    assert np.array_equal(picture(axes[0, 0]), image_grid(torch.cat([x, -x]), 4))
    walks = Bright().latents.traverse(z[:2], 2, 0, values[1]).flatten(0, 1)
    assert np.array_equal(picture(axes[1, 3]), image_grid(Bright().decode(walks), 4))


# ---- the plane ------------------------------------------------------------------------------------------------------


def test_a_box_holds_the_middle_of_the_samples_with_a_margin():
    samples = torch.stack([torch.linspace(0, 1, 1001), torch.linspace(-10, 10, 1001)], 1)
    samples = torch.cat([samples, torch.tensor([[500.0, -500.0]])])  # one outlier must not decide
    left, right, low, high = runs.plane_box(samples, margin=0.1)
    assert -0.12 < left < -0.05 and 1.05 < right < 1.12 and -12 < low < -10.5 and 10.5 < high < 12


def test_the_plane_is_read_with_z_1_along_columns_and_z_2_along_rows():
    classes = runs.read_plane(Bright(), ReadRight(), (-5, 5, 0, 2), points=3)
    assert torch.equal(classes, torch.tensor([[0, 0, 0], [1, 1, 1], [2, 2, 2]]))


def test_the_plane_is_drawn_bottom_up_with_samples_and_mark():
    classes, box = torch.tensor([[0, 0], [1, 7]]), (-5.0, 5.0, 0.0, 2.0)
    _, ax = plt.subplots()
    samples = torch.tensor([[0.5, 1.0], [1.5, 0.2]])
    runs.draw_plane(classes, box, ax=ax, samples=samples, at=(1.0, 1.5), title="here")
    image = ax.images[0]
    assert image.origin == "lower" and tuple(image.get_extent()) == box and ax.get_title() == "here"
    assert np.array_equal(picture(ax), [[0, 0], [1, 3]])  # every other class is the one grey
    assert ax.get_xlim() == box[:2] and ax.get_ylim() == box[2:]
    dots, mark = ax.lines
    assert np.allclose(dots.get_xydata(), samples) and np.allclose(mark.get_xydata(), [[1.0, 1.5]])


def test_the_atlas_puts_the_largest_z_2_on_top_and_each_image_at_its_place():
    _, ax = plt.subplots()
    runs.draw_atlas(Bright(), (-5.0, 5.0, 0.0, 10.0), ax=ax, points=3)
    shown = picture(ax)
    assert shown[2, 7] > shown[-3, 7]  # the right half of an image shows z_2
    assert shown[2, -8] > shown[2, 2]  # the left half z_1, from left to right
    left, right, low, high = ax.images[0].get_extent()
    # The middle image's centre is the middle of the box, the first one's the box's edge.
    assert (left, right, low, high) == (-7.5, 7.5, -2.5, 12.5)


@pytest.mark.parametrize("other", [True, False])
def test_the_legend_names_the_classes(other):
    fig, _ = plt.subplots()
    runs.class_legend(fig, other=other)
    names = [text.get_text() for text in fig.legends[0].get_texts()]
    assert names == ["reads 0", "reads 1", "reads 2"] + ["another"] * other


def test_the_explorer_marks_the_code_and_draws_its_image():
    classes = torch.zeros(3, 3, dtype=torch.long)
    fig = runs.explore_latent(Bright(), classes, (-3.0, 3.0, -3.0, 3.0), (1.0, -2.0))
    plane, image = fig.axes
    assert np.allclose(plane.lines[0].get_xydata(), [[1.0, -2.0]])
    assert "1.0" in image.get_title() and "-2.0" in image.get_title()
    assert np.array_equal(picture(image), image_grid(Bright().decode(torch.tensor([[1.0, -2.0]])), 1))


# ---- chains and single levels ---------------------------------------------------------------------------------------


def test_transition_has_the_top_level_first_steps_as_titles_and_one_range_per_row():
    model = build_model(tiny_model(latent_dims=(2, 2)))
    path, labels = torch.randn(11, 40, 4), torch.arange(40) % 3
    fig = runs.draw_transition(model, path, labels, (0, 4, 10))
    axes = np.array(fig.axes).reshape(3, 3)
    assert [ax.get_title() for ax in axes[0]] == ["step 0", "step 4", "step 10"]
    assert [row[0].get_ylabel() for row in axes[:2]] == ["$z_2$", "$z_1$"]
    assert all(len({ax.get_xlim() for ax in row}) == 1 for row in axes[:2])
    drawn = np.concatenate([line.get_xydata() for line in axes[0, 2].lines])
    expected = torch.cat([path[10, labels == c, 2:] for c in range(3)])
    assert np.allclose(drawn, expected)
    with torch.no_grad():
        assert np.allclose(picture(axes[2, 1]), image_grid(model.decode(path[4, :36]), 6))


def test_a_level_path_starts_at_the_sample_ends_at_the_redraw_and_moves_that_level_only():
    model, z, donor = Bright(), torch.tensor([[1.0, 2.0]]), torch.tensor([[9.0, -6.0]])
    fig = runs.draw_level_paths(model, z, donor, [0.0, 0.5, 1.0])
    assert [ax.get_title() for ax in fig.axes] == ["only $z_1$ moves (bottom)", "only $z_2$ moves (top)"]
    codes = torch.tensor([[1.0, 2.0], [1.0, -2.0], [1.0, -6.0]])
    assert np.allclose(picture(fig.axes[1]), image_grid(model.decode(codes), 3), atol=1e-6)


def test_the_level_explorer_shows_samples_above_and_moved_ones_below():
    model, z, donor = Bright(), torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[5.0, 6.0], [7.0, 8.0]])
    fig = runs.explore_level(model, z, donor, 1, 0.5)
    moved = torch.tensor([[3.0, 2.0], [5.0, 4.0]])
    assert np.allclose(picture(fig.axes[0]), image_grid(model.decode(torch.cat([z, moved])), 2), atol=1e-6)
    assert "50%" in fig.axes[0].get_title()


# ---- curves ---------------------------------------------------------------------------------------------------------


def test_columns_become_rows_without_what_is_missing():
    rows = runs.curve_rows({"step": [1.0, 2.0], "sse": [5.0, 4.0], "grad_norm_alpha": [None, 3.0]})
    assert rows == [{"step": 1.0, "sse": 5.0}, {"step": 2.0, "sse": 4.0, "grad_norm_alpha": 3.0}]
    with pytest.raises(ValueError):
        runs.curve_rows({"step": [1.0, 2.0], "sse": [5.0]})


def test_diagnostics_leave_out_the_first_tenth_of_the_difference_and_keep_gaps():
    history = [{"step": i, "f_difference": 100.0 - i, "grad_norm_beta_phi": 2.0 + i} for i in range(20)]
    history[5]["grad_norm_alpha"] = 0.5
    left, right = runs.plot_diagnostics(history).axes
    assert np.array_equal(left.lines[1].get_xydata(), [(i, 100.0 - i) for i in range(2, 20)])
    assert np.array_equal(left.lines[0].get_ydata(), [0, 0])
    both, alpha = right.lines
    assert np.array_equal(both.get_ydata(), np.arange(20) + 2.0)
    assert np.isnan(alpha.get_ydata()).sum() == 19 and alpha.get_ydata()[5] == 0.5
    assert right.get_yscale() == "log"
