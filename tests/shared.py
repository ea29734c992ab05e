"""What the tests share: tiny configs that train in a second, image packs made on the spot, an exact 2-D quadrature."""

import importlib.util
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hebm_lib import data
from hebm_lib.config import (
    DataConfig,
    ExperimentConfig,
    GeneratorConfig,
    InferenceConfig,
    LangevinConfig,
    ModelConfig,
    OptimiserConfig,
    PriorConfig,
    TrainingConfig,
)

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def repeatable():
    """Every test starts from the same random state, and leaves torch's and matplotlib's settings as it found them and no
    figure open."""
    import matplotlib.pyplot as plt  # here: processes that a test starts want a config, and no figures

    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # small tensors; and the same sums in the same order on every machine
    with plt.rc_context():
        yield
    plt.close("all")
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def few_draws(monkeypatch, request):
    """The tests ask whether measures are taken rightly, not for their third digit: 50 draws of the importance-weighted bound
    for 1,000, 20 of the bound itself for 100; chains of 200 steps are long, for 2,500, where lengths themselves are not the
    question, and log Z is annealed through 200 temperatures for 1,000 where it is not what is tested. Examples in docstrings
    show what a reader gets."""
    from hebm_lib import JointEBMPrior, evaluation
    from hebm_lib.baselines.jebm import TiltedChain
    from hebm_lib.metrics import chain_health, summary

    if isinstance(request.node, pytest.DoctestItem):
        return
    monkeypatch.setattr(summary, "DRAWS", 50)
    monkeypatch.setattr(evaluation, "DRAWS", 50)
    monkeypatch.setattr(summary, "PLAIN", 20)
    if request.module.__name__ != "test_metrics_chain_health":
        monkeypatch.setattr(chain_health, "LONG_RUN", 200)
    if request.module.__name__ != "test_log_z":
        for prior in (JointEBMPrior, TiltedChain):
            monkeypatch.setitem(prior.log_z.__kwdefaults__, "temperatures", 200)


# ---- configs --------------------------------------------------------------------------------------------------------


def tiny_model(**changes) -> ModelConfig:
    """Two levels on 8×8 grey images, a few thousand parameters."""
    config = ModelConfig(
        latent_dims=(2, 3),
        image_size=8,
        generator=GeneratorConfig(factors=(2,), widths=(6,), entries=("map",), top_hidden=(16,), base_width=8),
        inference=InferenceConfig(factors=(2,), widths=(6,), reads=("map",), top_hidden=(16,)),
        prior=PriorConfig(hidden=(12, 12)),
        sigma=0.4,
    )
    return replace(config, **changes)


def tiny_experiment(*, model: ModelConfig | None = None, **training) -> ExperimentConfig:
    """The tiny model on the embedded digits: 14 steps per epoch, a logged line every 5 steps."""
    settings = {
        "epochs": 2,
        "batch_size": 100,
        "log_every": 5,
        "langevin": LangevinConfig(steps=5, step_size=0.4),
    } | training
    return ExperimentConfig(
        name="tiny",
        data=DataConfig(name="digits", size=8),
        model=model or tiny_model(),
        training=TrainingConfig(optimiser=settings.pop("optimiser", OptimiserConfig()), **settings),
    )


@pytest.fixture
def digits() -> data.ImageDataset:
    return data.load_dataset("digits", "train")


# ---- data -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def no_data(monkeypatch, tmp_path):
    """Neither packs nor a cache nor a network."""
    monkeypatch.delenv("HEBM_DATA", raising=False)
    monkeypatch.setenv("HEBM_CACHE", str(tmp_path / "cache"))

    def offline(self):
        raise OSError("no network in tests")

    for loader in ("MNIST", "SVHN", "CIFAR10", "CelebA"):
        monkeypatch.setattr(f"torchvision.datasets.{loader}.download", offline)
    return tmp_path


