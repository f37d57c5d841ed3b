"""A parameter's value, converted to the type of its default."""

from __future__ import annotations

from typing import Any

from kaleyard.errors import ParameterError

__all__ = ["coerce"]

_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def coerce(name: str, value: object, kind: str, default: object = None) -> Any:
    """`value` as the type `kind` (bool, int, float, str, list or dict). Raises ParameterError if it does not fit.

    KFP passes numbers as JSON, where 3 and 3.0 are the same. A whole number becomes an int if the type is int, and
    in lists and dicts unless the default holds floats.
    """
    if kind == "bool":
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in _BOOLEANS:
            return _BOOLEANS[value.lower()]
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
        return value if _holds_floats(default) else _with_ints(value)
    raise ParameterError(f"parameter {name}: {value!r} is not of type {kind}", fix=f"Its default is {default!r}.")


def _holds_floats(value: object) -> bool:
    if isinstance(value, list):
        return any(_holds_floats(v) for v in value)
    if isinstance(value, dict):
        return any(_holds_floats(v) for v in value.values())
    return isinstance(value, float)


def _with_ints(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_ints(v) for v in value]
    if isinstance(value, dict):
        return {k: _with_ints(v) for k, v in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value
