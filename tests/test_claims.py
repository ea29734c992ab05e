"""The scoreboard's tables, and what its text says of them."""

import math
import statistics

import numpy as np
import pytest
from shared import ROOT

from hebm_lib.experiments import EXPERIMENTS, experiment_of, load_experiment
from hebm_lib.model import BUILDERS
from hebm_lib.reproduction import results
from hebm_lib.reproduction.claims import evidence, left_out, levels, worth
from hebm_lib.reproduction.claims.family import FAMILY, family
from hebm_lib.reproduction.claims.left_out import SPLITS, left_out_all_digits, left_out_digit, left_out_settings
from hebm_lib.reproduction.claims.paper_tables import table4, table5
from hebm_lib.reproduction.claims.robustness import (
    drifts,
    faces_run,
    latent_attack,
    long_run,
    seeds_under_attack,
)
from hebm_lib.reproduction.claims.unfamiliar import OURS, of_seeds, out_of_distribution
from hebm_lib.reproduction.results import load_paper, mean_and_sd, paired
from hebm_lib.reproduction.studies import anomaly_systems
from hebm_lib.reproduction.studies.anomaly import KINDS, PAPER_LABELS
from hebm_lib.reproduction.studies.anomaly_settings import DIMS, SIGMAS, setting_name
from hebm_lib.reproduction.studies.study import load_study
from hebm_lib.reproduction.tables import number, percent, table


def test_the_papers_numbers_are_the_papers():
    """Table 1 of the paper, typed in once more from the text."""
    rows = load_paper()["table1_latent_classifier_accuracy_percent"]["mnist"]
    assert sorted(rows.values()) == [[32.60, 58.32, 67.64], [35.69, 57.86, 52.08]]


def test_our_row_is_made_from_the_stored_runs(monkeypatch):
    def run(accuracies):
        return {
            "metrics": {"latent_accuracy": accuracies},
            "provenance": {"seconds": 600, "device": "a pocket calculator"},
            "config": {"training": {"epochs": 3}},
        }

    stored = {"mnist": [run([0.2, 0.4, 0.6]), run([0.3, 0.4, 0.8])]}
    monkeypatch.setattr(levels, "load_seeds", lambda name: stored.get(name, []))
    ours = levels.table1().splitlines()[-1]
    assert ours.startswith("| this book, joint EBM | 25.0 ± 7.1 | 40.0 ± 0.0 | 70.0 ± 14.1 |")
    assert "2 seeds, 3 epochs, 10 min each, a pocket calculator" in ours


def test_the_finding_and_the_table_behind_it_are_means_over_the_same_seeds(monkeypatch):
    def run(shift):
        ends = {"gaussian": 300.0 + shift, "shuffled": 70.0 + shift, "codes": 10.0 + shift}
        health = {"steps": [75, 150, 2500], "distance": [50.0, 30.0 + shift, 20.0 + shift], "references": ends}
        return {"metrics": {"health": health | {"gain": 5.0 + shift, "acceptance": 0.7}}}

    monkeypatch.setattr(worth, "load_seeds", lambda name: [run(0.0), run(2.0)])
    row = next(line for line in worth.worth_of_energies().splitlines() if "(`mnist`)" in line)
    assert "| 6.0 ± 1.4 | 301 → 31 → 21 (codes 11) | 0.70 |" in row
    found = worth.finding()
    assert "**301 → 31**" in found and "**31 → 21**" in found and "together: 71; real codes: 11" in found


def test_mean_and_deviation():
    runs = [{"metrics": {"mse": v, "kl": [v, 2 * v]}} for v in (1.0, 2.0, 3.0)]
    assert mean_and_sd(runs, "mse") == (2, 1)
    assert mean_and_sd(runs, "kl") == [(2, 1), (4, 2)]
    assert math.isnan(mean_and_sd(runs[:1], "mse")[1])
    assert (percent((0.676, 0.004)), percent((0.676, math.nan))) == ("67.6 ± 0.4", "67.6")


def test_seeds_of_an_experiment_are_found_by_name(monkeypatch):
    monkeypatch.setattr(results, "result_names", lambda: ["mnist", "mnist-012", "mnist@2", "mnist@3"])
    monkeypatch.setattr(results, "load_result", lambda name: {"name": name})
    assert [r["name"] for r in results.load_seeds("mnist")] == ["mnist", "mnist@2", "mnist@3"]


