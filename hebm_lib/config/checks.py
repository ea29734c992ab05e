"""What every config does: refuse a wrong value when it is made, go to plain JSON types and come back."""

import dataclasses
import types
import typing
from typing import Any, Literal

__all__ = ["from_dict", "require", "require_choices", "to_dict"]


def require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def require_choices(config: Any) -> None:
    """Raise `ValueError` where a setting (or an entry of a tuple) is none of the choices that its type names."""
    for name, hint in typing.get_type_hints(type(config)).items():
        value = getattr(config, name)
        values = (value,)
        if typing.get_origin(hint) is tuple:
            hint, values = typing.get_args(hint)[0], value
        if typing.get_origin(hint) is Literal:
            choices = typing.get_args(hint)
            wrong = [v for v in values if v not in choices]
            require(not wrong, f"{type(config).__name__}.{name}: {wrong} not among {', '.join(map(repr, choices))}")


def to_dict(config: Any) -> dict:
    """A config as plain JSON types."""
    return dataclasses.asdict(config)


def from_dict(cls: type, values: dict) -> Any:
    """The config of type ``cls`` that `to_dict` made ``values`` from; unknown keys raise `ValueError`."""
    hints = typing.get_type_hints(cls)
    unknown = sorted(set(values) - set(hints))
    require(not unknown, f"{cls.__name__} has no setting {', '.join(unknown)}; it has {', '.join(sorted(hints))}")
    return cls(**{name: _revive(hints[name], value) for name, value in values.items()})


def _revive(hint: Any, value: Any) -> Any:
    if dataclasses.is_dataclass(hint):
        return from_dict(hint, value)
    if isinstance(hint, types.UnionType):
        return None if value is None else _revive(next(a for a in hint.__args__ if a is not type(None)), value)
    return tuple(value) if isinstance(value, list) else value
