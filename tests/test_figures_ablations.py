"""Page 17's figures: what stands in their arrays."""

import math

import matplotlib.pyplot as plt
import pytest

from hebm_lib.reproduction.claims import evidence, paper_tables
from hebm_lib.reproduction.figures.ablations import draw_setting, learned_models, photographs
from hebm_lib.reproduction.studies.image_codes import RECIPES

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


def test_tables_4_and_5_have_a_row_where_all_settings_are_stored(codes, monkeypatch):
    load = paper_tables.load_study
    monkeypatch.setattr(paper_tables, "load_study", lambda name: codes if name == "image-codes" else load(name))
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
