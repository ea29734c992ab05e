"""Every public function and class shows how it is called. The examples themselves run as doctests (see pyproject.toml)."""

import importlib
import inspect
import pkgutil

import pytest

import hebm_lib

ROOMS = ("hebm_lib.networks", "hebm_lib.metrics", "hebm_lib.baselines")


def public_names() -> list[tuple[str, object]]:
    """What the package, and each module of the rooms above, names as public; constants need no example."""
    rooms = [importlib.import_module(room) for room in ROOMS]
    inside = [m.name for room in rooms for m in pkgutil.iter_modules(room.__path__, room.__name__ + ".")]
    modules = [hebm_lib, *map(importlib.import_module, inside)]
    named = [(f"{module.__name__}.{name}", getattr(module, name)) for module in modules for name in module.__all__]
    return [(name, thing) for name, thing in named if inspect.isclass(thing) or inspect.isfunction(thing)]


@pytest.mark.parametrize(("name", "thing"), [pytest.param(*pair, id=pair[0]) for pair in public_names()])
def test_a_public_name_has_an_example(name, thing):
    assert ">>> " in (thing.__doc__ or ""), f"{name} has no example in its docstring"


def test_the_names_of_the_package_and_its_rooms_are_looked_at():
    names = {name for name, _ in public_names()}
    assert {f"hebm_lib.{name}" for name in hebm_lib.__all__} <= names
    assert all(any(name.startswith(f"{room}.") for name in names) for room in ROOMS)