@pytest.mark.parametrize("rows", [[], [["1", "2"]]])
def test_markdown_table(rows):
    assert table(["a", "b"], rows).splitlines() == ["| a | b |", "| --- | --- |", *["| 1 | 2 |" for _ in rows]]


def test_what_the_scoreboard_says_of_figure_6_is_so():
    """The text above the table: the goal is met, a rich bottom takes the class, and the energy is not what sorts the levels."""
    stay, visit = (
        {
            name: mean_and_sd(results.load_seeds(f"mnist-012{name}"), f"traversal_{kind}")
            for name in ("", "-gaussian", "-rich")
        }
        for kind in ("stay", "visit")
    )
    for name in ("", "-gaussian"):
        assert stay[name][0][0] > 0.85 and visit[name][1][0] > 0.85
    assert stay["-rich"][0][0] < 0.1 and visit["-rich"][0][0] > 0.85
    energy, gaussian = (results.load_result(f"mnist-012{name}")["metrics"]["elbo"] for name in ("", "-gaussian"))
    assert 1 < energy - gaussian < 5, "worth nats, as it has to be, and yet the levels sort without it"


def test_both_readers_are_in_the_table():
    rows = levels.figure6().splitlines()
    assert sum(levels.SECOND in row for row in rows) == 5 and len(rows) == 13


def test_what_the_scoreboard_says_of_vlae_is_so():
    """The text below Table 1: without the energy the accuracy rises with the level as well; everything else is equal."""
    seeds = results.load_seeds("mnist-vlae")
    accuracies = [seed["metrics"]["latent_accuracy"] for seed in seeds]
    assert len(seeds) == 3 and all(accuracy == sorted(accuracy) for accuracy in accuracies)
    vlae, joint = seeds[0], results.load_result("mnist-capped")
    ours, theirs = joint["config"]["model"], vlae["config"]["model"]
    for part in ("generator", "inference"):
        assert ours[part].items() <= theirs[part].items(), "an older config lacks settings that came later"
    assert (ours["latent_dims"], ours["sigma"]) == (theirs["latent_dims"], theirs["sigma"])
    plain, chained = vlae["config"]["training"], joint["config"]["training"]
    assert plain == {**chained, "langevin": plain["langevin"]}, "without an energy there is no chain to run"
    assert vlae["provenance"]["data"] == joint["provenance"]["data"]


def test_every_kind_of_model_has_its_row():
    """A row per model that is published, in the family's order; what is no kind of model has none."""
    kinds = {name: results.load_result(name)["config"]["model"] for name in results.result_names()}
    for data in ("mnist", "fashion"):
        published = [kind for kind in FAMILY if (data if kind == "joint-ebm" else f"{data}-{kind}") in kinds]
        rows = family(data).splitlines()[2:]
        assert [row.split(" | ")[0].removeprefix("| ") for row in rows] == [FAMILY[kind] for kind in published]
    assert set(BUILDERS) == FAMILY.keys(), "a kind of model without a row"


def test_a_bound_is_a_bound():
    """log Z is off wherever a number stands; of seeds without weights it is not known, and the row says how many are left."""
    rows = {row.split(" | ")[0]: row.split(" | ") for row in family("mnist").splitlines()}
    metrics = results.load_result("mnist")["metrics"]
    assert metrics["elbo"] == pytest.approx(metrics["elbo_plus_log_z"] - metrics["log_z"]["estimate"])
    assert rows["| joint EBM (ours)"][2] == number(mean_and_sd(results.load_seeds("mnist"), "elbo"), 1)
    assert "±" in rows["| joint EBM (ours)"][2] and "±" in rows["| VLAE"][2] and "seeds" not in rows["| VLAE"][2]
    assert number((0.5, math.nan), 2) == "0.50"


