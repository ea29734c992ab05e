"""Page 17's figures: what stands in their arrays."""

import matplotlib.pyplot as plt

from hebm_lib.reproduction.figures.ablations import draw_setting, learned_models

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
