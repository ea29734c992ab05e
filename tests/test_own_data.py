"""Own tensors, data sets and modules: what `Trainer` takes of a stranger, what it refuses, and what the run says of them."""

import json
import re
import warnings

import pytest
import torch
from shared import ROOT, tiny_experiment, tiny_model
from torch import nn
from torch.distributions import Independent, Normal
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset, TensorDataset

import hebm_lib as hl
from hebm_lib.checkpoint import CheckpointError, latest_checkpoint, read_config, read_run
from hebm_lib.config import LangevinConfig
from hebm_lib.training.batches import as_batches

X = 2 * torch.rand(40, 1, 6, 4, generator=torch.Generator().manual_seed(0)) - 1
BRIEF = hl.TrainingConfig(epochs=1, batch_size=10, log_every=2, langevin=LangevinConfig(steps=3, step_size=0.4))


def test_the_readme_works_as_it_stands(tmp_path, monkeypatch):
    """The block of its section, run as it is, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    section = (ROOT / "README.md").read_text(encoding="utf-8").split("## Use it on your own data")[1].split("\n## ")[0]
    (block,) = re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL)
    said = {}
    exec(block.replace("epochs=50", "epochs=2"), said)
    assert said["images"].shape == (16, 1, 20, 12) and said["codes"].shape == (500, 8)
    assert said["bound"].kl.shape == (500, 2) and said["density"].shape == (500,)
    assert (tmp_path / "runs" / "mine" / "checkpoints" / "step-00000020").is_dir()
    go_on = re.search(r"`(hl\.Trainer\(.*?fit\(TensorDataset\(x\)\))`", section, flags=re.DOTALL)[1]
    exec(go_on.replace("epochs=50", "epochs=3"), said)
    assert latest_checkpoint(tmp_path / "runs" / "mine").name == "step-00000030"


# ---- a model of one's own -------------------------------------------------------------------------------------------


class Encoder(nn.Module):
    def __init__(self, units=5, shape=(1, 6, 4)):
        super().__init__()
        self.layer = nn.Linear(torch.Size(shape).numel(), 2 * units)

    def forward(self, x):
        mean, log_scale = self.layer(x.flatten(1)).chunk(2, dim=1)
        return Independent(Normal(mean, log_scale.exp()), 1)


class Decoder(nn.Module):
    def __init__(self, units=5, shape=(1, 6, 4)):
        super().__init__()
        self.layer, self.shape = nn.Linear(units, torch.Size(shape).numel()), shape

    def forward(self, z):
        return self.layer(z).tanh().unflatten(1, self.shape)


def own_model(dims=(2, 3), shape=(1, 6, 4)) -> hl.JointEBM:
    units = sum(dims)
    prior = hl.JointEBMPrior(hl.LatentSpec(dims), hidden=(8,))
    return hl.JointEBM(Decoder(units, shape), Encoder(units, shape), prior, sigma=0.3)


def fitted(data, run_dir=None, config=BRIEF, model=None) -> hl.Trainer:
    return hl.Trainer(model or own_model(), config, run_dir, progress=False).fit(data)


def weights(model) -> dict:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_a_foreign_model_is_recorded_as_one(tmp_path):
    """Nothing of the default experiment's digits; without `into` the loader says whose model it is."""
    run = tmp_path / "run"
    trained = weights(fitted(X, run).model)
    stored = json.loads((run / "config.json").read_text())
    assert stored["model"] is None and stored["data"] is None and stored["name"] == "run"
    assert stored["foreign"]["class_name"] == "JointEBM" and stored["foreign"]["latent_dims"] == [2, 3]
    assert stored["foreign"]["parts"][:2] == [f"{__name__}.Decoder", f"{__name__}.Encoder"]
    assert "digits" not in (run / "config.json").read_text()
    for load in (hl.load_run, read_config):
        with pytest.raises(CheckpointError, match=rf"{__name__}.Decoder.*levels \(2, 3\).*cannot build.*into=model"):
            load(run)
    again = hl.load_run(run, into=own_model())
    assert same(weights(again), trained) and not again.training


