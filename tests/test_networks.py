import copy
import itertools
import typing
from dataclasses import replace

import pytest
import torch
from shared import tiny_model
from torch.distributions import Independent, Normal

from hebm_lib import LadderGenerator, LadderInference, LatentSpec, build_model, load_experiment
from hebm_lib.config import GeneratorConfig, InferenceConfig, PriorConfig
from hebm_lib.networks import EnergyMLP, Entry
from hebm_lib.sampling.cpu_speed import tuned

ENTRIES = typing.get_args(typing.get_args(typing.get_type_hints(GeneratorConfig)["entries"])[0])
READS = typing.get_args(typing.get_args(typing.get_type_hints(InferenceConfig)["reads"])[0])


def count(module) -> int:
    return sum(p.numel() for p in module.parameters())


# ---- the authors' networks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, generator, inference, prior",
    [("svhn-hs", 392_288, 752_160, 8_551), ("svhn-fid", 55_348_608, 18_999_396, 15_301)],
)
def test_the_authors_parameter_counts(name, generator, inference, prior):
    with torch.device("meta"):
        model = build_model(load_experiment(name).model)
    assert (count(model.generator), count(model.inference), count(model.prior)) == (generator, inference, prior)


def layers_of(module, kinds) -> list[tuple]:
    return [tuple(m.weight.shape) for m in module.modules() if isinstance(m, kinds)]


def test_train_hs_climbs_as_the_authors_generator_does():
    with torch.device("meta"):
        generator = build_model(load_experiment("svhn-hs").model).generator
    # (in, out, k, k) of each transposed convolution, (out, in, k, k) of each convolution, bottom rung first.
    assert layers_of(generator, torch.nn.ConvTranspose2d) == [(32, 32, 4, 4), (64, 64, 4, 4), (64, 64, 4, 4)]
    assert layers_of(generator, torch.nn.Conv2d) == [(3, 32, 3, 3), (32, 64, 3, 3), (64, 64, 3, 3)]
    assert [tuple(e.linear.weight.shape) for e in generator.modules() if isinstance(e, Entry)] == [
        (64, 2),  # z_3 as a vector
        (16 * 16 * 32, 2),  # z_1
        (8 * 8 * 64, 2),  # z_2
    ]


# ---- every shape ----------------------------------------------------------------------------------------------------

LADDERS = {
    # name: (dims, factors, widths, base factor); bottom first, the top has no entry
    "one level": ((3,), (), (), 4),
    "one level, base 2": ((3,), (), (), 2),
    "two": ((2, 3), (2,), (6,), 4),
    "two, at the base": ((2, 3), (4,), (6,), 4),
    "two, at full size": ((2, 3), (1,), (6,), 4),
    "three": ((1, 2, 3), (2, 4), (4, 6), 4),
    "three, both at one place": ((1, 2, 3), (2, 2), (4, 6), 4),
    "three, one vector": ((1, 2, 3), (2, 0), (4, 6), 4),
    "three, all vectors": ((1, 2, 3), (0, 0), (4, 6), 4),
    "four": ((1, 1, 2, 2), (1, 2, 4), (3, 4, 6), 4),
}


@pytest.mark.parametrize(
    "join, entry, size, channels", [*itertools.product(["add", "concat"], ENTRIES, [8, 12], [1, 3])]
)
@pytest.mark.parametrize("ladder", LADDERS)
def test_generator_shapes(ladder, join, entry, size, channels):
    dims, factors, widths, base = LADDERS[ladder]
    entries = tuple(entry if f else "map" for f in factors)
    config = GeneratorConfig(
        factors=factors, widths=widths, entries=entries, top_hidden=(8,), base_factor=base, base_width=5, join=join
    )
    generator = LadderGenerator(LatentSpec(dims), size, channels, config)
    x = generator(torch.randn(4, sum(dims)))
    assert x.shape == (4, channels, size, size)
    assert x.abs().max() < 1
    for unit in range(sum(dims)):  # every unit of every level reaches the image
        z = torch.zeros(1, sum(dims))
        z[0, unit] = 3.0
        assert not torch.allclose(generator(z), generator(torch.zeros(1, sum(dims)))), f"unit {unit} says nothing"


