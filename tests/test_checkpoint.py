import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, safe_open, save_file
from shared import tiny_experiment, tiny_model

from hebm_lib import Trainer, build_model, load_dataset, load_experiment, load_pretrained, load_run
from hebm_lib import checkpoint as checkpoints
from hebm_lib.checkpoint import (
    CheckpointError,
    latest_checkpoint,
    load_model,
    pretrained_names,
    read_config,
    save_model,
    write_atomically,
)
from hebm_lib.checkpoint import weights as weights_room
from hebm_lib.config import PriorConfig

X = torch.linspace(-1, 1, 4 * 64).view(4, 1, 8, 8)


@pytest.fixture
def model():
    return build_model(tiny_model()).eval()


@pytest.fixture
def saved(model, tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(model, tiny_model(), path, seed=7)
    return path


def left_over(folder) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


# ---- there and back -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "prior", [PriorConfig(hidden=(12, 12)), PriorConfig(hidden=(12,), spectral_norm=False), PriorConfig(hidden=())]
)
def test_a_model_comes_back_exactly(tmp_path, prior):
    config = tiny_model(prior=prior)
    model = build_model(config).eval()
    save_model(model, config, tmp_path / "model.safetensors")
    again = load_model(tmp_path / "model.safetensors")
    assert not again.training
    assert again.config == config
    state, other = model.state_dict(), again.state_dict()
    assert state.keys() == other.keys() and all(torch.equal(state[name], other[name]) for name in state)
    assert torch.equal(again.reconstruct(X), model.reconstruct(X))
    z = model.encode(X).mean
    assert torch.equal(again.prior(z), model.prior(z))
    samples = [m.prior.sample(5, 6, 0.4, generator=torch.Generator().manual_seed(1)) for m in (model, again)]
    assert torch.equal(*samples)


def test_loading_does_not_move_the_global_random_state(saved):
    state = torch.get_rng_state()
    load_model(saved)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_file_alone_says_what_it_is(saved):
    with safe_open(saved, framework="pt") as file:
        header = file.metadata()
    assert header["format"] == "hebm-1"
    assert json.loads(header["config"])["latent_dims"] == [2, 3]
    assert load_model(saved).metadata == {"seed": 7}


def test_half_precision_halves_the_ladders_and_spares_the_energy(model, tmp_path, saved):
    path = tmp_path / "half.safetensors"
    save_model(model, tiny_model(), path, half=True)
    for name, tensor in load_file(path).items():
        assert tensor.dtype == (torch.float32 if name.startswith("prior.") else torch.float16), name
    assert path.stat().st_size < 0.75 * saved.stat().st_size
    again = load_model(path)
    assert all(p.dtype == torch.float32 for p in again.parameters())
    z = model.encode(X).mean.detach()
    assert torch.equal(again.prior(z), model.prior(z))
    assert not torch.equal(again.decode(z), model.decode(z))
    torch.testing.assert_close(again.decode(z), model.decode(z), atol=5e-3, rtol=0)


def test_half_precision_holds_for_a_prior_without_an_energy(tmp_path):
    """The heads of a conditional hierarchy are networks like any other."""
    config = load_experiment("mnist-hvae").model
    save_model(build_model(config), config, tmp_path / "half.safetensors", half=True)
    kinds = {name: tensor.dtype for name, tensor in load_file(tmp_path / "half.safetensors").items()}
    assert {kind for name, kind in kinds.items() if name.startswith("prior.")} == {torch.float16}


# ---- atomic writes --------------------------------------------------------------------------------------------------


def test_an_interrupted_save_leaves_the_old_file(model, saved, monkeypatch):
    before = saved.read_bytes()

    def interrupted(tensors, path, metadata):
        path.write_bytes(b"half a file")
        raise OSError("no space left on device")

    monkeypatch.setattr(weights_room, "save_file", interrupted)
    with pytest.raises(OSError, match="no space"):
        save_model(model, tiny_model(), saved)
    assert saved.read_bytes() == before
    assert left_over(saved.parent) == ["model.safetensors"]