def test_what_the_scoreboard_says_of_unfamiliar_images_is_so():
    """Gaussian pixels tell clothes from digits, with an energy or without; with Bernoulli pixels digits look familiar."""
    for run in ("fashion", "fashion-gaussian"):
        assert len(of_seeds(run, "-log p(x, z)", "auroc")) == len(of_seeds(f"{run}", "SSE", "auroc")) == 3
        assert min(of_seeds(run, "-log p(x, z)", "auroc") + of_seeds(run, "SSE", "auroc")) > 0.95
    for run in ("fashion-bernoulli", "fashion-bernoulli-gaussian"):
        assert len(of_seeds(run, "-log p(x, z)", "auroc")) == 3 and max(of_seeds(run, "-log p(x, z)", "auroc")) < 0.5
    alone = {run: of_seeds(run, "-f(z)", "auroc") for run in ("fashion", "fashion-map", "mnist", "fashion-capped")}
    assert max(alone.pop("fashion-capped")) < 0.85 < 0.9 < min(map(min, alone.values()))
    assert not of_seeds("fashion-gaussian", "-f(z)", "auroc"), "f = 0 is no score"
    bare = [of_seeds("mnist, no model", score, "auroc") for score in ("bright", "grey entropy")]
    assert [f"{area:.3f}" for (area,) in bare] == ["0.877", "0.998"], "without a model, digits in and clothes out"
    for direction, rows in OURS.items():
        asked = [(run, score) for run, _, score in rows if of_seeds(run, score, "auroc")]
        assert out_of_distribution(direction).count("this book") == len(asked)
        never = {(run, score) for run, _, score in rows} - set(asked)
        assert all("hvae" in run and score.endswith(" draws") for run, score in never), (
            "HVAE's many draws alone may be missing"
        )
    one, many = (of_seeds("fashion-hvae-binary", score, "auroc")[0] for score in ("LLR>2", "LLR>2, 40 draws"))
    assert many > one + 0.03
    paper = load_paper()["supplement_table1_ood_fashion_in_mnist_out"]
    for score, row in (("-ELBO", "hvae"), ("LLR>2 without KL, 40 draws", "hvae-llr")):
        for measure in ("auroc", "auprc"):
            (found,) = of_seeds("fashion-hvae-binary-long", score, measure)
            assert found == pytest.approx(paper[row][measure], abs=0.01), (
                "after 30 epochs HVAE is where it was published"
            )


def test_what_the_scoreboard_says_of_the_family_is_so():
    """HVAE alone has a wide bottom; the bottom level is silent on clothes, with the energy and without."""
    there = [
        kind for kind in FAMILY if (kind if kind == "joint-ebm" else f"mnist-{kind}") in (*EXPERIMENTS, "joint-ebm")
    ]
    bottoms = {kind: load_experiment(experiment_of("mnist", kind)).model.latent_dims[0] for kind in there}
    assert bottoms.pop("hvae") == 392 and max(bottoms.values()) <= 16
    for run in ("fashion", "fashion-vlae"):
        assert results.load_result(run)["metrics"]["kl"][0] < 0.5


def test_every_table_of_the_paper_has_its_place():
    page = (ROOT / "book" / "scoreboard.md").read_text()
    tables = [f"Table {i}" for i in range(1, 7)] + ["Table 1, SVHN", "Supplement, Table 2", "Out of distribution"]
    assert all(f"# {title}" in page for title in (*tables, "Figure 5 as", "Figure 6 as", "Figure 8 as", "Figure 9 as"))
    assert "waits" not in "".join(line for line in page.splitlines() if line.startswith("|")), (
        "every table has our rows"
    )


def test_table_3_has_every_model_on_every_test_set():
    rows = left_out_digit().splitlines()
    assert sum("this book" in row for row in rows) == len(KINDS) * len(SPLITS) and not any(
        "not run" in row for row in rows
    )
    assert sum("paper, " in row for row in rows) == 6
    joint = next(row for row in rows if "this book, joint EBM" in row and "| 80/20 |" in row)
    larger = load_study("anomaly-systems")
    whole = [s for s in anomaly_systems.SEEDS if all(f"joint-ebm/{d}@{s}" in larger for d in PAPER_LABELS)]
    found = [larger[f"joint-ebm/9@{seed}"]["tests"]["pooled"]["auprc"] for seed in whole]
    mean = statistics.fmean(mean for mean, _ in found)
    assert joint.split("|")[3].strip() == str(len(whole)) and f"| {mean:.3f} ± " in joint


