from dataclasses import replace

import pytest
import torch
from shared import tiny_model

from hebm_lib import build_model, load_experiment
from hebm_lib.config import GeneratorConfig, InferenceConfig
from hebm_lib.metrics.ladder import jacobians, near_ink, reach, roughness, view
from hebm_lib.reproduction.figures import draw_ladder, draw_signed, draw_units


@pytest.fixture
def ladder():
    """Three levels on 64×64 images, at sides 32 and 16, so that no border cuts what one place reaches."""
    return build_model(
        tiny_model(
            latent_dims=(1, 1, 2),
            image_size=64,
            generator=GeneratorConfig(
                factors=(2, 4), widths=(3, 4), entries=("map", "gain"), top_hidden=(8,), base_factor=4, base_width=5
            ),
            inference=InferenceConfig(factors=(2, 4), widths=(3, 4), reads=("map", "pooled"), top_hidden=(8,)),
        )
    )


@pytest.mark.parametrize("level", [1, 2])
def test_reach_and_view_are_the_squares_that_the_layers_make(ladder, level):
    for mask, side in (
        (reach(ladder.generator, level), 5 * 2**level - 4),
        (view(ladder.inference, level), 7 * 2**level - 6),
    ):
        assert mask.shape == (64, 64)
        assert mask.sum() == side**2 and mask.any(0).sum() == mask.any(1).sum() == side


def test_reach_leaves_the_generator_as_it_was(ladder):
    z = torch.randn(2, 4)
    before = ladder.decode(z)
    reach(ladder.generator, 1)
    assert torch.equal(ladder.decode(z), before)


@pytest.mark.parametrize("measure, part", [(reach, "generator"), (view, "inference")])
@pytest.mark.parametrize("level", [0, 3])
def test_a_level_without_a_map_is_refused(ladder, measure, part, level):
    with pytest.raises(ValueError, match=rf"level {level} .* 1 … 2"):
        measure(getattr(ladder, part), level)


def test_jacobians_are_the_slopes_of_the_picture():
    model = build_model(tiny_model()).double()
    z, step = torch.randn(3, 5, dtype=torch.float64), 1e-6
    slopes = jacobians(model, z)
    assert slopes.shape == (3, 5, 1, 8, 8) and not slopes.requires_grad
    with torch.no_grad():
        moved = z.clone()
        moved[:, 3] += step
        torch.testing.assert_close(slopes[:, 3], (model.decode(moved) - model.decode(z)) / step, atol=1e-5, rtol=1e-3)


def test_roughness_of_noise_and_of_a_flat_picture():
    assert roughness(torch.randn(200, 28, 28)).mean().item() == pytest.approx(1, abs=0.02)
    assert roughness(torch.ones(2, 8, 8)).tolist() == [0, 0]
    assert roughness(torch.zeros(8, 8)).isnan()


def test_near_ink_counts_old_strokes_and_their_neighbours():
    before = torch.full((2, 1, 9, 9), -1.0)
    before[..., 4, 4] = 1
    after = before.clone()
    after[0, 0, 5, 5] = 1  # beside the dot
    after[1, 0, 5, 5] = after[1, 0, 0, 0] = 1  # one beside it, one far away
    assert near_ink(before, after).tolist() == [1.0, 0.5]


@pytest.mark.parametrize("name", ["digits", "mnist", "svhn-hs", "svhn-fid"])
def test_the_drawing_names_every_level(name):
    config = load_experiment(name).model
    labels = [text.get_text() for text in draw_ladder(config).texts]
    for i, dim in enumerate(config.latent_dims, start=1):
        assert f"$z_{i}$" in labels and any(label.startswith(f"{dim} unit") for label in labels)
    for kind in (
        *config.inference.reads,
        *[e for e, f in zip(config.generator.entries, config.generator.factors) if f],
    ):
        assert kind in labels
    assert ("vector" in labels) == (0 in config.generator.factors)


def test_a_ladder_of_one_level_can_be_drawn():
    config = tiny_model(
        latent_dims=(3,),
        generator=GeneratorConfig(factors=(), widths=(), entries=(), top_hidden=(8,), base_factor=4, base_width=6),
        inference=InferenceConfig(factors=(), widths=(), reads=(), top_hidden=(8,)),
    )
    labels = [text.get_text() for text in draw_ladder(config).texts]
    assert "$z_1$" in labels and "6 × 2²" in labels


def test_signed_pictures_have_titles_on_top_and_a_range_of_their_own():
    fig = draw_signed({"a": [torch.eye(3), 5 * torch.eye(3)], "b": [torch.zeros(3, 3), -torch.eye(3)]})
    assert [ax.get_title() for ax in fig.axes] == ["$z_1$ (bottom)", "$z_2$ (top)", "", ""]
    assert [ax.images[0].get_clim() for ax in fig.axes] == [(-1, 1), (-5, 5), (-1, 1), (-1, 1)]


def test_units_are_moved_from_where_they_are():
    model = build_model(replace(tiny_model(), latent_dims=(2, 3))).eval()
    z = torch.randn(4, 5)
    kept = z.clone()
    axes = draw_units(model, z, [(2, 1, 1.5)]).axes
    assert torch.equal(z, kept) and len(axes) == 12
    moved = kept.clone()
    moved[:, 3] += 1.5
    with torch.no_grad():
        after, before = model.decode(moved)[2, 0], model.decode(kept)[2, 0]
    shown = [torch.as_tensor(axes[row * 4 + 2].images[0].get_array()) for row in range(3)]
    for picture, expected in zip(shown, (before, after, after - before), strict=True):
        torch.testing.assert_close(picture, expected)
    assert axes[4].get_ylabel() == "$z_{2,2}$ +1.5"