@pytest.mark.parametrize("size, base", [(12, 4), (20, 4), (28, 4), (32, 16), (64, 32)])
def test_generator_sizes(size, base):
    config = GeneratorConfig(
        factors=(2,),
        widths=(6,),
        entries=("map",),
        top_hidden=(8,),
        base_factor=base,
        base_width=8,
        join="concat",
        out_width=7,
    )
    x = LadderGenerator(LatentSpec((2, 3)), size, 3, config)(torch.randn(2, 5))
    assert x.shape == (2, 3, size, size)


@pytest.mark.parametrize("reads, size, channels", [*itertools.product(READS, [8, 12, 20, 28], [1, 3])])
@pytest.mark.parametrize("factors", [(), (1,), (2,), (4,), (2, 2), (1, 4), (1, 2, 4)])
def test_inference_shapes(reads, size, channels, factors):
    dims = (1, 2, 3, 2)[: len(factors) + 1]
    config = InferenceConfig(
        factors=factors, widths=(4,) * len(factors), reads=(reads,) * len(factors), top_hidden=(8,)
    )
    q = LadderInference(LatentSpec(dims), size, channels, config)(torch.rand(5, channels, size, size) * 2 - 1)
    assert isinstance(q, Independent) and isinstance(q.base_dist, Normal)
    assert q.batch_shape == (5,) and q.event_shape == (sum(dims),)
    assert q.rsample().shape == (5, sum(dims))
    assert (q.stddev > 0).all()
    assert q.mean.std(0).min() > 0, "a unit does not look at the image"


def test_without_hidden_layers_at_the_top():
    latents = LatentSpec((2, 3))
    generator = LadderGenerator(latents, 8, 1, GeneratorConfig(top_hidden=()))
    inference = LadderInference(latents, 8, 1, InferenceConfig(top_hidden=()))
    assert inference(generator(torch.randn(4, 5))).mean.shape == (4, 5)


# ---- what each level may say and see --------------------------------------------------------------------------------


def test_a_shift_is_the_same_at_every_place_and_a_map_is_not():
    for kind, same in (("shift", True), ("map", False)):
        out = Entry(2, 5, 4, kind)(torch.randn(3, 2)).expand(3, 5, 4, 4)
        assert (out.flatten(2).std(2) < 1e-6).all().item() == same


def test_a_gain_scales_every_place_alike_and_within_its_range():
    out = Entry(2, 5, 4, "gain", gain_range=0.25)(100 * torch.randn(50, 2))
    assert out.shape == (50, 5, 1, 1)
    assert out.min().item() == pytest.approx(0.75, abs=0.01) and out.max().item() == pytest.approx(1.25, abs=0.01)


def test_a_shift_cannot_break_the_symmetry_of_a_flat_feature():
    """Under a constant feature, a shift level changes only the image's amount, the same at every inner place."""
    config = GeneratorConfig(
        factors=(1,), widths=(6,), entries=("shift",), top_hidden=(8,), base_factor=4, base_width=6, join="add"
    )
    generator = LadderGenerator(LatentSpec((2, 3)), 8, 1, config)
    flat = generator.rungs[0](torch.zeros(1, 6, 8, 8), torch.randn(1, 2))
    inner = flat[..., 1:-1, 1:-1].flatten()
    assert inner.abs().max() > 0
    assert (inner - inner[0]).abs().max() < 1e-6


@pytest.mark.parametrize("reads", READS)
def test_only_the_level_that_reads_the_map_sees_where(reads):
    """A dot far from the border is moved by the stride: nothing but its place changes."""
    x = torch.full((1, 1, 32, 32), -1.0)
    x[..., 15:17, 15:17] = 1
    moved = torch.roll(x, shifts=(2, 2), dims=(2, 3))
    inference = LadderInference(
        LatentSpec((3, 1)), 32, 1, InferenceConfig(factors=(2,), widths=(6,), reads=(reads,), top_hidden=(8,))
    )
    change = (inference(moved).mean - inference(x).mean)[0, :3].abs().max().item()
    assert change > 1e-3 if reads == "map" else change < 1e-5


