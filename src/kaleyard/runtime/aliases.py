"""Which values share a part that can be changed: one object here, and two once they have travelled apart."""

from __future__ import annotations

import gc
import types
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["shared_parts"]

# Objects looked at in all; values of more parts are taken as they are.
_MOST = 300_000
_ATOMS = (type(None), bool, int, float, complex, str, bytes, range, type, types.ModuleType, types.BuiltinFunctionType)
_CHANGEABLE = (list, dict, set, bytearray)


def shared_parts(values: Mapping[str, object]) -> dict[str, list[str]]:
    """For each value the names of others that it shares a list, dict, set, array or notebook's object with."""
    owners: dict[int, set[str]] = {}
    found: dict[str, set[str]] = {}
    left = _MOST
    for name, value in values.items():
        # Held while their ids are compared: a new object could have the id of one that is gone.
        parts, left = _parts(value, left)
        for part in parts:
            others = owners.setdefault(id(part), set())
            for other in others - {name}:
                found.setdefault(other, set()).add(name)
                found.setdefault(name, set()).add(other)
            others.add(name)
    return {name: sorted(others) for name, others in found.items()}


def _parts(value: object, left: int) -> tuple[list[Any], int]:
    """What of a value can be changed, the value itself included."""
    todo: list[Any] = [value]
    seen: set[int] = set()
    found = []
    while todo and left > 0:
        item = todo.pop()
        if isinstance(item, _ATOMS) or id(item) in seen:
            continue
        seen.add(id(item))
        left -= 1
        root = _array_root(item)
        if root is not None:
            found.append(root)
        elif _is_ours(item) or isinstance(item, _CHANGEABLE):
            found.append(item)
        todo += _inside(item)
    return found, left


def _inside(item: Any) -> Iterable[Any]:
    if isinstance(item, types.FunctionType):
        # Not its globals: the step's other names are no part of it.
        cells = (cell.cell_contents for cell in item.__closure__ or () if not _is_empty(cell))
        return [*cells, *(item.__defaults__ or ()), *(item.__kwdefaults__ or {}).values()]
    kind = type(item)
    if kind.__module__.startswith("pandas.") and kind.__name__.endswith(("Index", "Dtype")):
        # Frames share these, and nobody can change them.
        return ()
    return gc.get_referents(item)


def _is_empty(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return True
    return False


def _is_ours(item: Any) -> bool:
    return type(item).__module__ == "__main__" and hasattr(item, "__dict__")


def _array_root(item: Any) -> Any:
    """The array that owns a numpy array's memory, if the array may be written to; None for anything else."""
    flags = getattr(item, "flags", None)
    if type(item).__module__ != "numpy" or not getattr(flags, "writeable", False):
        return None
    while getattr(item, "base", None) is not None:
        item = item.base
    return item
