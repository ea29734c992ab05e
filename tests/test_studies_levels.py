"""The study of what orders the levels: its cells, what it measures, and the tables that are made of it."""

import json
from dataclasses import replace
from functools import partial

import pytest
import torch
from PIL import Image
from shared import tiny_experiment

from hebm_lib import LatentSpec, build_model
from hebm_lib.config import PriorConfig
from hebm_lib.data import ImageDataset
from hebm_lib.experiments import load_experiment
from hebm_lib.experiments.levels import BOTTOMS, CLOTHED, UNITS, cell_name
from hebm_lib.reproduction.claims import levels as claims
from hebm_lib.reproduction.claims.levels import (
    CALLED,
    MEASURES,
    PRINTED,
    ROWS,
    levels_in_full,
    levels_map,
    table1_units,
    what_decides,
)
from hebm_lib.reproduction.studies import STUDIES, levels


def test_eighty_parts_the_papers_units_first_and_each_cell_beside_its_control():
    parts = list(STUDIES["levels"].parts)
    assert len(parts) == 80 and all("-222-" in part for part in parts[:30])
    assert parts[:2] == ["levels-222-walls", "levels-222-walls-gaussian"] and parts[59] == "levels-2210-own-gaussian@5"
    assert all("-fashion-" in part for part in parts[60:])


CELLS = [*((units, bottom) for units in UNITS for bottom in BOTTOMS), *(("fashion", bottom) for bottom in CLOTHED)]


@pytest.mark.parametrize("units, bottom", CELLS)
def test_a_cell_and_its_control_differ_in_the_energys_phases_alone(units, bottom):
    """Same first weights, same images in the same order for as long: a pair that can be compared seed by seed."""
    ours, control = (load_experiment(cell_name(units, bottom, energy=energy)) for energy in (True, False))
    assert ours.model == control.model and ours.data == control.data
    assert ours.training.energy.fit_steps and not control.training.energy.fit_steps
    assert replace(ours.training, energy=control.training.energy) == control.training
    assert ours.training.energy.ladder_epochs * 2 == control.training.energy.ladder_epochs == ours.training.epochs
    assert ours.data.name == ("fashion-mnist" if units == "fashion" else "mnist")


def test_clothes_have_the_papers_units_and_the_same_networks_as_the_digits_of_their_cell():
    for bottom in CLOTHED:
        clothes, digits = (load_experiment(cell_name(units, bottom, energy=True)) for units in ("fashion", "222"))
        assert clothes.model == digits.model and clothes.training.epochs == digits.training.epochs


class Signs:
    """Two levels of a unit each: the image's first pixel is z_1, its second z_2."""

    latents, device = LatentSpec((1, 1)), torch.device("cpu")

    def decode(self, z):
        image = torch.zeros(len(z), 1, 2, 2)
        image[:, 0, 0, :] = z
        return image


def test_of_readable_digits_those_are_counted_that_stay_readable():
    """A reader that sees two digits, by the sign of z_2, and is sure where z_1 is above 0."""

    def reader(x):
        sure = torch.where(x[:, 0, 0, 0] > 0, 9.0, 0.0)
        digit = x[:, 0, 0, 1] > 0
        return torch.stack([torch.where(digit, 0.0, sure), torch.where(digit, sure, 0.0)], 1)

    reader.size = 2
    z = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [1.0, 1.0]])
    donors = torch.tensor([[1.0, -1.0], [1.0, -1.0], [1.0, -1.0], [-1.0, 1.0]])
    share, changes = levels.readable_change(Signs(), reader, z, donors)
    assert share == 0.75
    # Level 1 from a donor: the fourth can no longer be read, and no digit changes. Level 2: one of three readable ones.
    assert changes == [0.0, pytest.approx(1 / 3)]


def test_a_part_in_numbers_and_its_picture(digits, tmp_path, monkeypatch):
    monkeypatch.setattr(levels, "SAMPLES", 20)
    plain = tiny_experiment()
    config = replace(plain, model=replace(plain.model, prior=PriorConfig(hidden=())))
    model = build_model(config.model).eval()
    found = levels.measure_levels(model, config, digits.subset(slice(0, 200)), digits.subset(slice(200, 400)))
    assert json.loads(json.dumps(found)) == found and "health" not in found
    for key in ("latent_accuracy", "raw_accuracy", "sampled_latent_accuracy", "kl", "class_change", "stroke_width"):
        assert len(found[key]) == 2, key
    assert found["reconstruction"] - sum(found["kl"]) >= found["elbo"] - 5.0
    path = tmp_path / "pictures" / "cell.webp"
    levels.draw_cell(model, config, path)
    assert Image.open(path).width > 300


def test_garments_have_a_reader_that_is_trained_once_and_no_strokes(digits, tmp_path, monkeypatch):
    monkeypatch.setattr(levels, "ROOT", tmp_path)
    monkeypatch.setattr(levels, "SAMPLES", 20)
    monkeypatch.setattr(levels, "fit_classifier", partial(levels.fit_classifier, epochs=20))  # of few images
    train, test = digits.subset(slice(0, 1000)), digits.subset(slice(1000, 1200))
    plain = tiny_experiment()
    config = replace(
        plain,
        model=replace(plain.model, prior=PriorConfig(hidden=())),
        data=replace(plain.data, name="fashion-mnist"),
    )
    model = build_model(config.model).eval()
    found = levels.measure_levels(model, config, train, test)
    assert "stroke_width" not in found and len(found["class_change"]) == 2
    assert found["reader_accuracy"] > 0.3, "the reader learned from the training images"
    monkeypatch.setattr(levels, "fit_classifier", None)  # a second time it is read from its file
    assert levels.measure_levels(model, config, train, test) == found
    other = ImageDataset(train.images, train.labels, "other")
    with pytest.raises(TypeError):
        levels.garment_reader(other)