def test_each_level_is_read_by_its_own_branch_off_the_trunk_below():
    inference = LadderInference(
        LatentSpec((2, 2, 2)), 8, 1, InferenceConfig(factors=(2, 4), widths=(4, 4), reads=("map",) * 2, top_hidden=(8,))
    )
    expected = [
        {"branches.0", "heads.0"},
        {"trunk.0", "branches.1", "heads.1"},
        {"trunk.0", "trunk.1", "top.0", "heads.2"},
    ]
    x = torch.rand(3, 1, 8, 8)
    for level, parts in enumerate(expected):
        inference.zero_grad()
        inference.latents.split(inference(x).mean)[level].sum().backward()
        touched = {".".join(name.split(".")[:2]) for name in moved_parameters(inference)}
        assert touched == parts


def moved_parameters(module) -> list[str]:
    """Names of the parameters that the last backward pass reached."""
    return [name for name, p in module.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0]


# ---- gradients ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("join, entry, reads", [*itertools.product(["add", "concat"], ENTRIES, READS)])
def test_a_gradient_reaches_every_parameter(join, entry, reads):
    model = build_model(
        tiny_model(
            latent_dims=(2, 2, 3),
            generator=GeneratorConfig(
                factors=(2, 0),
                widths=(6, 6),
                entries=(entry, "map"),
                top_hidden=(16,),
                base_factor=4,
                base_width=8,
                join=join,
                out_width=5,
            ),
            inference=InferenceConfig(factors=(2, 2), widths=(6, 6), reads=(reads, "map"), top_hidden=(16,)),
        )
    )
    bound = model.elbo(torch.rand(16, 1, 8, 8) * 2 - 1)
    bound.elbo_plus_log_z.mean().backward()
    for network in (model.generator, model.inference):
        assert moved_parameters(network) == [name for name, _ in network.named_parameters()]


@pytest.mark.parametrize("spectral_norm", [True, False])
def test_a_gradient_reaches_every_parameter_of_the_energy(spectral_norm):
    energy = EnergyMLP(3, hidden=(8, 8, 8), spectral_norm=spectral_norm)
    below, last_bias = [name for name, _ in energy.named_parameters()], "layers.3.bias"
    (energy(torch.randn(50, 3) + 1).mean() - energy(torch.randn(50, 3)).mean()).backward()
    # Eq. 10 is a difference of two means of f: a constant added to f has no effect.
    assert set(below) - set(moved_parameters(energy)) <= {last_bias}
    assert energy.layers[-1].bias.grad.abs().item() < 1e-6


# ---- fast forms -----------------------------------------------------------------------------------------------------


def twins(config):
    """One model twice, with the same weights: in plain memory order, and as `Trainer` keeps it, to be run in `tuned`."""
    plain = build_model(config)
    return plain, copy.deepcopy(plain).to(memory_format=torch.channels_last)


def tuned_outputs_and_gradients(model, x, z) -> list[torch.Tensor]:
    """`outputs_and_gradients` as in a training step."""
    with tuned():
        return outputs_and_gradients(model, x, z)


def outputs_and_gradients(model, x, z) -> list[torch.Tensor]:
    """The posterior of ``x``, the image of ``z`` and the gradients of a number that depends on all of both."""
    q, image = model.inference(x), model.generator(z)
    networks = [*model.inference.parameters(), *model.generator.parameters()]
    value = q.mean.square().sum() + q.stddev.log().square().sum() + (image - 0.3).square().sum()
    return [q.mean, q.stddev, image, *torch.autograd.grad(value, [z, *networks], materialize_grads=True)]


