"""The bench: its contenders run the same chain, its output is complete, and the page stands as its results have it."""

import json
import os
import re
import socket
from pathlib import Path

import pytest
import torch
from shared import ROOT, Here

from hebm_lib import JointEBMPrior, LatentSpec, langevin_dynamics
from hebm_lib.__main__ import main
from hebm_lib.experiments import load_experiment
from hebm_lib.reproduction import bench
from hebm_lib.reproduction.bench import steps, tables, timing
from hebm_lib.reproduction.bench.authors import AuthorsEnergy, AuthorsStep, authors_chain
from hebm_lib.reproduction.bench.sampling import SETTINGS, Setting, flops, time_sampling
from hebm_lib.sampling import Perceptron

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def result() -> dict:
    """What ``bench --quick`` measures with one thread, in a process that has two; both sides of a step in this process."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "Elsewhere", Here)
        found = bench.measure(CPU, quick=True, say=lambda *args, **kwargs: None)
    given_back = torch.get_num_threads()
    torch.set_num_threads(threads)
    assert given_back == 2
    return found


# ---- contenders -----------------------------------------------------------------------------------------------------


def test_the_authors_loop_is_the_same_chain():
    """With spectral norm at rest (evaluation mode) it takes the steps of the reference."""
    energy, z0 = AuthorsEnergy(5, (9, 8)), torch.randn(30, 5)
    energy(z0)
    energy.eval()
    layers = [layer for layer in energy.layers if isinstance(layer, torch.nn.Linear)]
    energy(z0)
    f = Perceptron([layer.weight.detach() for layer in layers], [layer.bias.detach() for layer in layers], 0.2)
    torch.manual_seed(3)
    theirs = authors_chain(energy, z0, 20, 0.4)
    torch.manual_seed(3)
    torch.testing.assert_close(theirs, langevin_dynamics(f.log_prob_unnormalized, z0, 20, 0.4))


def test_in_the_authors_loop_spectral_norm_moves_at_every_step():
    energy = AuthorsEnergy(5, (9, 8)).train()
    before = energy.layers[0].weight_u.clone()
    authors_chain(energy, torch.randn(30, 5), 1, 0.4)
    once = energy.layers[0].weight_u.clone()
    authors_chain(energy, torch.randn(30, 5), 1, 0.4)
    assert not torch.equal(before, once) and not torch.equal(once, energy.layers[0].weight_u)


def test_torchebm_runs_our_chain():
    pytest.importorskip("torchebm")
    setting = Setting(5, (9, 8), 20, 0.3)
    prior = setting.prior(CPU).eval()
    sample = bench.sampling.torchebm_sampler(prior, setting, 4_000, CPU)
    theirs, ours = sample(), prior.sample(4_000, 20, 0.3)
    assert theirs.shape == ours.shape
    torch.testing.assert_close(theirs.mean(0), ours.mean(0), atol=0.08, rtol=0)
    torch.testing.assert_close(theirs.T.cov(), ours.T.cov(), atol=0.12, rtol=0)


def test_the_authors_step_learns():
    step = AuthorsStep(load_experiment("digits-capped"), CPU)
    x = torch.rand(20, 1, 8, 8) * 2 - 1
    parts = [step.model.generator, step.model.inference, step.energy]
    before = [p.detach().clone() for part in parts for p in part.parameters()]
    step(x)
    moved = [
        not torch.equal(a, b) for a, b in zip(before, (p for part in parts for p in part.parameters()), strict=True)
    ]
    assert sum(moved) >= len(moved) - 1  # the energy's last bias has no gradient


def test_flops_by_hand():
    assert flops(Setting(3, (4, 5), 7, 0.1), 10) == 7 * 10 * 2 * 2 * (3 * 4 + 4 * 5)
    assert [s.name for s in SETTINGS] == ["16-d, 4×50, K = 60", "50-d, 2×100, K = 100"]


def test_without_torchebm_its_row_says_so(monkeypatch):
    monkeypatch.setattr(bench.sampling, "find_spec", lambda name: None)
    entry = time_sampling(Setting(3, (4,), 2, 0.3), 5, 1, CPU)
    assert entry["rows"]["TorchEBM"] == {"absent": "torchebm is not installed"}
    entry = {"sampling": [entry], "matmul_flops_per_second": 1e9}
    assert "TorchEBM (torchebm is not installed)" in tables.sampling_table(entry)
    row = tables.speedup_table(entry).splitlines()[-1].split("|")
    assert row[4].strip() == "" and float(row[3]) > 0


# ---- the clock ------------------------------------------------------------------------------------------------------


def test_contenders_take_turns_and_the_first_call_is_not_counted():
    calls = []
    seconds = timing.alternate({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 3, CPU)
    assert calls == ["a", "b"] * 4 and [len(s) for s in seconds.values()] == [3, 3]


def answers(name: str, device: torch.device) -> dict:
    """Contenders of another process, for the next test."""

    def fail():
        raise ValueError("this contender fell over")

    return {"who": lambda: {"process": os.getpid(), "threads": torch.get_num_threads()}, "fail": fail}


def test_contenders_elsewhere_run_in_another_process_and_say_what_went_wrong():
    torch.set_num_threads(2)
    with timing.Elsewhere(answers, "digits-capped", CPU) as elsewhere:
        assert elsewhere("who")["process"] == elsewhere.process.pid != os.getpid()
        assert elsewhere("who")["threads"] == 2, "contenders have as many threads as the process that asks"
        with pytest.raises(ValueError, match="fell over"):
            elsewhere("fail")
    assert not elsewhere.process.is_alive()


def test_summary_and_exponent_by_hand():
    assert timing.summary([1.0, 2.0, 3.0, 4.0, 9.0]) == {"seconds": 3.0, "quartiles": [2.0, 4.0], "rounds": 5}
    assert timing.summary([0.5])["quartiles"] == [0.5, 0.5]
    assert timing.exponent([1, 10, 100], [0.2, 2.0, 20.0]) == 1.0
    assert timing.exponent([1, 4], [3.0, 6.0]) == 0.5


@pytest.mark.parametrize(
    "seconds, text", [(0.000214, "0.214"), (0.00321, "3.21"), (0.0531, "53.1"), (0.4, "400"), (1.234, "1,230")]
)
def test_milliseconds(seconds, text):
    assert tables.milliseconds(seconds) == text


def test_slugs():
    assert timing.slug({"device": "cpu"}) == "bench-cpu"
    assert timing.slug({"device": "NVIDIA H100 80GB HBM3"}) == "bench-nvidia-h100-80gb-hbm3"


# ---- a whole run ----------------------------------------------------------------------------------------------------


def test_a_run_has_every_contender_and_positive_times(result):
    assert json.loads(json.dumps(result)) == result
    assert [entry["setting"] for entry in result["sampling"]] == [s.name for s in SETTINGS]
    for entry in result["sampling"]:
        backends = {f"ours, {name}" for name in ("reference", "closed-form", "numba", "cuda-graph", "triton")}
        assert entry["rows"].keys() == {"authors' loop", "TorchEBM"} | backends
        assert all(row.get("absent") or row["seconds"] > 0 for row in entry["rows"].values())
        assert entry["rows"][entry["default"]]["seconds"] > 0
        assert set(entry["parts"]) == {"noise", "weights", "products by torch"}
    (step,) = result["steps"]
    assert step["experiment"] == "digits-capped" and sum(step["profile"].values()) == pytest.approx(1, abs=0.01)
    assert all(0 <= share <= 1 for share in step["profile"].values())
    assert set(result["scaling"]) == {"K", "batch", "width", "latent size"}


def test_a_result_names_no_machine_and_no_path(result):
    stored = [json.dumps(result), *(p.read_text() for p in (ROOT / "book" / "results").glob("bench-*.json"))]
    for text in stored:
        assert socket.gethostname() not in text
        assert not re.search(r'"[^"]*(/home|/root|/work|/usr|/tmp|[A-Z]:\\\\)[^"]*"', text)


def test_threads_are_set_for_the_run_and_given_back(result):
    assert result["machine"]["threads"] == 1, "the fixture's process has two"
    with pytest.raises(KeyError), timing.on_threads(3):
        assert torch.get_num_threads() == 3
        raise KeyError
    assert torch.get_num_threads() == 1


def test_a_negative_rest_is_printed_as_it_is():
    """Parts are timed alone; together they may cost more than the chain. The first stored result has such rows."""
    parts = {"noise": 0.2, "weights": 0.01, "products by torch": 0.5}
    entry = {"setting": "s", "batch": 100, "default": "ours", "rows": {"ours": {"seconds": 1.0}}, "parts": parts}
    row = tables.gap_table({"sampling": [entry | {"flops": 9e8}], "matmul_flops_per_second": 1e9}).splitlines()[-1]
    assert [cell.strip() for cell in row.split("|")[3:9]] == ["1,000", "900", "200", "10.0", "-110", "500"]


def test_quick_prints_tables_and_stores_nothing(result, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(bench, "measure", lambda *args: result)
    monkeypatch.setattr(bench, "results_folder", lambda: tmp_path)
    monkeypatch.setattr(bench, "write_page", lambda: pytest.fail("--quick writes no page"))
    assert main(["bench", "--quick"]) == 0
    said = capsys.readouterr().out
    assert "| authors' loop |" in said and "| digits-capped, 100 |" in said and "exponent" in said
    assert not list(tmp_path.iterdir())


def test_a_whole_run_is_stored_under_its_device(result, monkeypatch, capsys, tmp_path):
    drawn = []
    monkeypatch.setattr(bench, "measure", lambda *args: result)
    monkeypatch.setattr(bench, "results_folder", lambda: tmp_path)
    monkeypatch.setattr(bench, "write_page", lambda: drawn.append(True))
    assert main(["bench", "--device", "cpu"]) == 0
    assert json.loads((tmp_path / "bench-cpu.json").read_text()) == result and drawn == [True]
    assert "bench-cpu.json" in capsys.readouterr().out


# ---- the page -------------------------------------------------------------------------------------------------------


def test_every_figure_of_the_page_is_there():
    for image in re.findall(r"images/(bench-[\w-]+\.png)", tables.PAGE.read_text()):
        assert (ROOT / "book" / "images" / image).is_file(), image


def test_the_figures_are_drawn_from_the_results(result, tmp_path):
    files = bench.draw.draw_all({"bench-cpu": result}, tmp_path)
    assert [Path(f).name for f in files] == [
        f"bench-cpu-{what}.png" for what in ("sampling", "gap", "steps", "scaling")
    ]
    assert all(f.stat().st_size > 5_000 for f in files)


def test_gpu_rows_are_empty_until_a_gpu_fills_them(result):
    text = tables.gpu_tables({"bench-cpu": result})
    rows = [line for line in text.splitlines() if line.startswith("| ours") or line.startswith("| auth")]
    assert rows and all(set(row.split("|")[2:]) <= {"", "  "} for row in rows)
    filled = tables.gpu_tables({"bench-cpu": result, "bench-nvidia": result})
    times = [line.split("|")[2].strip() for line in filled.splitlines() if line.startswith("| authors' loop")]
    assert times and all(times)


def test_published_numbers_show_the_goals_that_were_reached():
    """Prior sampling on the CPU: five times the authors' loop and six times TorchEBM at batch 100, or the page says less."""
    stored = tables.load_benches().get("bench-cpu")
    if stored is None:
        pytest.skip("book/results/bench-cpu.json is not there yet")
    for entry in (e for e in stored["sampling"] if e["batch"] == 100):
        own = tables.default_seconds(entry)
        assert entry["rows"]["authors' loop"]["seconds"] >= 5 * own
        assert entry["rows"]["TorchEBM"]["seconds"] >= 6 * own


def test_a_prior_of_a_setting_is_the_librarys():
    prior = SETTINGS[1].prior(CPU)
    assert isinstance(prior, JointEBMPrior) and prior.latents == LatentSpec((50,)) and prior.training
