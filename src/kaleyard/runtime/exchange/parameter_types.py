"""A parameter's value, brought to the type its default has."""

from __future__ import annotations

from typing import Any

from kaleyard.errors import ParameterError

__all__ = ["coerce"]

_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def coerce(name: str, value: object, kind: str, default: object = None) -> Any:
    """`value` as the type `kind` (bool, int, float, str, list or dict). Raises ParameterError if it is none.

    KFP hands numbers over as JSON, where 3 and 3.0 are one: a whole number becomes an int where an int is due, and
    inside lists and dicts unless the default holds floats there.
    """
    if kind == "bool":
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in _WORDS:
            return _WORDS[value.lower()]
    elif kind == "int":
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if isinstance(value, float) and value.is_integer():
            return int(value)
    elif kind == "float":
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
    elif kind == "str":
        if isinstance(value, str):
            return value
    elif (kind == "list" and isinstance(value, list)) or (kind == "dict" and isinstance(value, dict)):
        return value if _holds_floats(default) else _whole(value)
    raise ParameterError(f"parameter {name}: {value!r} is not of type {kind}", fix=f"Its default is {default!r}.")


def _holds_floats(value: object) -> bool:
    if isinstance(value, list):
        return any(_holds_floats(v) for v in value)
    if isinstance(value, dict):
        return any(_holds_floats(v) for v in value.values())
    return isinstance(value, float)


def _whole(value: Any) -> Any:
    if isinstance(value, list):
        return [_whole(v) for v in value]
    if isinstance(value, dict):
        return {k: _whole(v) for k, v in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value