LADDERS_OF_THE_BOOK = {
    "the authors'": {"generator": {"join": "add"}},
    "concatenation": {"generator": {"join": "concat"}},
    "replacement": {"generator": {"join": "replace"}},
    "gates": {"generator": {"join": "gate"}},
    "a gain": {"generator": {"entries": ("gain", "map")}},
    "an output convolution": {"generator": {"out_width": 5}},
    "averages": {"inference": {"reads": ("pooled", "salient")}},
    "batch norm": {"generator": {"batch_norm": True}, "inference": {"batch_norm": True}},
}


@pytest.mark.parametrize("name", LADDERS_OF_THE_BOOK)
@pytest.mark.parametrize("channels", [1, 3])
def test_fast_forms_are_the_same_functions(name, channels):
    changed = {"generator": {}, "inference": {}} | LADDERS_OF_THE_BOOK[name]
    generator = GeneratorConfig(
        factors=(2, 4), widths=(6, 6), entries=("map", "map"), top_hidden=(16,), base_factor=4, base_width=8, join="add"
    )
    inference = InferenceConfig(factors=(2, 4), widths=(6, 6), reads=("map", "map"), top_hidden=(16,))
    config = tiny_model(
        latent_dims=(2, 2, 3),
        image_channels=channels,
        generator=replace(generator, **changed["generator"]),
        inference=replace(inference, **changed["inference"]),
    )
    plain, fast = twins(config)
    x, z = torch.rand(5, channels, 8, 8) * 2 - 1, torch.randn(5, 7, requires_grad=True)
    for a, b in zip(outputs_and_gradients(plain, x, z), tuned_outputs_and_gradients(fast, x, z), strict=True):
        torch.testing.assert_close(a, b.contiguous(), rtol=1e-4, atol=1e-5 * max(1.0, a.abs().max().item()))


def test_fast_forms_of_the_authors_networks_are_used_and_agree():
    plain, fast = twins(load_experiment("svhn-hs").model)
    x, z = torch.rand(4, 3, 32, 32) * 2 - 1, torch.randn(4, 16, requires_grad=True)
    expected, found = outputs_and_gradients(plain, x, z), tuned_outputs_and_gradients(fast, x, z)
    for a, b in zip(expected, found, strict=True):
        torch.testing.assert_close(a, b.contiguous(), rtol=1e-4, atol=1e-5 * max(1.0, a.abs().max().item()))
    with tuned():
        image = fast.generator.rungs[0].climb[-1](torch.randn(2, 32, 8, 8).to(memory_format=torch.channels_last))
    assert "FourPixels" in type(image.grad_fn).__name__


