"""The library's house rule (design.md): nine floors; imports only point down, or stay on the floor without going round."""

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter

import pytest
from shared import ROOT

LIBRARY = ROOT / "hebm_lib"
FLOORS = {
    "latents": 1,
    "langevin": 1,
    "provenance": 1,
    "config": 2,
    "sampling": 2,
    "data": 3,
    "networks": 3,
    "prior": 4,
    "model": 5,
    "algorithm": 6,
    "checkpoint": 6,
    "exact": 6,
    "experiments": 6,
    "training": 7,
    "plotting": 7,
    "baselines": 7,
    "metrics": 7,
    "evaluation": 8,
    "reproduction": 8,
    "__init__": 8,
    "__main__": 9,
}
"""The second drawing of the house. The file ``__init__`` is the public names."""
FILES = sorted(LIBRARY.rglob("*.py"))


def room(path) -> str:
    """The file, or the folder, of hebm_lib that a path belongs to."""
    return path.relative_to(LIBRARY).parts[0].removesuffix(".py")


def rooms_in(source: str) -> set[str]:
    """Rooms of hebm_lib that a source text imports, inside functions too."""
    rooms = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            rooms |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("hebm_lib.")}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import: the library writes them in full"
            if node.module == "hebm_lib":
                rooms |= {alias.name for alias in node.names}
            elif (node.module or "").startswith("hebm_lib."):
                rooms.add(node.module.split(".")[1])
    return rooms


def imported_rooms(path) -> set[str]:
    return rooms_in(path.read_text()) - {room(path)}


def test_the_reader_of_imports_sees_all_forms():
    source = """
import torch, hebm_lib.data
from hebm_lib import checkpoint as c, langevin
from hebm_lib.metrics.bound import measure_bound
def late():
    from hebm_lib.plotting import use_style
"""
    assert rooms_in(source) == {"data", "checkpoint", "langevin", "metrics", "plotting"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(LIBRARY)))
def test_imports_only_point_down(path):
    here = room(path)
    assert here in FLOORS, f"{here} has no floor: give it one here and in design.md's table"
    imported = imported_rooms(path)
    assert imported <= FLOORS.keys(), f"{path.name} imports {sorted(imported - FLOORS.keys())}, which has no floor"
    higher = sorted(other for other in imported if FLOORS[other] > FLOORS[here])
    assert not higher, f"{path.name} (floor {FLOORS[here]}) imports {higher} from a higher floor"


def test_no_two_rooms_import_each_other_in_a_circle():
    graph: dict[str, set[str]] = {}
    for path in FILES:
        graph.setdefault(room(path), set()).update(imported_rooms(path))
    list(TopologicalSorter(graph).static_order())  # raises CycleError


@pytest.mark.parametrize("path", [p for p in FILES if room(p) in ("baselines", "metrics")], ids=lambda p: p.stem)
def test_baselines_and_metrics_do_not_know_each_other(path):
    other = {"baselines": "metrics", "metrics": "baselines"}[room(path)]
    assert other not in imported_rooms(path)


def test_the_drawing_has_no_room_that_is_not_there():
    assert {room(path) for path in FILES} == FLOORS.keys()


@pytest.mark.parametrize(
    "path", [p for p in FILES if room(p) not in ("reproduction", "__main__")], ids=lambda p: str(p.relative_to(LIBRARY))
)
def test_the_library_does_not_know_the_reproduction(path):
    assert "reproduction" not in imported_rooms(path)


def test_importing_the_library_needs_no_plotting():
    assert not imported_rooms(LIBRARY / "__init__.py") & {"plotting", "evaluation", "reproduction", "__main__"}


def test_the_api_page_has_every_room_once_from_the_ground_floor_up():
    """Rooms of the library in the order of their floors, then the reproduction."""
    page = (ROOT / "book" / "api.md").read_text()
    listed = re.findall(r"^\.\. automodule:: hebm_lib\.(\S+)$", page, re.M)
    assert len(listed) == len(set(listed)), "a module stands twice on the API page"
    rooms = list(dict.fromkeys(name.split(".")[0] for name in listed))
    assert set(rooms) == FLOORS.keys() - {"__init__", "__main__"}
    assert [FLOORS[r] for r in rooms] == sorted(FLOORS[r] for r in rooms) and rooms[-1] == "reproduction"


def test_what_a_room_offers_stands_on_the_api_page():
    """Every metric, baseline and study has its own module there; other rooms are listed by what they offer together."""
    page = (ROOT / "book" / "api.md").read_text()
    for folder in ("metrics", "baselines", "reproduction/figures", "reproduction/studies", "reproduction/claims"):
        missing = [
            path.stem
            for path in sorted((LIBRARY / folder).glob("[a-z]*.py"))
            if f"hebm_lib.{folder.replace('/', '.')}.{path.stem}\n" not in page
            and not re.search(
                rf"^from hebm_lib\.\S+\.{path.stem} import", (LIBRARY / folder / "__init__.py").read_text(), re.M
            )
        ]
        assert not missing, f"{folder}: {missing} are not on the API page"


def test_no_name_is_offered_by_two_rooms():
    """A name that two rooms offer would stand twice on the API page, and the book would not build."""
    offered: dict[str, set[str]] = {}
    for path in FILES:
        listed = re.search(r"^__all__ = \[(.*?)\]", path.read_text(), re.M | re.S)
        if listed and room(path) not in ("__init__", "reproduction"):
            for name in re.findall(r'"(\w+)"', listed.group(1)):
                offered.setdefault(name, set()).add(room(path))
    twice = {name: sorted(rooms) for name, rooms in offered.items() if len(rooms) > 1}
    assert not twice, twice


def test_to_read_or_sample_takes_no_library_that_is_slow_to_import():
    """Each of these takes as long as torch, or most of it, and only some calls need them: those import them themselves."""
    slow = ("lightning_fabric", "torchmetrics", "torchvision", "sklearn", "numba", "matplotlib", "scipy")
    code = f"import sys, hebm_lib.__main__; print(*[name for name in {slow} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert found.stdout.split() == []