def part(accuracy, elbo):
    """A part with the same number for every measure that is not asked about."""
    return {key: [0.5] * 3 for key, _ in MEASURES.values()} | {"latent_accuracy": accuracy, "elbo": elbo}


def test_the_map_counts_what_rises_and_pairs_by_seed():
    parts = {}
    for seed, (ours, control) in enumerate(zip((0.7, 0.6, 0.4), (0.6, 0.6, 0.5), strict=True), start=1):
        mark = "" if seed == 1 else f"@{seed}"
        parts["levels-222-map" + mark] = part([0.3, 0.5, ours], -100.0)
        parts["levels-222-map-gaussian" + mark] = part([0.3, 0.5, control], -102.0)
    parts["levels-222-own"] = part([0.3, 0.5, 0.9], -1.0)  # without its control it is not told
    for energy in ("", "-gaussian"):  # clothes have no strokes
        parts[f"levels-fashion-own{energy}"] = part([0.2, 0.3, 0.4], -90.0)
        del parts[f"levels-fashion-own{energy}"]["stroke_width"]
    row, clothes = levels_map(parts).splitlines()[2:]
    assert row.startswith(
        f"| {ROWS['222']} | {CALLED['map']} | 2 of 3 | 3 of 3 | +0.0 [+0.0, +0.0] | +0.0 [+0.0, +0.0] | +0.0 [-24.8, +24.8]"
    )
    assert row.endswith("| +2.0 [+2.0, +2.0] |")
    assert clothes == f"| {ROWS['fashion']} | {CALLED['own']} | 1 of 1 | 1 of 1 | +0.0 | +0.0 | +0.0 | +0.0 |"
    one = {name: found for name, found in parts.items() if "@" not in name}
    assert levels_map(one).splitlines()[2].endswith("| +0.0 | +0.0 | +10.0 | +2.0 |"), "one seed has no interval"
    whole = levels_in_full(parts).splitlines()
    assert f"| {ROWS['222']} | no walls, energy | accuracy of means, % | 30 ± 0 | 50 ± 0 | 57 ± 15 |" in whole
    told = [line for line in whole if "spread of stroke width" in line]
    assert len(told) == 2 and all(ROWS["222"] in line for line in told)


def test_table_1_has_the_papers_rows_where_the_paper_has_these_images_and_units(monkeypatch):
    parts = {}
    for units in ROWS:
        for energy in ("", "-gaussian"):
            for seed in ("", "@2"):
                top = 0.9 if seed else 0.7
                parts[f"levels-{units}-own{energy}{seed}"] = part([0.3, 0.5, top], -100.0)
    monkeypatch.setattr(claims, "load_study", lambda name: {"levels": parts}[name])
    assert set(PRINTED) < set(ROWS)
    for units, rows in {"222": ("32.60", "52.08"), "fashion": ("39.27", "83.24"), "2210": ()}.items():
        head, _, *lines = table1_units(units).splitlines()
        assert head.startswith(f"| {ROWS[units]} units, accuracy in % | z_1 |")
        assert [line.startswith("| paper") for line in lines] == [True] * len(rows) + [False] * 2
        assert all(number in "".join(lines[:2]) for number in rows)
        ours = f"| this book, joint EBM, {CALLED['own']} | 30.0 ± 0.0 | 50.0 ± 0.0 | 80.0 ± 14.1 | 2 |"
        assert lines[-2] == ours


def test_what_decides_changes_one_thing_at_a_time():
    """Tops that lead by 40 points, 10 more with ten units, 20 fewer without walls, 1 more with the energy, in each seed."""
    parts = {}
    for units, bottom in (*((u, b) for u in UNITS for b in BOTTOMS), ("fashion", "own")):
        for energy in (True, False):
            for seed, noise in (("", -0.02), ("@2", 0.02)):
                top = 0.6 + 0.1 * (units == "2210") - 0.2 * (bottom != "walls") + 0.01 * energy + noise
                parts[cell_name(units, bottom, energy=energy) + seed] = part([0.2, 0.3, top], -100.0)
    head, _, *rows = what_decides(parts).splitlines()
    assert [name.strip() for name in head.split("|")[2:-1]] == list(CALLED.values())
    told = {cells[0]: cells[1:] for cells in ([cell.strip() for cell in row.split("|")[1:-1]] for row in rows)}
    assert len(told) == 3 + 1 + 2
    for units in UNITS:
        assert told[f"the energy; {ROWS[units]}"] == ["+1.0 [+1.0, +1.0]"] * 3
        assert told[f"this path instead of walls; {ROWS[units]}"] == ["", *["-20.0 [-20.0, -20.0]"] * 2]
    assert told[f"the energy; {ROWS['fashion']}"] == ["", "", "+1.0 [+1.0, +1.0]"]
    assert told["10 units at the top for 2; MNIST"] == ["+10.0 [+10.0, +10.0]"] * 3
    few = {name: found for name, found in parts.items() if "-2210-" not in name and "-walls" not in name}
    assert "| 10 units at the top for 2; MNIST |  |  |  |" in what_decides(few), "what is not trained is left blank"
