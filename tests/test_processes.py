"""Two processes (gloo, on the CPU) against one process with the doubled batch; and what a trainer does to its process."""

import importlib.metadata
import sys

import pytest
import torch
from lightning_fabric import Fabric
from safetensors.torch import load_file
from shared import launch_two_processes, tiny_experiment

from hebm_lib import Trainer, build_model, load_dataset
from hebm_lib.checkpoint import CheckpointError, latest_checkpoint
from hebm_lib.sampling.cpu_speed import memory
from hebm_lib.training.processes import only_its_version

BATCH = 50

JOBS = """
import os, signal, sys, torch
from dataclasses import replace
from shared import tiny_experiment
from hebm_lib import Trainer, build_model, load_dataset
from hebm_lib.training import TrainingInterrupted

torch.set_num_threads(1)
folder, batch, *jobs = sys.argv[1:]
digits = load_dataset("digits", "train")


def keep(what, job, rank):
    torch.save(what, f"{folder}/{job}{rank}.pt")


def two():
    config = tiny_experiment(epochs=1, batch_size=int(batch))
    torch.manual_seed(config.training.seed)
    trainer = Trainer(build_model(config.model), config, progress=False).fit(digits)
    assert trainer.fabric.world_size == 2
    keep(trainer.model.state_dict(), "two", trainer.fabric.global_rank)


def shared():
    config = tiny_experiment(epochs=1, batch_size=100)
    torch.manual_seed(config.training.seed)
    trainer = Trainer(build_model(config.model), config, f"{folder}/shared", progress=False)
    read, order = [], trainer._order

    def remember(*args):
        read.append(order(*args))
        return read[-1]

    trainer._order = remember
    trainer.fit(digits)
    what = {"weights": trainer.model.state_dict(), "order": read[0], "steps": trainer.step}
    keep(what | {"noise": trainer.generator.get_state()}, "shared", trainer.fabric.global_rank)


def unseeded():
    torch.seed()
    config = tiny_experiment(epochs=1, batch_size=int(batch))
    model = build_model(config.model)
    model.register_buffer("own", torch.randn(3, 4, 5, 6))
    trainer = Trainer(model, config, progress=False).fit(digits)
    keep(trainer.model.state_dict(), "unseeded", trainer.fabric.global_rank)


def precision():
    config = tiny_experiment(precision="bf16-mixed")
    trainer = Trainer(build_model(config.model), config, progress=False)
    keep(trainer.fabric.strategy.precision.precision, "precision", trainer.fabric.global_rank)


def persistent(how):
    config = tiny_experiment(epochs=2, batch_size=50, log_every=4)
    config = replace(config, model=replace(config.model, prior=replace(config.model.prior, chains=64)))
    torch.manual_seed(config.training.seed)
    run = f"{folder}/run" if how != "whole" else None
    trainer = Trainer(build_model(config.model), config, run, progress=False)
    rank = trainer.fabric.global_rank
    if how == "resumed":
        trainer.resume(run)
    if how == "stopped" and rank == 1:
        one_step = trainer._one_step

        def told(x, epoch):
            one_step(x, epoch)
            if trainer.step == 5:  # the terminal's Ctrl-C, and the launcher's echo of it
                os.kill(os.getpid(), signal.SIGINT)
                os.kill(os.getpid(), signal.SIGTERM)

        trainer._one_step = told
    try:
        trainer.fit(digits)
        assert how != "stopped"
    except TrainingInterrupted as stop:
        assert how == "stopped" and "Saved in" in str(stop), stop
    keep({"step": trainer.step, "weights": trainer.model.state_dict()}, how, rank)


for job in jobs:
    persistent(job) if job in ("whole", "stopped", "resumed") else globals()[job]()
"""


@pytest.fixture(scope="module")
def launched(tmp_path_factory):
    """What two processes kept of each job, launched by ``fabric run`` as book/run.md says: ``(job, rank)``.

    One launch for all jobs, each with a trainer of its own: a start costs more than a job.
    """
    folder = tmp_path_factory.mktemp("two")
    (folder / "train.py").write_text(JOBS)
    jobs = ("two", "shared", "unseeded", "precision", "whole", "stopped", "resumed")
    launch_two_processes(folder / "train.py", folder, BATCH, *jobs)
    return {
        (job, rank): torch.load(folder / f"{job}{rank}.pt", weights_only=True) for job in jobs for rank in (0, 1)
    } | {"folder": folder}


@pytest.fixture
def two_processes(launched) -> list[dict]:
    """Both ranks' weights after an epoch."""
    return [launched["two", rank] for rank in (0, 1)]