def test_what_the_scoreboard_says_of_table_1_is_so():
    """The paper's units: walls order the levels, else the seed does. With ten at the top it knows the class anywhere."""
    parts, paper = load_study("levels"), load_paper()["table1_latent_classifier_accuracy_percent"]["mnist"]
    for bottom, pair in levels.cell_pairs(parts, "222").items():
        for side in pair:
            rows = [run["latent_accuracy"] for run in side]
            rising, tops = sum(row == sorted(row) for row in rows), [100 * row[2] for row in rows]
            assert len(rows) == 5 and (rising == 5 if bottom == "walls" else 0 < rising < 5), bottom
            assert bottom == "walls" or max(tops) - min(tops) > paper["ours"][2] - paper["vlae"][2], bottom
    for bottom, pair in levels.cell_pairs(parts, "2210").items():
        rows = [run["latent_accuracy"] for side in pair for run in side]
        assert all(max(row[:2]) + 0.3 < row[2] for row in rows), bottom
    clothes = levels.cell_pairs(parts, "fashion")
    for side in clothes["own"]:
        means = [statistics.fmean(run["latent_accuracy"][i] for run in side) for i in range(3)]
        assert means[1] == min(means)
    assert all(run["latent_accuracy"][2] < 0.6 for pair in clothes.values() for side in pair for run in side)
    for name in ("fashion", "fashion-gaussian", "fashion-map", "fashion-map-gaussian", "fashion-vlae"):
        assert all(run["metrics"]["latent_accuracy"][2] > 0.8 for run in results.load_seeds(name)), name


def test_table_3_counts_whole_seeds_of_the_larger_study_and_falls_back_to_the_smaller(monkeypatch):
    def part(kind, value, which="tests"):
        return {"kind": kind, which: {split: {"auprc": [value, 0.01]} for split in SPLITS}}

    larger = {f"joint-ebm/{d}@{seed}": part("joint-ebm", 0.5 + 0.1 * seed) for d in PAPER_LABELS for seed in (1, 2)}
    larger |= {f"joint-ebm/0@{seed}": part("joint-ebm", 0.0) for seed in (1, 2)}  # no digit of the table
    larger |= {"joint-ebm/1@3": part("joint-ebm", 0.9)}  # an unfinished seed
    larger |= {f"hvae/{d}@1": part("hvae", 0.2, "bounds") for d in PAPER_LABELS}
    smaller = load_study("anomaly")
    stored = {"anomaly-systems": {"parts": larger}, "anomaly": {"parts": smaller}}
    monkeypatch.setattr(left_out, "stored_study", lambda name: stored[name])
    assert list(left_out.seeds_of("joint-ebm")) == [1, 2] and set(left_out.seeds_of("joint-ebm")[2]) == {
        0,
        *PAPER_LABELS,
    }
    assert left_out.seeds_of("vae") == {1: {d: smaller[f"vae/{d}"] for d in PAPER_LABELS}}
    rows = left_out_digit().splitlines()
    assert f"| this book, joint EBM | 80/20 | 2 |{' 0.650 ± 0.071 |' * 5}" in rows
    assert f"| this book, HVAE | 80/20 | 1 |{' 0.200 ± 0.010 |' * 5}" in rows
    assert sum("| this book, VAE | 80/20 | 1 |" in row for row in rows) == 1
    found = evidence.anomaly()
    paper = statistics.fmean(load_paper()["table3_anomaly_auprc"]["ours"])
    assert found.n == 2 and found.mean == pytest.approx(0.65 - paper)
    stored["anomaly-systems"], stored["anomaly"] = {"parts": {}}, {"parts": {}}
    assert left_out.seeds_of("joint-ebm") == {} and evidence.anomaly() is None


def test_all_ten_digits_have_the_seeds_that_left_them_out(monkeypatch):
    def part(value):
        tests = {split: {"auprc": [value, 0.01]} for split in SPLITS}
        return {"kind": "joint-ebm", "tests": tests, "terms": {"pooled": {"-f(z) - log N(z; 0, I)": value / 2}}}

    larger = {f"joint-ebm/{d}@{seed}": part(0.5 + 0.1 * seed) for d in PAPER_LABELS for seed in (1, 2)}
    larger |= {"joint-ebm/0@2": part(0.4), "joint-ebm/3@3": part(0.9)}  # the third seed is no whole one
    stored = {"anomaly-systems": {"parts": larger}, "anomaly": {"parts": load_study("anomaly")}}
    monkeypatch.setattr(left_out, "stored_study", lambda name: stored[name])
    rows = {
        row[0]: row
        for row in ([c.strip() for c in line.split("|")[1:-1]] for line in left_out_all_digits().splitlines()[2:])
    }
    assert list(rows) == ["0", "1", "4", "5", "7", "9"]
    assert rows["0"][1:6] == ["1", *["0.400 ± 0.010"] * 3, "0.200"]
    assert rows["9"][1:6] == ["2", *["0.650 ± 0.071"] * 3, "0.325"]


