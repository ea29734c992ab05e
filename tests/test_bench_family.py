"""The bench of the family: every model takes its turn, the result is complete, and the speed page knows nothing of it."""

import json
import re
import time

import pytest
import torch
from shared import ROOT, Here

from hebm_lib.__main__ import main
from hebm_lib.experiments import load_experiment
from hebm_lib.model import BUILDERS
from hebm_lib.reproduction import bench
from hebm_lib.reproduction.bench import family, tables, timing
from hebm_lib.reproduction.runs import BOOK_RUNS

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    """Two models of the registry, one round of one step: whether a row is complete does not hang on how often."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(family, "IN_A_ROW", 1)
        patch.setattr(family, "Elsewhere", Here)
        return family.time_family(["digits-capped", "mnist-lebm"], 1, CPU)


@pytest.fixture
def result(rows) -> dict:
    """A whole result with these rows."""
    origin = {"versions": {"torch": "2"}, "commit": "f00", "uncommitted_changes": False}
    head = {"machine": timing.describe_machine(CPU), "provenance": origin, "quick": False}
    return head | {"images": family.IMAGES, "in_a_row": family.IN_A_ROW, "models": rows}


def test_the_family_is_every_kind_on_the_same_images():
    configs = [load_experiment(name) for name in family.family()]
    book = [kind for kind in BUILDERS if kind == "joint-ebm" or f"mnist-{kind}" in BOOK_RUNS]
    assert [config.model.kind for config in configs] == book and len(book) >= 8
    assert len({config.data for config in configs}) == 1 and configs[0].data.classes is None
    assert {config.training.batch_size for config in configs} == {100}


def test_chains_are_those_of_a_training_step():
    assert family.chain_steps(load_experiment("mnist-capped")) == {"prior": 60}
    assert family.chain_steps(load_experiment("mnist-lebm")) == {"prior": 60, "posterior": 8}
    for kind in ("vae", "vlae", "provlae", "lvae", "hvae", "biva"):
        assert family.chain_steps(load_experiment(f"mnist-{kind}")) == {}


def test_a_row_is_complete(rows):
    assert json.loads(json.dumps(rows)) == rows
    digits, lebm = rows
    assert (digits["experiment"], digits["kind"], lebm["kind"]) == ("digits-capped", "joint-ebm", "lebm")
    assert list(digits["chains"]) == ["prior"] and list(lebm["chains"]) == ["prior", "posterior"]
    assert lebm["chains"]["posterior"]["steps"] == 8 and lebm["parameters"]["inference"] == 0
    for row in rows:
        assert row["step"]["rounds"] == 1 and row["step"]["seconds"] > 0 and 0 < row["share_of_core"] < 1.05
        assert all(chain["seconds"] > 0 for chain in row["chains"].values())
        assert row["seconds_per_epoch"] == pytest.approx(600 * row["step"]["seconds"], rel=1e-3)


def test_parameters_are_those_of_the_published_run():
    published = json.loads((ROOT / "book" / "results" / "mnist.json").read_text())
    assert family.parameters(load_experiment("mnist-capped")) == published["parameters"]


def test_what_is_timed_is_the_trainers_step():
    """A turn is so many steps of Algorithm 1 on one batch, and its chains are of the experiment's length."""
    sides = family.model_side("digits-capped", CPU)
    step, prior = sides["step"].args[0], sides["prior"].args[0]
    trainer = step.func.__self__
    before = [p.detach().clone() for p in trainer.model.parameters()]
    assert sides["step"]()["seconds"] > 0 and trainer.step == family.IN_A_ROW
    assert any(not torch.equal(a, b) for a, b in zip(before, trainer.model.parameters(), strict=True))
    assert prior.args == (100, 60, 0.4) and prior().shape == (100, 10)


def test_waiting_is_not_counted_on_one_thread(monkeypatch):
    """Another program on the core makes a process wait, and so does sleep."""
    rest = lambda: time.sleep(0.05)  # noqa: E731
    assert family.several(rest, CPU)["seconds"] < 0.02
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)  # several threads' computing would add up
    assert family.several(rest, CPU)["seconds"] > 0.049


def test_a_time_is_per_step_and_the_first_turn_is_not_in_it(monkeypatch):
    """Three turns of which the first is slow; by the wall each takes twice as long as it computes."""

    class Elsewhere:
        def __init__(self, make, name, device):
            self.answers = iter([9.0, 2.0, 4.0, 3.0])

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def __call__(self, part):
            return {"seconds": next(self.answers)}

    def alternate(calls, rounds, device):
        for call in calls.values():
            for _ in range(rounds + 1):
                call()
        return {key: [2 * 3.0 * family.IN_A_ROW] * rounds for key in calls}

    monkeypatch.setattr(family, "Elsewhere", Elsewhere)
    monkeypatch.setattr(family, "alternate", alternate)
    (row,) = family.time_family(["mnist-vae"], 3, CPU)
    assert row["step"] == {"seconds": 3.0, "quartiles": [2.5, 3.5], "rounds": 3}
    assert row["seconds_per_epoch"] == 1800 and row["share_of_core"] == 0.5


def test_a_posterior_chain_is_that_of_the_training(monkeypatch):
    sides = family.model_side("mnist-lebm", CPU)
    chain = sides["posterior"].args[0]
    model, ran = chain.func.__self__, []
    monkeypatch.setattr(
        "hebm_lib.baselines.lebm.langevin_dynamics",
        lambda log_prob, z0, steps, size, **_: ran.append((steps, size)) or z0,
    )
    chain()
    settings = load_experiment("mnist-lebm").model.baseline.posterior
    assert ran == [(settings.steps, settings.step_size)] and model.latents.levels == 1


