import dataclasses
import json

import pytest
from shared import tiny_experiment, tiny_model

from hebm_lib.config import (
    DataConfig,
    ExperimentConfig,
    GeneratorConfig,
    InferenceConfig,
    LangevinConfig,
    ModelConfig,
    OptimiserConfig,
    PriorConfig,
    TrainingConfig,
    from_dict,
    to_dict,
)
from hebm_lib.experiments import EXPERIMENTS


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_registered_experiment_survives_json(name):
    config = EXPERIMENTS[name]
    assert from_dict(ExperimentConfig, json.loads(json.dumps(to_dict(config)))) == config


def test_settings_other_than_the_defaults_survive_json():
    config = dataclasses.replace(
        tiny_experiment(kl_weights=(0.5, 2.0), order="alpha-last", optimiser=OptimiserConfig(betas=(0.0, 0.99))),
        data=DataConfig(name="digits", classes=(0, 2), size=8),
    )
    again = from_dict(ExperimentConfig, json.loads(json.dumps(to_dict(config))))
    assert again == config
    assert again.data.classes == (0, 2) and isinstance(again.model.latent_dims, tuple)


def test_a_config_cannot_be_changed_after_it_was_checked():
    with pytest.raises(dataclasses.FrozenInstanceError):
        tiny_model().sigma = -1


def test_an_unknown_setting_is_named_with_the_known_ones():
    values = to_dict(tiny_experiment())
    values["training"]["optimizer"] = 1
    with pytest.raises(ValueError, match=r"TrainingConfig has no setting optimizer; it has .*optimiser"):
        from_dict(ExperimentConfig, values)


WRONG = [
    (lambda: DataConfig(size=30), "multiple of 4"),
    (lambda: DataConfig(size=0), "multiple of 4"),
    (lambda: DataConfig(fit="stretch"), "DataConfig.fit.*'pad', 'resize'"),
    (lambda: DataConfig(channels=2), "DataConfig.channels"),
    (lambda: GeneratorConfig(factors=(2, 4)), "one value per level"),
    (lambda: GeneratorConfig(widths=(0,)), "positive"),
    (lambda: GeneratorConfig(factors=(3,)), "powers of two"),
    (lambda: GeneratorConfig(factors=(4, 2), widths=(8, 8), entries=("map", "map")), "must not fall"),
    (lambda: GeneratorConfig(factors=(0, 2), widths=(8, 8), entries=("map", "map")), "must not fall"),
    (lambda: GeneratorConfig(factors=(8,), base_factor=4), "at least the largest"),
    (lambda: GeneratorConfig(factors=(0,), base_factor=0), "at least the largest"),
    (lambda: GeneratorConfig(join="sum"), "GeneratorConfig.join.*'add', 'concat'"),
    (lambda: GeneratorConfig(entries=("place",)), "GeneratorConfig.entries"),
    (lambda: InferenceConfig(reads=("all",)), "InferenceConfig.reads"),
    (lambda: InferenceConfig(factors=(4, 2), widths=(8, 8), reads=("map", "map")), "do not fall"),
    (lambda: InferenceConfig(factors=(0,)), "powers of two"),
    (lambda: InferenceConfig(factors=()), "one value per level"),
    (lambda: PriorConfig(hidden=(10, 0)), "widths must be positive"),
    (lambda: tiny_model(latent_dims=()), "at least one level"),
    (lambda: tiny_model(latent_dims=(2, 0)), "at least one unit"),
    (lambda: tiny_model(latent_dims=(2, 2, 2)), "3 levels need 2 entries"),
    (lambda: tiny_model(image_size=10), "divided by 4"),
    (lambda: tiny_model(sigma=0.0), "sigma must be positive"),
    (lambda: tiny_model(image_channels=4), "ModelConfig.image_channels"),
    (lambda: ModelConfig(image_size=12, generator=GeneratorConfig(base_factor=8)), "cannot be divided by 8"),
    (lambda: LangevinConfig(steps=-1), "must not be negative"),
    (lambda: LangevinConfig(step_size=0.0), "must be positive"),
    (lambda: OptimiserConfig(lr_alpha=-1e-3), "must not be negative"),
    (lambda: TrainingConfig(epochs=-1), "epochs"),
    (lambda: TrainingConfig(batch_size=0), "batch_size"),
    (lambda: TrainingConfig(log_every=0), "log_every"),
    (lambda: TrainingConfig(keep_checkpoints=0), "keep_checkpoints"),
    (lambda: TrainingConfig(checkpoint_every=-1), "checkpoint_every"),
    (lambda: TrainingConfig(kl_warmup_epochs=-1.0), "kl_warmup_epochs"),
    (lambda: TrainingConfig(order="both"), "TrainingConfig.order.*'alpha-first', 'alpha-last'"),
    (lambda: TrainingConfig(precision="16"), "TrainingConfig.precision"),
    (lambda: ExperimentConfig(data=DataConfig(size=16)), "set data.size and model.image_size"),
    (lambda: ExperimentConfig(data=DataConfig(size=8, channels=3)), "set data.size and model.image_size"),
    (lambda: tiny_experiment(kl_weights=(1.0,)), "one value per level"),
    (lambda: OptimiserConfig(betas=(0.5, 1.0)), "below 1, as in"),
    (lambda: OptimiserConfig(betas=(0.5,)), "Adam's two decay rates"),
    (lambda: OptimiserConfig(weight_decay=-0.1), "weight_decay must not be negative"),
    (lambda: OptimiserConfig(lr_decay=0.0), "lr_decay must be positive"),
    (lambda: TrainingConfig(energy_bound=0.0), "energy_bound must be positive"),
    (lambda: DataConfig(classes=(3, 3)), "name each label once.*got .3, 3."),
    (lambda: DataConfig(classes=()), "or give None for all"),
    (lambda: DataConfig(crop=-1), "crop must not be negative"),
    (lambda: DataConfig(name="../up"), "data.name becomes a folder's name"),
    (lambda: ExperimentConfig(name="../up"), "^name becomes a folder's name.*got '../up'"),
    (lambda: ExperimentConfig(name=""), "^name becomes a folder's name.*got ''"),
    (lambda: ExperimentConfig(name=".."), "^name becomes a folder's name.*got '..'"),
    (lambda: ExperimentConfig(name="a\\b"), "^name becomes a folder's name.*b'"),
]


