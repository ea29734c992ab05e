"""Page 17's figures: what stands in their arrays."""

import math

import matplotlib.pyplot as plt
import pytest

from hebm_lib.reproduction.claims import evidence, paper_tables
from hebm_lib.reproduction.figures.ablations import (
    draw_setting,
    draw_whole,
    learned_models,
    learned_photographs,
    photographs,
)
from hebm_lib.reproduction.studies import load_study
from hebm_lib.reproduction.studies.image_codes import RECIPES
from hebm_lib.reproduction.studies.natural_images import end_to_end

VALUES = {"15": (8.0, 1.0), "60": (4.0, 0.5), "300": (3.0, float("nan"))}


def test_curves_stand_at_their_settings():
    curves = {"one": VALUES, "other": {"300": (1.0, 0.0), "15": (2.0, 0.0)}}
    ax = draw_setting(curves, ax=plt.subplots()[1], colors=("blue", "red"), floors={"perfect": (1.0, "green")})
    one, other = (line for line in ax.lines if line.get_marker() == "o")
    assert list(one.get_xdata()) == [0, 1, 2] and list(one.get_ydata()) == [8, 4, 3]
    assert list(other.get_xdata()) == [2, 0] and list(other.get_ydata()) == [1, 2]
    assert [text.get_text() for text in ax.get_xticklabels()] == list(VALUES) and ax.get_ylim()[0] == 0
    assert any(line.get_label() == "perfect" and set(line.get_ydata()) == {1.0} for line in ax.lines)


def test_learned_models_stand_beside_the_same_settings_on_fixed_codes(monkeypatch):
    """Mean and deviation of the first three seeds; the distance at the run's own K and at the longest chain."""

    def seeds(name):
        k = 15 if name == "mnist-map-k15" else 150
        health = [{"gain": g, "steps": [k, 2500], "distance": [10 * g, g]} for g in (5.0, 6.0, 7.0, 100.0)]
        config = {"training": {"langevin": {"steps": k}}}
        return [{"metrics": {"health": h}, "config": config} for h in health]

    monkeypatch.setattr("hebm_lib.reproduction.figures.ablations.load_seeds", seeds)
    study = {part: {"gain": 3.0} for part in ("base", "k15", "h10", "separate", "lipschitz3", "base@2")}
    lines = learned_models(study).split("\n")
    assert len(lines) == 7 and lines[2] == "| published, K = 150 | 3 | 6.0 ± 1.0 | 3.0 ± 0.0 | 60 ± 10 | 6 ± 1 |"
    assert lines[3].startswith("| K = 15 | 3 | 6.0 ± 1.0 | 3.0 | 60 ± 10 |")


@pytest.fixture
def codes():
    """Two seeds of all settings on street numbers, of all but one on faces."""
    parts = {f"{pack}/references": {"distance": {"gaussian": 110.0}} for pack in ("svhn-11k", "celeba-64")}
    for i, setting in enumerate(RECIPES):
        for pack in ("svhn-11k", "celeba-64"):
            parts[f"{pack}/{setting}"] = {"distance": {"K": 90.0 - i, "long": 80.0 - i}}
            parts[f"{pack}/{setting}@2"] = {"distance": {"K": 92.0 - i, "long": 80.0 - i}}
    del parts["celeba-64/h20"], parts["celeba-64/h20@2"]
    parts["svhn-11k/k15@3"] = {"diverged": True}
    return parts


def test_photographs_have_a_curve_where_all_settings_are_stored(codes):
    """N(0, I) stands at a width of 0; a width of 100 is K = 60; a run that diverged has no distance."""
    curves = photographs(codes, "width")
    assert list(curves) == ["svhn-11k, K steps", "svhn-11k, 2,500 steps"]
    after = curves["svhn-11k, K steps"]
    assert list(after) == ["0", "10", "20", "50", "100"] and after["0"][0] == 110 and math.isnan(after["0"][1])
    places = {setting: i for i, setting in enumerate(RECIPES)}
    assert after["10"] == pytest.approx((91 - places["h10"], 2**0.5))
    assert after["100"][0] == 91 - places["k60"] and curves["svhn-11k, 2,500 steps"]["100"] == (80 - places["k60"], 0)
    assert set(photographs(codes, "K")) >= {"celeba-64, K steps"}


@pytest.fixture
def whole():
    """Street numbers end to end: two seeds of every K, one of every width; of faces the published settings alone."""
    distances = {"-k15": (90.0, 92.0), "-k60": (88.0, 87.0), "": (85.0, 84.0, 86.0), "-vlae": (107.0,), "-h10": (99.0,)}
    distances["-h20"] = (95.0, 94.0)
    parts = {"celeba-64": {"samples": {"frechet": 150.0}, "long": {"frechet": 120.0}}}
    for setting, values in distances.items():
        for seed, value in enumerate(values, start=1):
            name = f"svhn-11k{setting}" + (f"@{seed}" if seed > 1 else "")
            parts[name] = {"samples": {"frechet": value}} | (
                {"long": {"frechet": value - 5}} if setting != "-vlae" else {}
            )
    return parts