@pytest.mark.parametrize("config", [hl.ExperimentConfig(training=BRIEF), tiny_experiment()])
def test_an_experiment_does_not_lend_its_model_to_a_foreign_one(tmp_path, config):
    fitted(torch.cat([X] * 3), tmp_path / "run", config)
    run = read_run(tmp_path / "run")
    assert run.model is None and run.data is None and run.foreign.latent_dims == (2, 3)


def test_weights_of_another_shape_are_refused(tmp_path):
    fitted(X, tmp_path / "run")
    with pytest.raises(CheckpointError, match=r"does not fit the model: .*\(file \(.*, model \("):
        hl.load_run(tmp_path / "run", into=own_model((2, 4)))


def test_a_model_that_the_library_built_is_built_again(tmp_path):
    """Own tensors, the library's model: the run has no data set, yet its model needs no `into`."""
    model = hl.build_model(tiny_model())
    images = 2 * torch.rand(20, 1, 8, 8) - 1
    trained = fitted(images, tmp_path / "run", model=model).model
    assert same(weights(hl.load_run(tmp_path / "run")), weights(trained))
    with pytest.raises(CheckpointError, match="data that were given in code"):
        read_config(tmp_path / "run")


def test_kl_weights_count_the_levels_of_the_model_itself():
    three = hl.TrainingConfig(
        epochs=1, batch_size=10, kl_weights=(1.0, 2.0, 3.0), langevin=LangevinConfig(steps=2, step_size=0.4)
    )
    assert "kl_3" in fitted(X, config=three, model=own_model((1, 2, 2))).history[-1]
    with pytest.raises(ValueError, match=r"one value per level of the model \(2\), got 3"):
        hl.Trainer(own_model(), three, progress=False)


def test_volumes_train_too():
    """Convolutions of three dimensions have no channels-last order of images."""
    model = own_model(shape=(1, 3, 2, 4))
    model.generator.extra = nn.Conv3d(1, 1, 1)
    assert fitted(X.view(40, 1, 3, 2, 4), model=model).step == 4


def test_frozen_parts_stay_as_they_are():
    model = own_model()
    model.generator.requires_grad_(False)
    before, after = weights(model.generator), fitted(X, model=model).model
    assert same(before, weights(after.generator))
    assert not torch.equal(after.inference.layer.weight, own_model().inference.layer.weight)


def test_resuming_a_foreign_run(tmp_path):
    torch.manual_seed(1)
    whole = fitted(
        X,
        tmp_path / "whole",
        hl.TrainingConfig(epochs=2, batch_size=10, langevin=LangevinConfig(steps=3, step_size=0.4)),
    )
    torch.manual_seed(1)
    short = hl.TrainingConfig(epochs=1, batch_size=10, langevin=LangevinConfig(steps=3, step_size=0.4))
    fitted(X, tmp_path / "run", short)
    more = hl.TrainingConfig(epochs=2, batch_size=10, langevin=LangevinConfig(steps=3, step_size=0.4))
    resumed = hl.Trainer(own_model(), more, progress=False).resume(tmp_path / "run").fit(TensorDataset(X))
    assert same(weights(resumed.model), weights(whole.model))
    other = hl.Trainer(own_model(), more, progress=False).resume(tmp_path / "run")
    with pytest.raises(ValueError, match=r"data.images 40 → 30.*allow_changes=True"):
        other.fit(X[:30])


# ---- data of one's own ----------------------------------------------------------------------------------------------


class Items(Dataset):
    """A data set that gives whatever a function makes of an image and its number."""

    def __init__(self, make, n=40):
        self.make, self.n = make, n

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        return self.make(X[i], i)


class Stream(IterableDataset):
    def __iter__(self):
        return iter(X)


