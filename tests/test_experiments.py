from dataclasses import replace

import pytest
import torch

from hebm_lib import build_model, load_experiment
from hebm_lib.experiments import EXPERIMENTS, experiment_of
from hebm_lib.experiments.recipe import gentle
from hebm_lib.experiments.shapes import SHAPES_RUNS


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_run_is_called_by_its_key_and_says_what_it_is(name):
    assert EXPERIMENTS[name].name == name
    assert EXPERIMENTS[name].description
    assert load_experiment(name) is EXPERIMENTS[name]


@pytest.mark.parametrize("name", {config.model: name for name, config in EXPERIMENTS.items()}.values())
def test_every_model_can_be_built_and_maps_latents_to_images(name):
    config = EXPERIMENTS[name].model
    with torch.device("meta"):
        model = build_model(config)
        images = model.decode(torch.empty(2, sum(config.latent_dims)))
        codes = model.encode(images).mean
    assert images.shape == (2, config.image_channels, config.image_size, config.image_size)
    assert codes.shape == (2, sum(config.latent_dims))


def test_the_main_job_needs_no_download():
    assert EXPERIMENTS["digits"].data.name == "digits"


def test_a_seed_after_the_at_sign_changes_the_seed_and_nothing_else():
    base, other = load_experiment("digits"), load_experiment("digits@7")
    assert other.training.seed == 7 != base.training.seed
    assert other.name == "digits@7"
    assert other.model == base.model and other.data == base.data


@pytest.mark.parametrize("name", ["digits@x", "digits@-1", "digits@1.5"])
def test_a_seed_is_a_whole_number(name):
    with pytest.raises(ValueError, match="whole number"):
        load_experiment(name)


def test_a_wrong_name_suggests_near_ones():
    with pytest.raises(ValueError, match="did you mean .*digits"):
        load_experiment("digit")
    with pytest.raises(ValueError, match="there are .*digits.*svhn-hs"):
        load_experiment("zzzz")


@pytest.mark.parametrize(
    ("data", "model", "name"),
    [("mnist", "joint-ebm", "mnist"), ("mnist", "biva", "mnist-biva"), ("mnist-012", "lebm", "mnist-012-lebm")],
)
def test_experiment_of_names_the_run_of_a_model_on_the_same_data(data, model, name):
    assert experiment_of(data, model) == name
    assert load_experiment(name).data == load_experiment(data).data


def test_experiment_of_says_which_models_there_are():
    with pytest.raises(ValueError, match="MODEL can be joint-ebm, .*vlae"):
        experiment_of("mnist", "steep")
    with pytest.raises(ValueError, match="nothing there"):
        experiment_of("mnits")


def test_runs_of_shapes_differ_in_what_they_are_named_for():
    """Same images, ladders, σ, length and order of images; the weights of pro-VLAE's three entries are the same, too."""
    ours, runs = load_experiment("shapes3d"), [load_experiment(name) for name in SHAPES_RUNS]
    for run in runs:
        assert run.data == ours.data and run.training.epochs == ours.training.epochs
        assert (run.model.generator, run.model.inference, run.model.sigma) == (
            ours.model.generator,
            ours.model.inference,
            ours.model.sigma,
        )
        assert replace(run.training.optimiser, lr_alpha=5e-5) == ours.training.optimiser
        assert run.training.batch_size == ours.training.batch_size
    weighed = gentle(load_experiment("shapes3d-beta8"), step_size=0.05).training
    assert replace(weighed, kl_weights=()) == ours.training and weighed.kl_weights == (8.0,) * 3
    stepped = load_experiment("shapes3d-progressive").training
    assert replace(stepped, energy=replace(stepped.energy, level_epochs=0.0)) == ours.training
    for s in (1, 2, 3):
        model = build_model(load_experiment(f"shapes3d-provlae-s{s}").model)
        last = ours.training.epochs - 0.01
        assert sum(model.progress(last)) == s == 3 - sum(model.waiting(last)), "after s steps s levels take part"


@pytest.mark.parametrize("name", ["svhn-hs", "svhn-fid"])
def test_the_authors_adam(name):
    """train_hs.py and train_fid.py give Adam betas=(0, 0.9), for f as for the ladders."""
    optimiser = load_experiment(name).training.optimiser
    assert (optimiser.betas, optimiser.lr_alpha, optimiser.lr_beta_phi) == ((0.0, 0.9), 2e-6, 3e-4)


def test_svhn_and_its_control_differ_in_the_phases_of_the_energy_alone():
    """So they share first weights, order of images and noise: a pair that can be compared seed by seed."""
    ours, control, authors = (load_experiment(name) for name in ("svhn", "svhn-gaussian", "svhn-hs"))
    assert ours.model == control.model and ours.data == control.data
    assert ours.model.generator == authors.model.generator and ours.model.inference == authors.model.inference
    assert replace(ours.training, energy=control.training.energy) == control.training
    assert control.training.energy.ladder_epochs == control.training.epochs == 100


def test_vlae_of_street_numbers_is_the_joint_ebm_s_twin():
    """Table 2's pair: one model, one order of images, f = 0 to the end in one of them, and no chain then."""
    ours, vlae = load_experiment("svhn-11k"), load_experiment("svhn-11k-vlae")
    assert ours.model == vlae.model and ours.data == vlae.data
    same = replace(ours.training, energy=vlae.training.energy, langevin=vlae.training.langevin)
    assert same == vlae.training
    assert vlae.training.energy.ladder_epochs == vlae.training.epochs == 60 and vlae.training.langevin.steps == 0
    assert vlae.model.prior.start == "zero", "its samples are those of N(0, I)"