def test_end_to_end_takes_all_seeds_of_the_settings_that_were_trained(whole):
    """f = 0 has no chain, and stands at a width of 0 after any number of steps."""
    assert end_to_end(whole, "svhn-11k", "K") == {"15": [90, 92], "60": [88, 87], "150": [85, 84, 86]}
    assert end_to_end(whole, "svhn-11k", "width", "long") == {
        "0": [107],
        "10": [94],
        "20": [90, 89],
        "100": [80, 79, 81],
    }
    assert end_to_end(whole, "celeba-64", "K") == {}, "one column is no trend"
    del whole["svhn-11k-h20"], whole["svhn-11k-h20@2"]
    assert end_to_end(whole, "svhn-11k", "width") == {"0": [107], "10": [99], "100": [85, 84, 86]}


def test_what_all_networks_learned_stands_over_its_columns(whole):
    ax = draw_setting({"codes": {k: (1.0, 0.0) for k in ("15", "30", "60", "150", "300")}}, ax=plt.subplots()[1])
    assert draw_whole(ax, whole, "K") == 91
    (diamonds,) = (line for line in ax.lines if line.get_marker() == "D")
    assert list(diamonds.get_xdata()) == [0, 2, 3] and list(diamonds.get_ydata()) == [91, 87.5, 85]
    assert ax.get_legend_handles_labels()[1] == ["codes", "svhn-11k, all learn"]


def test_learned_photographs_have_a_line_per_setting(whole):
    lines = learned_photographs(whole).splitlines()
    assert lines[2] == "| K = 15 | 91 ± 1 | 86 ± 1 |  |  |" and "1,500 steps" in lines[0]
    assert [line.split(" | ")[0] for line in lines[5:]] == [f"| {w} hidden units per layer" for w in (0, 10, 20, 100)]
    assert lines[5].startswith("| 0 hidden units per layer | 107 | 107 |")
    assert len(learned_photographs({}).splitlines()) == 2


def test_tables_4_and_5_say_what_all_networks_learned(codes, whole, monkeypatch):
    """Empty where a column was not trained so."""
    monkeypatch.setattr(
        paper_tables,
        "load_study",
        {"image-codes": codes, "natural-images": whole, "ablations": load_study("ablations")}.get,
    )
    row = "| all networks learn, svhn-11k, FD after training's steps, seeds: {} | "
    assert row.format("2 or 3") + "91.0 ± 1.4 |  | 87.5 ± 0.7 | 85.0 ± 1.0 |  |" in paper_tables.table4()
    assert row.format("1 or 2 or 3") + "107.0 | 99.0 | 94.5 ± 0.7 |  | 85.0 ± 1.0 |" in paper_tables.table5()


def test_tables_4_and_5_have_a_row_where_all_settings_are_stored(codes, monkeypatch):
    stored = {"image-codes": codes, "natural-images": {}, "ablations": load_study("ablations")}
    monkeypatch.setattr(paper_tables, "load_study", stored.get)
    rows = paper_tables.table5().splitlines()[2:]
    assert [row.split(" | ")[0].strip("| ") for row in rows[1:3]] == [
        "f on VLAE's codes, svhn-11k, FD after training's steps, 2 seeds",
        "f on VLAE's codes, svhn-11k, FD after 2,500 steps, 2 seeds",
    ]
    assert len(rows) == 4 and "| 110.0 | " in rows[1] and rows[0].count("|") == rows[1].count("|")
    assert sum("celeba-64" in row for row in paper_tables.table4().splitlines()) == 2


def test_the_least_certain_image_set_speaks_for_tables_4_and_5(monkeypatch):
    """One with fewer than three seeds is not asked."""

    def seeds(setting, *distances):
        return {
            f"{setting}@{i}" if i > 1 else setting: {"distance": {"K": d}} for i, d in enumerate(distances, start=1)
        }

    studies = {
        "fixed-codes": seeds("k15", 80.0, 81.0, 79.0) | seeds("base", 50.0, 50.0, 50.0),
        "image-codes": seeds("svhn-11k/k15", 90.0, 92.0, 91.0) | seeds("svhn-11k/k60", 85.0, 86.0, 87.0),
    }
    monkeypatch.setattr(evidence, "stored_study", lambda name: {"parts": studies[name]})
    found = evidence.more_steps()
    assert "svhn-11k" in found.what and (found.mean, found.n) == (5.0, 3)
    del studies["image-codes"]["svhn-11k/k60@3"]
    assert "MNIST" in evidence.more_steps().what and evidence.more_steps().mean == 30
    assert evidence.wider() is None