LABELS = torch.arange(len(X)) % 3
SAME_IMAGES = {
    "tensor": X,
    "double": X.double(),
    "tensors": TensorDataset(X),
    "tensors and labels": TensorDataset(X, LABELS),
    "items x": Items(lambda x, i: x),
    "items (x,)": Items(lambda x, i: (x,)),
    "items (x, y)": Items(lambda x, i: (x, i % 3)),
    "items [x, name]": Items(lambda x, i: [x, f"image {i}"]),
    "subset": Subset(TensorDataset(X, LABELS), range(len(X))),
    "parts": ConcatDataset([TensorDataset(X[:15]), TensorDataset(X[15:])]),
}


@pytest.mark.parametrize("data", SAME_IMAGES.values(), ids=SAME_IMAGES)
def test_the_same_images_make_the_same_model(data):
    torch.manual_seed(1)
    whole = fitted(X)
    torch.manual_seed(1)
    assert same(weights(fitted(data).model), weights(whole.model))


def test_whole_numbers_of_a_byte_are_scaled_like_the_librarys_own():
    images = torch.arange(0, 256, 16, dtype=torch.uint8).view(4, 1, 2, 2)
    own = hl.data.ImageDataset(images, torch.zeros(4, dtype=torch.int64))
    for data in (images, TensorDataset(images), Subset(TensorDataset(images), range(4))):
        assert torch.equal(as_batches(data).batch(slice(None)), own.batch(slice(None)))


def test_a_model_in_double_precision_is_given_doubles():
    model = own_model().double()
    assert fitted(X, model=model).model.generator.layer.weight.dtype == torch.float64


@pytest.mark.parametrize(
    "data, kind, message",
    [
        (X.index_put((torch.tensor(7), torch.tensor(0)), torch.tensor(float("nan"))), ValueError, "image 7 holds nan"),
        (X.index_put((torch.tensor(7), torch.tensor(0)), torch.tensor(-9.0)), ValueError, "image 7 holds 9, expected"),
        ((X + 1) * 127.5, ValueError, r"in \[-1, 1\]: divide images of 0 … 255 by 127.5"),
        ((X > 0).long(), TypeError, "expected floats .* or uint8 of 0 … 255, got torch.int64"),
        (X > 0, TypeError, "got torch.bool"),
        (X[:0], ValueError, "at least one"),
        (X.flatten(), ValueError, r"expected images \(n, …\)"),
        (X.numpy(), TypeError, "got numpy.ndarray; torch.as_tensor"),
        (list(X), TypeError, "got builtins.list"),
        (DataLoader(TensorDataset(X)), TypeError, "the loader's .dataset"),
        (Stream(), TypeError, "an IterableDataset does not have"),
        (TensorDataset(X, LABELS, LABELS), ValueError, "got 3 tensors"),
        (Items(lambda x, i: {"pixels": x}), TypeError, "item 0 is a dict"),
        (Items(lambda x, i: (x.numpy(), i)), TypeError, "item 0 is a ndarray"),
        (Items(lambda x, i: (x, i, i)), TypeError, "item 0 is a tuple"),
        (Items(lambda x, i: x.long()), TypeError, "item 0: expected floats"),
        (Items(lambda x, i: x[..., : 3 + i % 2]), ValueError, r"item 1 has shape \(1, 6, 4\), item 0 \(1, 6, 3\)"),
        (Items(lambda x, i: x * (i + 1)), ValueError, r"image \d holds .*, expected values in"),
        (Items(lambda x, i: x, n=0), ValueError, "a data set with no item"),
    ],
)
def test_what_cannot_be_fitted_is_named_before_anything_is_written(tmp_path, data, kind, message):
    with pytest.raises(kind, match=message):
        fitted(data, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_item_that_is_wrong_is_named_when_its_batch_comes(tmp_path):
    late = Items(lambda x, i: x * float("nan") if i == 33 else x)
    with pytest.raises(ValueError, match="image 33 holds nan"):
        fitted(late, tmp_path / "run")


def test_images_from_zero_to_one_are_pointed_out():
    with pytest.warns(UserWarning, match=r"those in \[0, 1\] need 2 \* x - 1"):
        as_batches(X.abs())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        as_batches(X)
