"""The library's house rule (design.md): imports only point down, or stay on the floor without going round in a circle."""

import ast
from graphlib import TopologicalSorter

import pytest
from conftest import ROOT

LIBRARY = ROOT / "hebm_lib"
FLOORS = {
    "latents": 0,
    "config": 0,
    "results": 0,
    "tables": 0,
    "toys": 0,
    "data": 1,
    "networks": 1,
    "langevin": 1,
    "sampling": 1,
    "prior": 2,
    "model": 3,
    "algorithm": 4,
    "training": 4,
    "checkpoint": 4,
    "exact": 4,
    "baselines": 5,
    "metrics": 5,
    "experiments": 5,
    "experiments_ablations": 5,
    "experiments_baselines": 5,
    "plotting": 6,
    "widgets": 6,
    "evaluation": 6,
    "publishing": 6,
    "scoreboard": 6,
    "bench": 6,
    "studies": 6,
    "held_out": 6,
    "reproduce": 6,
    "unfamiliar": 6,
    "__main__": 7,
}
FILES = sorted(path for path in LIBRARY.rglob("*.py") if path != LIBRARY / "__init__.py")


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


def test_importing_the_library_needs_no_plotting_and_no_widgets():
    wanted = imported_rooms(LIBRARY / "__init__.py") - {"__init__"}
    assert not wanted & {
        "plotting",
        "widgets",
        "__main__",
        "evaluation",
        "publishing",
        "scoreboard",
        "bench",
        "held_out",
    }