def test_an_interrupted_text_leaves_the_old_text(tmp_path, monkeypatch):
    path = tmp_path / "config.json"
    write_atomically(path, "old")

    def interrupted(*args):
        raise OSError("killed")

    monkeypatch.setattr(weights_room.os, "replace", interrupted)
    with pytest.raises(OSError, match="killed"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert left_over(tmp_path) == ["config.json"]


def test_an_interrupted_checkpoint_is_not_taken_for_one(tmp_path, monkeypatch):
    config = tiny_experiment(epochs=1)
    run = tmp_path / "run"
    trainer = Trainer(build_model(config.model), config, run, progress=False).fit(load_dataset("digits", "train"))
    good = latest_checkpoint(run)
    longer = tiny_experiment(epochs=2)
    real = torch.save

    def interrupted(state, path):
        path.write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", interrupted)
    with pytest.raises(OSError, match="no space"):
        Trainer(build_model(config.model), longer, progress=False).resume(run).fit(load_dataset("digits", "train"))
    assert latest_checkpoint(run) == good
    assert all(torch.equal(a, b) for a, b in zip(load_run(run).parameters(), trainer.model.parameters()))
    monkeypatch.setattr(torch, "save", real)
    Trainer(build_model(config.model), longer, progress=False).resume(run).fit(load_dataset("digits", "train"))
    assert left_over(run / "checkpoints") == ["step-00000014", "step-00000028"], "what was left over is cleared away"


# ---- files that are no checkpoint -----------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", [0, 4, 200, 0.5, 0.999])
def test_a_truncated_file_is_named(saved, keep):
    content = saved.read_bytes()
    saved.write_bytes(content[: keep if keep >= 1 or keep == 0 else int(len(content) * keep)])
    with pytest.raises(CheckpointError, match=r"model.safetensors cannot be read as safetensors .*cut off"):
        load_model(saved)


def test_another_kind_of_file_is_named(saved):
    saved.write_text("<html>404: not found</html>")
    with pytest.raises(CheckpointError, match="another kind of file"):
        load_model(saved)


def test_foreign_safetensors_are_named(saved):
    save_file({"weight": torch.zeros(3)}, saved)
    with pytest.raises(CheckpointError, match="not a model of this library"):
        load_model(saved)


@pytest.mark.parametrize(
    "config",
    [None, "{", '{"latent_dims": [2, 3], "levels": 2}', '{"latent_dims": [2, 3], "sigma": -1}', '{"sigma": "wide"}'],
)
def test_a_header_that_describes_no_model_is_named(saved, config):
    header = {"format": "hebm-1"} | ({} if config is None else {"config": config})
    save_file(load_file(saved), saved, metadata=header)
    with pytest.raises(CheckpointError, match="model.safetensors"):
        load_model(saved)


def test_weights_that_do_not_fit_their_config_are_refused(model, tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(model, replace(tiny_model(), latent_dims=(2, 4)), path)
    with pytest.raises(CheckpointError, match="does not fit the model: .* differ"):
        load_model(path)
    save_model(model, replace(tiny_model(), prior=PriorConfig(hidden=(12,))), path)
    with pytest.raises(CheckpointError, match="does not fit the model: prior.energy"):
        load_model(path)


def test_weights_are_put_in_all_or_nothing(model, saved):
    tensors = checkpoints.read_weights(saved)
    name = list(tensors)[-1]
    changed = {key: torch.zeros_like(tensor) for key, tensor in tensors.items()} | {name: torch.zeros(99)}
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    with pytest.raises(CheckpointError):
        checkpoints.load_weights(model, changed, saved)
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())


def test_missing_files_are_named(tmp_path):
    with pytest.raises(CheckpointError, match="there is no checkpoint at .*nothing.safetensors"):
        load_model(tmp_path / "nothing.safetensors")
    with pytest.raises(CheckpointError, match="holds no checkpoint yet"):
        load_run(tmp_path)
    with pytest.raises(CheckpointError, match="is not a run: it has no config.json"):
        read_config(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match="config.json is not JSON"):
        read_config(tmp_path)


# ---- published weights ----------------------------------------------------------------------------------------------


def test_an_unknown_name_lists_what_there_is(tmp_path, monkeypatch, model):
    monkeypatch.setattr(checkpoints, "pretrained_folder", lambda: tmp_path)
    with pytest.raises(ValueError, match="no weights are published for 'mnist'; there are none"):
        load_pretrained("mnist")
    save_model(model, tiny_model(), tmp_path / "tiny.safetensors")
    assert pretrained_names() == ["tiny"]
    with pytest.raises(ValueError, match="there are tiny"):
        load_pretrained("mnist")
    assert torch.equal(load_pretrained("tiny").reconstruct(X), model.reconstruct(X))


@pytest.mark.parametrize("name", [n for n in pretrained_names() if "classifier" not in n])
def test_published_weights_load_and_fit_the_registry(name):
    from hebm_lib import load_experiment

    model, config = load_pretrained(name), load_experiment(name)
    if config.model.prior.hidden and not model.config.prior.hidden:  # with N(0, I) itself, since f stayed 0 to the end
        energy = config.training.energy
        assert energy.ladder_epochs == config.training.epochs and not (energy.fit_steps or energy.end_steps)
        config = replace(config, model=replace(config.model, prior=model.config.prior))
    assert model.config == config.model
    assert all(torch.isfinite(tensor).all() for tensor in model.state_dict().values())
    size, channels = model.config.image_size, model.config.image_channels
    assert model.sample(2, 1).shape == (2, channels, size, size)
