"""What every config does: refuse a wrong value when it is made, go to plain JSON types and come back."""

import dataclasses
import re
import types
import typing
from typing import Any, Literal

__all__ = ["from_dict", "require", "require_choices", "require_name", "to_dict"]


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


def require_name(what: str, name: str) -> None:
    """Raise `ValueError` for a name that cannot be one folder's: empty, a path, or with characters that a system forbids."""
    plain = re.fullmatch(r"[^\W_][\w@+=, .-]*", name) and not name.endswith((" ", "."))
    require(
        bool(plain),
        f"{what} becomes a folder's name: letters, digits, and - _ @ + = , . inside it, as in 'digits-2'; got {name!r}",
    )


def to_dict(config: Any) -> dict:
    """A config as plain JSON types."""
    return dataclasses.asdict(config)


def from_dict(cls: type, values: dict) -> Any:
    """The config of type ``cls`` that `to_dict` made ``values`` from.

    Raises:
        ValueError: for unknown settings, a value of another type, or one that the config itself refuses.

    Example:
        >>> from hebm_lib.config import LangevinConfig
        >>> from_dict(LangevinConfig, {"steps": 20}).steps
        20
        >>> from_dict(LangevinConfig, {"steps": "twenty"})
        Traceback (most recent call last):
        ...
        ValueError: LangevinConfig.steps: expected a whole number, got 'twenty'
    """
    require(isinstance(values, dict), f"{cls.__name__}: expected an object with settings, got {values!r}")
    hints = typing.get_type_hints(cls)
    unknown = sorted(set(values) - set(hints))
    require(not unknown, f"{cls.__name__} has no setting {', '.join(unknown)}; it has {', '.join(sorted(hints))}")
    return cls(**{name: _revive(hints[name], value, f"{cls.__name__}.{name}") for name, value in values.items()})


KINDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


def _revive(hint: Any, value: Any, name: str) -> Any:
    """A JSON value as the type that a setting has."""
    if dataclasses.is_dataclass(hint):
        return from_dict(hint, value)
    if isinstance(hint, types.UnionType):
        return None if value is None else _revive(next(a for a in hint.__args__ if a is not type(None)), value, name)
    if typing.get_origin(hint) is tuple:
        require(isinstance(value, list | tuple), f"{name}: expected a list, got {value!r}")
        return tuple(_revive(typing.get_args(hint)[0], part, name) for part in value)
    if typing.get_origin(hint) is Literal:  # which one it may be, the config itself says
        require(isinstance(value, int | str), f"{name}: expected a text or a whole number, got {value!r}")
        return value
    right = isinstance(value, (int, float) if hint is float else hint)
    require(right and (hint is bool or not isinstance(value, bool)), f"{name}: expected {KINDS[hint]}, got {value!r}")
    return value