def test_fast_forms_have_second_derivatives():
    """`torch.autograd.functional.jvp` differentiates the gradient."""
    plain, fast = twins(tiny_model())
    z, direction = torch.randn(2, 3, 5)
    expected = torch.autograd.functional.jvp(plain.generator, z, direction)[1]
    with tuned():
        found = torch.autograd.functional.jvp(fast.generator, z, direction)[1]
    torch.testing.assert_close(found.contiguous(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("join", ["add", "concat", "replace"])
def test_the_features_of_a_descent_stay_as_they_were_read(join):
    """A conditional prior keeps the feature; the rung that goes on from it must not overwrite it."""
    config = GeneratorConfig(
        factors=(2, 4), widths=(6, 6), entries=("map", "map"), top_hidden=(16,), base_factor=4, base_width=8, join=join
    )
    generator = LadderGenerator(LatentSpec((2, 2, 3)), 8, 1, config).to(memory_format=torch.channels_last)
    parts, kept = generator.latents.split(torch.randn(3, 7)), []

    def choose(level, feature):
        if feature is not None:
            kept.append((feature, feature.clone()))
        return parts[level - 1]

    with tuned():
        generator.descend(choose)
    assert len(kept) == 2 and all(torch.equal(now, then) for now, then in kept)


# ---- the energy -----------------------------------------------------------------------------------------------------


def test_energy_is_the_perceptron_that_it_says_it_is():
    energy = EnergyMLP(3, hidden=(4, 5), spectral_norm=False, slope=0.3)
    z = torch.randn(6, 3)
    (w1, w2, w3), (b1, b2, b3) = ([getattr(layer, k) for layer in energy.layers] for k in ("weight", "bias"))
    h = z @ w1.T + b1
    h = torch.where(h > 0, h, 0.3 * h) @ w2.T + b2
    h = torch.where(h > 0, h, 0.3 * h) @ w3.T + b3
    assert h.shape == (6, 1)
    torch.testing.assert_close(energy(z), h[:, 0])


def spread(energy, factor=4.0):
    """Weights far from norm 1, so that a norm of 1 is the parametrisation's doing."""
    for layer in energy.layers:
        layer.parametrizations.weight.original.data *= factor
    return energy


def test_spectral_norm_brings_every_singular_value_to_at_most_one():
    energy = spread(EnergyMLP(5, hidden=(20, 20)))
    for _ in range(200):  # one power iteration each
        energy(torch.randn(1, 5))
    energy.eval()
    for layer in energy.layers:
        assert torch.linalg.matrix_norm(layer.weight, 2).item() == pytest.approx(1, abs=1e-3)
    free = EnergyMLP(5, hidden=(20, 20), spectral_norm=False)
    assert all(abs(torch.linalg.matrix_norm(layer.weight, 2).item() - 1) > 1e-2 for layer in free.layers)


def test_f_is_then_one_lipschitz():
    energy = spread(EnergyMLP(5, hidden=(20, 20)))
    for _ in range(200):
        energy(torch.randn(1, 5))
    energy.eval()
    a, b = 3 * torch.randn(2000, 5), 3 * torch.randn(2000, 5)
    slopes = (energy(a) - energy(b)).abs() / (a - b).norm(dim=1)
    assert slopes.max() <= 1.001
    z = a.requires_grad_()
    (gradient,) = torch.autograd.grad(energy(z).sum(), z)
    assert gradient.norm(dim=1).max() <= 1.001
    assert gradient.norm(dim=1).max() > 0.05, "a constant would be 1-Lipschitz too"


def test_an_energy_without_hidden_layers_is_refused():
    with pytest.raises(ValueError, match="GaussianPrior"):
        EnergyMLP(3, hidden=())


# ---- numbers and bad inputs -----------------------------------------------------------------------------------------


def test_a_float64_model_stays_in_float64():
    model = build_model(tiny_model()).double()
    bound = model.elbo(torch.rand(4, 1, 8, 8, dtype=torch.float64))
    assert bound.elbo_plus_log_z.dtype == torch.float64


def test_the_posterior_is_never_coarser_than_float32():
    inference = build_model(tiny_model()).inference.to(torch.bfloat16)
    q = inference(torch.rand(4, 1, 8, 8).bfloat16())
    assert q.mean.dtype == q.stddev.dtype == torch.float32


@pytest.mark.parametrize("shape", [(4, 1, 8, 9), (4, 3, 8, 8), (1, 8, 8), (4, 1, 16, 16), (4, 64)])
def test_images_of_another_shape_are_refused(shape):
    model = build_model(tiny_model())
    with pytest.raises(ValueError, match=r"expected images of shape \(n, 1, 8, 8\), got"):
        model.encode(torch.zeros(shape))


def test_images_of_another_type_are_refused():
    model = build_model(tiny_model())
    with pytest.raises(ValueError, match="floating-point images .* got torch.uint8"):
        model.encode(torch.zeros(4, 1, 8, 8, dtype=torch.uint8))


def test_a_latent_of_another_width_is_refused():
    with pytest.raises(ValueError, match=r"\(n, 5\)"):
        build_model(tiny_model()).decode(torch.zeros(4, 6))


def test_the_energy_may_be_left_out():
    model = build_model(replace(tiny_model(), prior=PriorConfig(hidden=())))
    assert count(model.prior) == 0
    assert model.prior(torch.randn(4, 5)).eq(0).all()