def picture(seed, mode="RGB", size=(12, 8)):
    channels = {"L": (), "RGB": (3,), "RGBA": (4,)}[mode]
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], *channels), dtype=np.uint8)
    return Image.fromarray(pixels, mode)


def draw_folder(folder, classes=("cat", "dog"), n=20, mode="L", kind="png", size=(8, 8)):
    """A folder per class with ``n`` pictures of noise in each, (width, height)."""
    for c, label in enumerate(classes):
        (folder / label).mkdir(parents=True)
        for i in range(n):
            picture(100 * c + i, mode, size).save(folder / label / f"{i:02d}.{kind}")
    return folder


def require_data(name: str) -> None:
    """Skip, with the reason, where a downloadable data set is neither under HEBM_DATA nor in the cache."""
    root = data.pack_root()
    files = {"mnist": "MNIST/raw/train-images*", "fashion-mnist": "FashionMNIST/raw/train-images*"}
    if not (root and (root / name / "train.npz").is_file()) and not list(data.cache_root().glob(files[name])):
        pytest.skip(f"{name} is neither a pack under HEBM_DATA nor in {data.cache_root()}")


def write_pack(root: Path, name: str, images: np.ndarray, labels=None, split: str = "train") -> Path:
    """A raw image pack ``<root>/<name>/<split>.npz``."""
    path = root / name / f"{split}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, images=images, **({} if labels is None else {"labels": np.asarray(labels, np.int64)}))
    return path


# ---- densities in two dimensions ------------------------------------------------------------------------------------


def quadrature(log_prob, extent: float = 6.0, points: int = 241):
    """A 2-D density by brute force: grid points ``(m, 2)`` and their probabilities ``(m,)``, float64.

    Written out here, apart from the library's own grid, so that it can testify against the library.
    """
    axis = torch.linspace(-extent, extent, points, dtype=torch.float64)
    z = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        weight = torch.softmax(log_prob(z), 0)
    return z, weight


# ---- subprocesses ---------------------------------------------------------------------------------------------------


def subprocess_env(**extra) -> dict:
    """The present environment with one thread, and this checkout's library and tests importable."""
    path = os.pathsep.join(filter(None, [str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]))
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": ""} | extra


class Here:
    """`hebm_lib.reproduction.bench.timing.Elsewhere` without a process of its own, which has tests of its own: a start
    costs seconds."""

    def __init__(self, make, *arguments):
        self.parts = make(*arguments)

    def __enter__(self):
        return lambda part: self.parts[part]()

    def __exit__(self, *error):
        pass


PYTHON = sys.executable


def launch_two_processes(script: Path, *arguments) -> None:
    """Run a script by ``fabric run`` on two CPU processes, as book/run.md says; fail with what it printed."""
    launcher = [PYTHON, "-m", "lightning_fabric.cli", "--accelerator", "cpu", "--strategy", "ddp", "--devices", "2"]
    process = subprocess.Popen(
        [*launcher, str(script), *map(str, arguments)],
        env=subprocess_env(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(timeout=600)
    finally:
        if process.poll() is None:  # the launcher and both of its processes
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, said[-3000:]


# ---- browsers -------------------------------------------------------------------------------------------------------

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


def axe_script() -> Path | None:
    """axe-core, where HEBM_AXE names it or a folder of node modules has it: `npm install axe-core`."""
    if "HEBM_AXE" in os.environ:
        return Path(os.environ["HEBM_AXE"])
    places = [
        os.environ.get("HEBM_NODE_MODULES", ROOT / "node_modules"),
        "/usr/share/javascript",
        "/usr/lib/node_modules",
    ]
    found = [Path(place) / "axe-core" / "axe.min.js" for place in places]
    return next((path for path in found if path.is_file()), None)


# ---- pages ----------------------------------------------------------------------------------------------------------


def load_execute_pages():
    """``tools/execute_pages.py`` as a module: it runs a page as `make pages` does and says which cell broke."""
    spec = importlib.util.spec_from_file_location("execute_pages", ROOT / "tools" / "execute_pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.prepare_environment()
    return module