def one_process(monkeypatch, noise_of_two: bool) -> dict:
    """One process with twice the batch. Its draws are the two processes' draws, one above the other, where asked."""
    config = tiny_experiment(epochs=1, batch_size=2 * BATCH)
    torch.manual_seed(config.training.seed)
    trainer = Trainer(build_model(config.model), config, progress=False)
    if noise_of_two:
        ranks = [torch.Generator().manual_seed(config.training.seed * 1_000 + rank) for rank in (0, 1)]
        randn = torch.randn

        def both(*shape, generator=None, out=None, **options):
            assert generator is not None, "noise from the global generator: the ranks' would not be known"
            if generator is not trainer.generator:  # a backend's check of itself
                return randn(*shape, generator=generator, out=out, **options)
            n, d = shape if len(shape) == 2 else shape[0]
            drawn = torch.cat([randn(n // 2, d, generator=rank, **options) for rank in ranks])
            return drawn if out is None else out.copy_(drawn)

        monkeypatch.setattr(torch, "randn", both)
    return trainer.fit(load_dataset("digits", "train")).model.state_dict()


def distance(a: dict, b: dict) -> float:
    """The largest difference of any weight."""
    # Eq. 10 does not depend on the energy's last bias: its gradient is rounding, and Adam makes steps of that.
    names = [name for name in a if name != "prior.energy.layers.2.bias"]
    return max((a[name] - b[name]).abs().max().item() for name in names)


def test_two_processes_train_as_one_with_the_doubled_batch(two_processes, monkeypatch):
    """The same images per step, the same noise for each image: the weights agree after an epoch of 14 steps.

    Both runs take means of the same numbers in another order, so they differ by rounding, which Adam's division by the
    gradient's size lets grow where a gradient is small. The learning rate is 1e-3: a wrong share of one rank in a single
    step would move weights by as much.
    """
    whole = one_process(monkeypatch, noise_of_two=True)
    for rank in two_processes:
        assert distance(rank, whole) < 5e-4


def test_the_comparison_would_notice_other_noise(two_processes, monkeypatch):
    assert distance(two_processes[0], one_process(monkeypatch, noise_of_two=False)) > 2e-3


def test_two_processes_share_the_images_and_end_with_the_same_weights(launched):
    one, two = (launched["shared", rank] for rank in (0, 1))
    assert one["steps"] == two["steps"] == 7
    for name in one["weights"]:
        if not name.endswith(("_u", "_v")):  # power iterations go on by themselves, from the same start
            assert torch.equal(one["weights"][name], two["weights"][name]), name
    read = torch.cat([one["order"], two["order"]]).flatten().tolist()
    assert len(read) == len(set(read)) == 1400, "an image was read twice"
    assert not torch.equal(one["noise"], two["noise"])
    run = launched["folder"] / "shared"
    saved = load_file(latest_checkpoint(run) / "model.safetensors")
    assert all(torch.equal(one["weights"][name], saved[name]) for name in saved)
    # Half of the images alone would have ended elsewhere; and two processes' run needs two to go on.
    alone = tiny_experiment(epochs=1, batch_size=100)
    half = load_dataset("digits", "train").subset(one["order"].flatten())
    torch.manual_seed(alone.training.seed)
    trainer = Trainer(build_model(alone.model), alone, progress=False).fit(half)
    assert any(not torch.equal(one["weights"][name], value) for name, value in trainer.model.state_dict().items())
    with pytest.raises(CheckpointError, match="trained by 2 process"):
        Trainer(build_model(alone.model), alone, progress=False).resume(run)


def test_processes_without_a_seed_train_one_model(launched):
    """Each process draws its own fresh weights; all go on with the first one's, buffers too."""
    one, two = (launched["unseeded", rank] for rank in (0, 1))
    for name in one:
        if not name.endswith(("_u", "_v")):  # power iterations go on by themselves
            assert torch.equal(one[name], two[name]), name


def test_a_launched_run_computes_in_the_precision_of_its_config(launched):
    assert {launched["precision", rank] for rank in (0, 1)} == {"bf16-mixed"}


def test_a_fabric_of_another_precision_is_refused():
    """Its run would be recorded as 32-bit."""
    fabric = Fabric(accelerator="cpu", devices=1, precision="bf16-mixed")
    fabric.launch()
    config = tiny_experiment()
    with pytest.raises(ValueError, match="training.precision is '32-true', but this Fabric computes in 'bf16-mixed'"):
        Trainer(build_model(config.model), config, fabric=fabric, progress=False)


def test_a_package_is_asked_for_its_version_and_not_imported(monkeypatch):
    """Fabric wants torchmetrics' version; with torchvision behind it the import takes longer than Fabric's own."""
    monkeypatch.delitem(sys.modules, "torchmetrics", raising=False)
    with only_its_version("torchmetrics"):
        import torchmetrics

        assert torchmetrics.__version__ == importlib.metadata.version("torchmetrics")
        assert not hasattr(torchmetrics, "Metric")
        with only_its_version("torchmetrics"):
            pass
        assert sys.modules["torchmetrics"] is torchmetrics, "what is imported stays"
    assert "torchmetrics" not in sys.modules, "who imports it later gets all of it"
    with only_its_version("no-such-package"), pytest.raises(ModuleNotFoundError):
        importlib.import_module("no-such-package")


# ---- the process itself ---------------------------------------------------------------------------------------------


def test_memory_is_kept_where_the_c_library_can_and_nothing_happens_elsewhere(monkeypatch):
    asked = []

    class Library:
        def mallopt(self, setting, value):
            asked.append((setting, value))

    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: Library())
    memory.keep_freed_memory()
    assert [setting for setting, _ in asked] == [-1, -3] and all(value >= 1 << 25 for _, value in asked)
    for library in (object, lambda: (_ for _ in ()).throw(OSError)):  # another C library; none that can be opened
        monkeypatch.setattr(memory.ctypes, "CDLL", lambda name, library=library: library())
        memory.keep_freed_memory()


def test_one_signal_stops_all_processes_at_one_step_and_the_run_goes_on_bit_for_bit(launched):
    """Persistent chains are each process's own, so each must get its own back."""
    found = launched
    assert {found["stopped", rank]["step"] for rank in (0, 1)} == {8}, "the next line of the log after step 5"
    for rank in (0, 1):
        whole, resumed = found["whole", rank], found["resumed", rank]
        assert whole["step"] == resumed["step"]
        for name, tensor in whole["weights"].items():
            assert torch.equal(tensor, resumed["weights"][name]), name
    assert not torch.equal(found["whole", 0]["weights"]["prior.chains"], found["whole", 1]["weights"]["prior.chains"])