def test_settings_are_compared_on_digits_that_all_of_them_have(monkeypatch):
    settings = [(units, sigma) for units in DIMS for sigma in SIGMAS]
    parts = {
        setting_name(*setting, label): {"tests": {"pooled": {"by_epoch": [0.1, 0.1 * label]}}}
        for setting in settings
        for label in (PAPER_LABELS if setting == ("222", 0.2) else (1, 9))
    }
    monkeypatch.setattr(left_out, "stored_study", lambda name: {"anomaly-settings": {"parts": parts}}[name])
    head, _, *rows = left_out_settings().splitlines()
    assert head == "| units | σ in training | 1 | 9 | mean | mean after one epoch |"
    assert len(rows) == 9 and set(rows) >= {"| 2/2/2 | 0.2 | 0.100 | 0.900 | 0.500 | 0.100 |"}


def test_what_the_scoreboard_says_of_figures_8_and_9_is_so():
    """Ten digits stay where they are after K; with one unit per level they do not. No attack on z_1 moves far."""
    parts = load_study("long-run")
    at = {name: found["steps"].index(found["K"]) for name, found in parts.items()}
    drift = {name: found["distance"][-1] / found["distance"][at[name]] for name, found in parts.items()}
    assert drift["mnist"] < 1.1 and drift["mnist-012"] < 1.1 < 2 < drift["mnist-012-capped"]
    assert long_run().count("→") == 2 * len(parts) + 1, "a row per model, and the head"
    for name in ("mnist", "mnist-gaussian"):
        seeds = seeds_under_attack(name)
        assert len(seeds) == 3, name
        for found in seeds:
            changed, hit = ([at["budgets"]["0.3"][key] for at in found.values()] for key in ("changed", "hit"))
            assert changed == sorted(changed) and hit == sorted(hit), "from bottom to top more often"


def test_attacks_are_compared_seed_by_seed():
    lines = latent_attack().splitlines()
    assert "300 pairs, 3 training seeds" in lines[0] and len(lines) == 2 + 9
    rows = {cells[0]: cells[1:] for cells in ([c.strip() for c in line.split("|")[1:-1]] for line in lines[2:])}
    ours, theirs = (
        [found["3"]["budgets"]["0.3"]["changed"] for found in seeds_under_attack(name)]
        for name in ("mnist", "mnist-gaussian")
    )
    mean, low, high = (100 * value for value in paired(ours, theirs))
    assert rows["difference, paired by seed"][2] == f"{mean:+.1f} [{low:.1f}, {high:.1f}]"
    assert rows["rebuilt as another digit, joint EBM"][2].startswith(f"{100 * statistics.fmean(ours):.1f} ±")


def test_chains_of_faces_are_followed_seed_by_seed():
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in faces_run().splitlines()[2:]]
    parts = load_study("long-run-faces")
    assert len(rows) == len(parts)
    for row, found in zip(rows, parts.values(), strict=True):
        start, at, end = map(float, row[1:4])
        assert start > 1.2 * at > at > 1.1 * end, "away from the start, and nearer when training's steps are over"
        assert abs(float(row[4]) - found["f_codes"]) < 2, "chains end where the codes of faces are"


def test_long_chains_end_level():
    """What the page says: an interval around 0 in each of four measures, and small beside the way from the start."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in drifts().splitlines()[2:]]
    assert [row[-1] for row in rows] == ["3", "3", "5", "5"]
    for _, climb, _, slope, _ in rows:
        mean, low, high = map(float, slope.replace("[", "").replace("]", "").replace(",", "").split())
        assert low < 0 < high and abs(mean) < 0.05 * abs(float(climb))
    runs = load_study("long-run-faces")
    by_hand = [np.polyfit(run["steps"][-16:], run["f"][-16:], 1)[0] * 1000 for run in runs.values()]
    assert runs["celeba-64"]["steps"][-16] == 1_000
    assert rows[0][3].startswith(f"{statistics.fmean(by_hand):+.1f} [")


def test_tables_4_and_5_have_rows_of_photographs_and_of_mnist():
    for rows in (table4(), table5()):
        for pack in ("svhn-11k", "celeba-64"):
            for after in ("training's steps", "2,500 steps"):
                assert rows.count(f"{pack}, FD after {after}, 5 seeds") == 1
        assert [row.count("±") for row in rows.splitlines() if row.startswith("| small joint EBM, MNIST")] == [5]
