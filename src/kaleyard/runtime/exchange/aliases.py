"""Which values share a part that can be changed: one object here, and two once they have travelled apart."""

from __future__ import annotations

import gc
import sys
import types
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["shared_parts", "travelling_together"]

# Objects looked at in all; values of more parts are taken as they are.
_MOST = 300_000
_ATOMS = (type(None), bool, int, float, complex, str, bytes, range, type, types.ModuleType, types.BuiltinFunctionType)
_CHANGEABLE = (list, dict, set, bytearray)
# How hard numpy may try to find out whether two arrays overlap; past that they count as overlapping.
_MOST_WORK = 10_000


@dataclass(slots=True)
class _Parts:
    """What of one value can be changed: objects, and the arrays that hold its numbers."""

    objects: dict[int, Any] = field(default_factory=dict)
    arrays: dict[int, Any] = field(default_factory=dict)


def shared_parts(values: Mapping[str, object]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """For each value the names of others that it shares objects with, and of those that it shares only memory with.

    Objects are lists, dicts, sets, frames, estimators and those of the notebook's classes: any change of one is seen in
    both. Memory is that of arrays: a column added to a frame is not seen in the array it was made from.
    """
    parts = _walked(values)
    names = list(parts)
    found: tuple[dict[str, set[str]], dict[str, set[str]]] = ({}, {})
    for index, name in enumerate(names):
        for other in names[index + 1 :]:
            one, two = parts[name], parts[other]
            objects = not one.objects.keys().isdisjoint(two.objects)
            if objects or _same_objects(one, two) or _overlap(one, two):
                table = found[0 if objects else 1]
                table.setdefault(name, set()).add(other)
                table.setdefault(other, set()).add(name)
    objects_, memory = ({name: sorted(others) for name, others in table.items()} for table in found)
    return objects_, memory


def travelling_together(values: Mapping[str, object], groups: Iterable[Collection[str]]) -> list[Sequence[str]]:
    """Which of these groups of names share objects and nothing else, so that one pickle keeps what they share.

    Two views of one array are two objects: a pickle would make two arrays of them.
    """
    found: list[Sequence[str]] = []
    for group in groups:
        parts = _walked({name: values[name] for name in sorted(group) if name in values})
        names = list(parts)
        pairs = [(parts[a], parts[b]) for index, a in enumerate(names) for b in names[index + 1 :]]
        if any(_same_objects(a, b) for a, b in pairs) and not any(_overlap(a, b, apart=True) for a, b in pairs):
            found.append(names)
    return found


def _same_objects(one: _Parts, other: _Parts) -> bool:
    return not one.objects.keys().isdisjoint(other.objects) or not one.arrays.keys().isdisjoint(other.arrays)


def _overlap(one: _Parts, other: _Parts, *, apart: bool = False) -> bool:
    """Whether an array of one overlaps an array of the other; `apart`: one that the other does not hold."""
    if not one.arrays or not other.arrays:
        return False
    np = sys.modules["numpy"]  # it made the arrays
    roots: dict[int, list[Any]] = {}
    for array in one.arrays.values():
        roots.setdefault(id(_root(array)), []).append(array)
    for array in other.arrays.values():
        for candidate in roots.get(id(_root(array)), ()):
            # Two that both values hold are in one pickle as they would be in two.
            if apart and id(candidate) in one.arrays and id(array) in other.arrays:
                continue
            try:
                if np.shares_memory(array, candidate, max_work=_MOST_WORK):
                    return True
            except np.exceptions.TooHardError:
                return True
    return False


def _root(array: Any) -> Any:
    """What owns an array's memory."""
    while getattr(array, "base", None) is not None:
        array = array.base
    return array


def _walked(values: Mapping[str, object]) -> dict[str, _Parts]:
    # All are held while their ids are compared: a new object could have the id of one that is gone.
    left = _MOST
    found = {}
    for name, value in values.items():
        found[name], left = _parts(value, left)
    return found


def _parts(value: object, left: int) -> tuple[_Parts, int]:
    todo: list[Any] = [value]
    seen: set[int] = set()
    found = _Parts()
    while todo and left > 0:
        item = todo.pop()
        if isinstance(item, _ATOMS) or id(item) in seen:
            continue
        seen.add(id(item))
        left -= 1
        if type(item).__module__ == "numpy" and hasattr(item, "flags"):
            if getattr(item.flags, "writeable", False):
                found.arrays[id(item)] = item
        elif isinstance(item, _CHANGEABLE) or _is_changeable(item):
            found.objects[id(item)] = item
        todo += _inside(item)
    return found, left


def _is_changeable(item: Any) -> bool:
    """Whether it is an object of the notebook's own classes, an estimator, or a frame."""
    kind = type(item)
    # Not asked of the object itself: its own `__getattr__` may raise, as that of a picture that was closed does.
    own = kind.__module__ == "__main__" and _has_attributes(item)
    is_frame = _has_attributes(item) and "_mgr" in object.__getattribute__(item, "__dict__")
    return own or is_frame or (hasattr(kind, "get_params") and hasattr(kind, "fit"))


def _has_attributes(item: Any) -> bool:
    return any("__dict__" in vars(cls) for cls in type(item).__mro__)


def _inside(item: Any) -> Iterable[Any]:
    if isinstance(item, types.FunctionType):
        # Not its globals: the step's other names are no part of it.
        cells = (cell.cell_contents for cell in item.__closure__ or () if not _is_empty(cell))
        return [*cells, *(item.__defaults__ or ()), *(item.__kwdefaults__ or {}).values()]
    kind = type(item)
    if kind.__module__.startswith("pandas."):
        manager = getattr(item, "_mgr", None)
        if manager is not None:
            # Its values alone: frames share labels, block positions and types, and nobody can change those.
            return list(getattr(manager, "arrays", ()))
        if kind.__name__.endswith(("Index", "Dtype", "BlockPlacement")):
            return ()
    if getattr(kind, "__module__", "") == "numpy" and hasattr(item, "base"):
        return ()  # what it is a view of belongs to others
    return gc.get_referents(item)


def _is_empty(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return True
    return False
