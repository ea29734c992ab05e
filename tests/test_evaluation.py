"""`evaluate` on data sets with holes: no labels, one class, gaps, few or no test images. It says what it leaves out."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from shared import tiny_experiment

from hebm_lib import Trainer, build_model, load_dataset
from hebm_lib.__main__ import main
from hebm_lib.config import DataConfig


def write_pack(root, name: str, train: int, test: int | None, label) -> None:
    """Digits as a pack, with labels made by ``label(labels)``."""
    (root / name).mkdir()
    for split, n in (("train", train), ("test", test)):
        if n is None:
            continue
        data = load_dataset("digits", split)
        images = data.images[:n, 0].numpy()
        np.savez(root / name / f"{split}.npz", images=images, labels=label(data.labels[:n]).numpy().astype(np.int64))


def no_label(labels):
    return torch.full_like(labels, -1)


def one_class(labels):
    return torch.full_like(labels, 4)


def gaps(labels):
    return 10 * labels + 3


def half(labels):
    return torch.where(torch.arange(len(labels)) % 2 == 0, labels, -1)


CASES = {
    "no labels": (120, 60, no_label, {"class measures": "no training image has a label"}),
    "one class": (120, 60, one_class, {"class measures": "one class, 4"}),
    "gaps": (200, 80, gaps, {}),
    "some labels": (200, 80, half, {}),
    "ten test images": (120, 10, lambda x: x, {"health": "10 test images", "class measures": "10 test images"}),
    "one test image": (120, 1, lambda x: x, {"health": "1 test images", "class measures": "1 test images"}),
    "no test images": (120, 0, lambda x: x, {"bound": "no test images"}),
    "train only": (120, None, lambda x: x, {"bound": "no test images", "health": "0 test images"}),
    "thirty of each": (30, 30, lambda x: x, {}),
}


@pytest.mark.parametrize("case", CASES)
def test_odd_data_sets_are_evaluated(case, tmp_path, monkeypatch, capsys):
    train, test, label, expected = CASES[case]
    monkeypatch.setenv("HEBM_DATA", str(tmp_path))
    write_pack(tmp_path, "mine", train, test, label)
    config = replace(tiny_experiment(epochs=1, batch_size=20), data=DataConfig(name="mine", size=8))
    run = tmp_path / "run"
    torch.manual_seed(1)
    Trainer(build_model(config.model), config, run, progress=False).fit(load_dataset("mine", "train"))
    assert main(["evaluate", str(run)]) == 0
    said, metrics = capsys.readouterr().out, json.loads((run / "evaluation.json").read_text())
    for name, why in expected.items():
        assert why in metrics["left_out"][name] and f"Not measured: {name}, for" in said
    assert ("left_out" in metrics) == bool(expected)
    assert ("kl" in metrics) == ("bound" not in expected) and ("latent_accuracy" in metrics) == (
        "class measures" not in metrics.get("left_out", {})
    )
    assert "NaN" not in (run / "evaluation.json").read_text()
    assert (run / "samples.png").is_file() and (run / "reconstructions.png").is_file() == ("bound" not in expected)


def test_a_class_that_no_test_image_has_is_no_fault(tmp_path, monkeypatch):
    monkeypatch.setenv("HEBM_DATA", str(tmp_path))
    write_pack(tmp_path, "mine", 300, 80, lambda labels: labels.clamp(max=2))
    path = tmp_path / "mine" / "test.npz"
    held = np.load(path)
    kept = held["labels"] != 1
    np.savez(path, images=held["images"][kept], labels=held["labels"][kept])
    data = DataConfig(name="mine", size=8, classes=(0, 1, 2))
    config = replace(tiny_experiment(epochs=1, batch_size=20), data=data)
    run = tmp_path / "run"
    torch.manual_seed(1)
    Trainer(build_model(config.model), config, run, progress=False).fit(load_dataset("mine", "train", (0, 1, 2)))
    assert main(["evaluate", str(run)]) == 0
    assert "latent_accuracy" in json.loads((run / "evaluation.json").read_text())
