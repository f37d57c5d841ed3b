"""Which values share mutable parts: one object in this step would become two when the values are saved separately."""

from __future__ import annotations

import gc
import sys
import types
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["shared_parts", "travelling_together"]

# The total number of objects to look at; anything beyond that counts as not shared.
_MAX_OBJECTS = 300_000
_ATOMS = (type(None), bool, int, float, complex, str, bytes, range, type, types.ModuleType, types.BuiltinFunctionType)
_MUTABLE = (list, dict, set, bytearray)
# The limit of numpy's search for an overlap of two arrays; beyond it they count as overlapping.
_MAX_WORK = 10_000


@dataclass(slots=True)
class _MutableParts:
    """The mutable parts of a value: its objects and its arrays, by id."""

    objects: dict[int, Any] = field(default_factory=dict)
    arrays: dict[int, Any] = field(default_factory=dict)


def shared_parts(values: Mapping[str, object]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """For each name, the names of values that it shares objects with, and of those that it shares only memory with.

    Objects are lists, dicts, sets, frames, estimators and instances of the notebook's classes: any change is visible
    in both values. Memory belongs to arrays: a column added to a frame does not change the array behind the frame.
    """
    parts = _parts_by_name(values)
    names = list(parts)
    tables: tuple[dict[str, set[str]], dict[str, set[str]]] = ({}, {})
    for index, name in enumerate(names):
        for other_name in names[index + 1 :]:
            left, right = parts[name], parts[other_name]
            shares_objects = not left.objects.keys().isdisjoint(right.objects)
            if shares_objects or _same_objects(left, right) or _overlap(left, right):
                table = tables[0 if shares_objects else 1]
                table.setdefault(name, set()).add(other_name)
                table.setdefault(other_name, set()).add(name)
    objects, memory = ({name: sorted(others) for name, others in table.items()} for table in tables)
    return objects, memory


def travelling_together(values: Mapping[str, object], groups: Iterable[Collection[str]]) -> list[Sequence[str]]:
    """The groups of names that share objects but no views of arrays, so that one pickle keeps them shared.

    Two views of one array are two objects, and a pickle would make two arrays of them.
    """
    shared: list[Sequence[str]] = []
    for group in groups:
        parts = _parts_by_name({name: values[name] for name in sorted(group) if name in values})
        names = list(parts)
        pairs = [(parts[left], parts[right]) for index, left in enumerate(names) for right in names[index + 1 :]]
        same_objects = any(_same_objects(left, right) for left, right in pairs)
        if same_objects and not any(_overlap(left, right, ignore_shared=True) for left, right in pairs):
            shared.append(names)
    return shared


def _same_objects(left: _MutableParts, right: _MutableParts) -> bool:
    return not left.objects.keys().isdisjoint(right.objects) or not left.arrays.keys().isdisjoint(right.arrays)


def _overlap(left: _MutableParts, right: _MutableParts, *, ignore_shared: bool = False) -> bool:
    """Whether arrays of the two values overlap; `ignore_shared` skips pairs of arrays that both values hold."""
    if not left.arrays or not right.arrays:
        return False
    np = sys.modules["numpy"]  # imported, since there are arrays
    roots: dict[int, list[Any]] = {}
    for array in left.arrays.values():
        roots.setdefault(id(_root(array)), []).append(array)
    for array in right.arrays.values():
        for candidate in roots.get(id(_root(array)), ()):
            # Two arrays that both values hold become separate arrays, in one pickle as in two.
            if ignore_shared and id(candidate) in right.arrays and id(array) in left.arrays:
                continue
            try:
                if np.shares_memory(array, candidate, max_work=_MAX_WORK):
                    return True
            except np.exceptions.TooHardError:
                return True
    return False


def _root(array: Any) -> Any:
    """The array that owns the memory of an array."""
    while getattr(array, "base", None) is not None:
        array = array.base
    return array


def _parts_by_name(values: Mapping[str, object]) -> dict[str, _MutableParts]:
    # The parts keep references to all objects, so that no new object gets the id of a deleted one.
    budget = _MAX_OBJECTS
    parts = {}
    for name, value in values.items():
        parts[name], budget = _parts(value, budget)
    return parts


def _parts(value: object, budget: int) -> tuple[_MutableParts, int]:
    pending: list[Any] = [value]
    seen: set[int] = set()
    parts = _MutableParts()
    while pending and budget > 0:
        item = pending.pop()
        if isinstance(item, _ATOMS) or id(item) in seen:
            continue
        seen.add(id(item))
        budget -= 1
        if type(item).__module__ == "numpy" and hasattr(item, "flags"):
            if getattr(item.flags, "writeable", False):
                parts.arrays[id(item)] = item
        elif isinstance(item, _MUTABLE) or _is_mutable_instance(item):
            parts.objects[id(item)] = item
        pending += _referents(item)
    return parts, budget


def _is_mutable_instance(item: Any) -> bool:
    """Whether it is an instance of the notebook's classes, an estimator or a frame."""
    kind = type(item)
    # Not by `hasattr(item, ...)`: the object's `__getattr__` may raise, as that of a closed image does.
    is_notebook_class = kind.__module__ == "__main__" and _has_attributes(item)
    is_frame = _has_attributes(item) and "_mgr" in object.__getattribute__(item, "__dict__")
    return is_notebook_class or is_frame or (hasattr(kind, "get_params") and hasattr(kind, "fit"))


def _has_attributes(item: Any) -> bool:
    return any("__dict__" in vars(cls) for cls in type(item).__mro__)


def _referents(item: Any) -> Iterable[Any]:
    if isinstance(item, types.FunctionType):
        # Not its globals: they belong to the step, not to the function.
        cells = (cell.cell_contents for cell in item.__closure__ or () if not _is_empty(cell))
        return [*cells, *(item.__defaults__ or ()), *(item.__kwdefaults__ or {}).values()]
    kind = type(item)
    if kind.__module__.startswith("pandas."):
        manager = getattr(item, "_mgr", None)
        if manager is not None:
            # Only its values: frames share labels, block positions and dtypes, which are immutable.
            return list(getattr(manager, "arrays", ()))
        if kind.__name__.endswith(("Index", "Dtype", "BlockPlacement")):
            return ()
    if getattr(kind, "__module__", "") == "numpy" and hasattr(item, "base"):
        return ()  # the array behind a view belongs to other values
    return gc.get_referents(item)


def _is_empty(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return True
    return False