# ---- the command ----------------------------------------------------------------------------------------------------


def test_only_family_is_stored_apart_and_draws_no_page(result, monkeypatch, capsys, tmp_path):
    asked = []
    monkeypatch.setattr(bench, "measure_family", lambda *args: asked.append(args) or result)
    monkeypatch.setattr(bench, "results_folder", lambda: tmp_path)
    monkeypatch.setattr(bench, "write_page", lambda: pytest.fail("the page on speed does not show the family"))
    assert main(["bench", "--only", "family", "--device", "cpu"]) == 0
    assert asked == [(CPU, False, 1)]
    assert [path.name for path in tmp_path.iterdir()] == ["bench-family-cpu.json"]
    assert json.loads((tmp_path / "bench-family-cpu.json").read_text()) == result
    said = capsys.readouterr().out
    assert "| lebm |" in said and "posterior" in said and "bench-family-cpu.json" in said


def test_quick_stores_nothing(result, monkeypatch, tmp_path):
    monkeypatch.setattr(bench, "measure_family", lambda *args: result)
    monkeypatch.setattr(bench, "results_folder", lambda: tmp_path)
    assert main(["bench", "--only", "family", "--quick"]) == 0
    assert not list(tmp_path.iterdir())


def test_quick_takes_two_models_and_one_round(monkeypatch, rows):
    asked = []
    monkeypatch.setattr(family, "time_family", lambda *args: asked.append(args) or rows)
    measured = family.measure_family(CPU, quick=True, threads=2, say=lambda *args, **kwargs: None)
    assert asked == [(family.family()[:2], 1, CPU)] and measured["models"] == rows and measured["quick"]
    assert measured["machine"]["threads"] == 2 and torch.get_num_threads() == 1


def test_learned_energies_take_their_turn_among_the_others(monkeypatch, rows):
    asked, more = [], [rows[0] | {"experiment": name} for name in family.LEARNED]
    rows = rows * 6  # as many as the family has
    rows = rows[: len(family.family())]
    monkeypatch.setattr(family, "time_family", lambda *args: asked.append(args) or [*rows, *more])
    measured = family.measure_family(CPU, say=lambda *args, **kwargs: None)
    assert asked == [([*family.family(), *family.LEARNED], 11, CPU)]
    assert measured["models"] == rows and measured["learned"] == more
    assert "mnist-map-k15, persistent chains" in family.printed_family(measured).splitlines()[-1]


def test_drawing_the_family_is_refused(capsys):
    assert main(["bench", "--only", "family", "--draw"]) == 2
    assert "not part of" in capsys.readouterr().err


def test_another_part_is_refused(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["bench", "--only", "wings"])
    assert stop.value.code == 2


# ---- the stored result ----------------------------------------------------------------------------------------------


def test_a_result_is_found_by_kind(result, monkeypatch, tmp_path):
    monkeypatch.setattr(family, "results_folder", lambda: tmp_path)
    with pytest.raises(FileNotFoundError, match="--only family"):
        family.load_family()
    (tmp_path / "bench-family-cpu.json").write_text(json.dumps(result))
    assert family.load_family() == {row["kind"]: row for row in result["models"]}
    both = result | {"learned": [result["models"][0] | {"experiment": "mnist", "step": {"seconds": 0.08}}]}
    (tmp_path / "bench-family-cpu.json").write_text(json.dumps(both))
    steps = family.load_steps()
    assert steps.keys() == {row["experiment"] for row in result["models"]} | {"mnist"} and steps["mnist"] == 80.0


def test_the_speed_page_does_not_take_the_family_for_a_gpu(result, monkeypatch, tmp_path):
    monkeypatch.setattr(tables, "results_folder", lambda: tmp_path)
    for name in ("bench-cpu", "bench-family-cpu", "bench-a-gpu", "bench-family-a-gpu"):
        (tmp_path / f"{name}.json").write_text("{}")
    assert list(tables.load_benches()) == ["bench-cpu", "bench-a-gpu"]


def test_the_printed_table(result):
    lines = family.printed_family(result).splitlines()
    assert lines[0].startswith("Measured on") and re.search(r"at least \d+% of its core", lines[0])
    shares = re.search(r"prior (\d+)%, posterior (\d+)%", lines[-1])
    # Whether a chain's share is below 1 is a matter of the clock; that the table has the result's own numbers is not.
    row = next(row for row in result["models"] if "posterior" in row["chains"])
    expected = [100 * row["chains"][part]["seconds"] / row["step"]["seconds"] for part in ("prior", "posterior")]
    assert [int(share) for share in shares.groups()] == pytest.approx(expected, abs=0.51)


def test_the_published_result_is_of_the_models_of_page_00():
    stored = json.loads((ROOT / "book" / "results" / "bench-family-cpu.json").read_text())
    assert not stored["quick"] and stored["machine"]["threads"] == 1 and stored["images"] == 60_000
    measured = [row["experiment"] for row in stored["models"]]
    assert len(measured) >= 8 and set(measured) <= set(family.family())
    for row in stored["models"]:
        config = load_experiment(row["experiment"])
        assert row["parameters"] == family.parameters(config) and row["batch"] == config.training.batch_size
        assert {part: chain["steps"] for part, chain in row["chains"].items()} == family.chain_steps(config)
        assert row["step"]["rounds"] >= 11 and 0 < row["share_of_core"] < 1.05