@pytest.mark.parametrize("make, message", WRONG, ids=[message for _, message in WRONG])
def test_a_wrong_value_is_an_error_when_the_config_is_made(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_wrong_value_is_also_caught_when_read_from_json():
    values = to_dict(tiny_experiment())
    values["training"]["order"] = "alpha_first"
    with pytest.raises(ValueError, match="TrainingConfig.order"):
        from_dict(ExperimentConfig, values)


@pytest.mark.parametrize(
    "where, value, message",
    [
        (("training", "epochs"), "ten", "TrainingConfig.epochs: expected a whole number, got 'ten'"),
        (("training", "epochs"), 2.5, "TrainingConfig.epochs: expected a whole number, got 2.5"),
        (("training", "epochs"), None, "TrainingConfig.epochs: expected a whole number, got None"),
        (("training", "epochs"), True, "TrainingConfig.epochs: expected a whole number, got True"),
        (("training", "kl_weights"), 1, "TrainingConfig.kl_weights: expected a list, got 1"),
        (("training", "optimiser", "betas"), [0.5, "0.9"], "OptimiserConfig.betas: expected a number, got '0.9'"),
        (("training", "order"), [], "TrainingConfig.order: expected a text"),
        (("training", "optimiser"), 3, "OptimiserConfig: expected an object with settings, got 3"),
        (("model", "sigma"), "wide", "ModelConfig.sigma: expected a number, got 'wide'"),
        (("model", "prior", "spectral_norm"), 1, "PriorConfig.spectral_norm: expected true or false, got 1"),
        (("data", "classes"), "all", "DataConfig.classes: expected a list, got 'all'"),
        (("name",), 7, "ExperimentConfig.name: expected a text, got 7"),
    ],
)
def test_a_value_of_another_type_is_named(where, value, message):
    values = to_dict(tiny_experiment())
    part = values
    for name in where[:-1]:
        part = part[name]
    part[where[-1]] = value
    with pytest.raises(ValueError, match=message):
        from_dict(ExperimentConfig, values)


@pytest.mark.parametrize("values", [[], 3, None, "text"])
def test_what_is_no_object_is_no_config(values):
    with pytest.raises(ValueError, match="ExperimentConfig: expected an object"):
        from_dict(ExperimentConfig, values)


@pytest.mark.parametrize("name", ["digits", "mnist", "mnist-012-2d", "shapes3d-progressive", "svhn", "celeba-64"])
@pytest.mark.parametrize("epochs", [0, 1, 2, 7, 400])
def test_every_run_in_phases_can_be_tried_in_fewer_or_more_epochs(name, epochs):
    config = EXPERIMENTS[name]
    training = config.training.in_epochs(epochs)
    energy, whole = training.energy, config.training.energy
    assert training.epochs == epochs and 0 <= energy.ladder_epochs <= epochs
    assert energy.fit_steps <= whole.fit_steps and energy.end_steps <= whole.end_steps
    dataclasses.replace(config, training=training)  # as a whole it is a legal config
    assert config.training.in_epochs(config.training.epochs) == config.training
