"""The functions that a step notebook's load and save cells call: load and save values by name.

An environment variable names the file with the path of each value. Each saved value leaves a small record, from which
the runtime writes the executor output.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from kaleyard.errors import DataError
from kaleyard.runtime import serializers as formats
from kaleyard.runtime.contract import IO_VARIABLE, RANDOM_STATE
from kaleyard.runtime.exchange.aliases import shared_parts, travelling_together
from kaleyard.runtime.exchange.random_state import random_state, set_random_state
from kaleyard.runtime.executor_io import atomic_write
from kaleyard.runtime.serializers.pickling.definitions import LoadedDefinitions
from kaleyard.runtime.serializers.value_groups import Together

__all__ = [
    "check_inputs",
    "load",
    "load_if_made",
    "load_random_state",
    "metric",
    "note_remade",
    "note_shared",
    "save",
    "save_if_made",
    "save_random_state",
    "trust_classes",
]

_SHARES = "shares"
_MEMORY = "memory"
_UNSET = "unmade"
# This kernel's values by name: loaded values that share parts with others, saved values with the paths of their
# records, and values of shared cells with their digests. Groups saved together are loaded once, by digest.
_LOADED: dict[str, tuple[Any, list[str], list[str]]] = {}
_SAVED: dict[str, tuple[Any, Path]] = {}
_REMADE: dict[str, tuple[Any, str]] = {}
_TOGETHER: dict[str, Together] = {}


def trust_classes(*names: str) -> None:
    """Use the notebook's classes of these names for loaded values, even if steps have changed the classes."""
    LoadedDefinitions.evolving = frozenset(names)


def load(name: str, *, changed: Collection[str] = ()) -> Any:
    """The value that an earlier step saved under this name; `changed` are names that have another meaning since then.

    Raises DataError if its file has changed, or if a function in it reads one of the changed names.
    """
    source = _io()["inputs"].get(name)
    if source is None:
        raise DataError(f"no earlier step saved `{name}`")
    # A function reads the step's own value of a name before the one that was saved with the function.
    changed = [n for n in changed if n not in _io()["inputs"] and n not in vars(sys.modules["__main__"])]
    extra = source.get("extra") or {}
    sharing, overlapping = ([n for n in extra.get(key, "").split(",") if n] for key in (_SHARES, _MEMORY))
    value = _TOGETHER.get(source.get("sha256") or "") or _read(name, source, changed)
    if isinstance(value, Together):
        _TOGETHER[source.get("sha256") or ""] = value
        value = value.values[name]
    if sharing or overlapping:
        _LOADED[name] = (value, sharing, overlapping)
    return value


def load_if_made(name: str, namespace: dict[str, Any], *, changed: Collection[str] = ()) -> None:
    """Set the name to the value that an earlier step saved, unless that step did not assign it."""
    extra = _io()["inputs"].get(name, {}).get("extra") or {}
    if not extra.get(_UNSET):
        namespace[name] = load(name, changed=changed)


def save_if_made(name: str, namespace: Mapping[str, Any]) -> None:
    """Save the value of a name for later steps, or record that it has none."""
    if name in namespace:
        save(name, namespace[name])
        return
    target = Path(_io()["outputs"][name])
    _record(name, _save_to(name, None, target) | {"extra": {_UNSET: "yes"}})


def _read(name: str, source: Mapping[str, Any], changed: Collection[str] = ()) -> Any:
    extra = {k: v for k, v in (source.get("extra") or {}).items() if k not in (_SHARES, _MEMORY)}
    return formats.load(name, source["format"], Path(source["path"]), source.get("sha256"), extra, changed)


def save(name: str, value: object) -> None:
    """Save `value` under this name for later steps. Raises DataError if no serializer can keep it."""
    target = Path(_io()["outputs"][name])
    _SAVED[name] = (value, _record(name, _save_to(name, value, target)))


def load_random_state() -> None:
    """Restore the random number generators as the previous step left them."""
    set_random_state(load(RANDOM_STATE))


def save_random_state(kinds: Collection[str]) -> None:
    """Save the state of these random number generators."""
    state = random_state(kinds)
    # The other generators keep the state that was loaded.
    before = _read(RANDOM_STATE, _io()["inputs"][RANDOM_STATE]) if RANDOM_STATE in _io()["inputs"] else {}
    save(RANDOM_STATE, before | state)


def _save_to(name: str, value: object, target: Path) -> dict[str, Any]:
    target.parent.mkdir(parents=True, exist_ok=True)
    saved = formats.save(name, value, target)
    record = {"format": saved.format, "suffix": saved.suffix, "sha256": saved.sha256, "size": saved.size}
    return record | {"extra": dict(saved.extra)} | ({"closed": saved.closed} if saved.closed else {})


def note_shared(*groups: Collection[str]) -> None:
    """Save values that share objects together, and record which other values share parts.

    `groups` are names that may refer to one object, according to the code: they are saved in one file.
    """
    values = {name: value for name, (value, _) in _SAVED.items()}
    for names in travelling_together(values, groups):
        together = Together({name: values[name] for name in names})
        for name in names:
            path = _SAVED[name][1]
            record = _save_to(name, together, Path(_io()["outputs"][name]))
            atomic_write(path, json.dumps({"name": name} | record))
    for key, table in zip((_SHARES, _MEMORY), shared_parts(values), strict=True):
        for name, others in table.items():
            path = _SAVED[name][1]
            record = json.loads(path.read_text(encoding="utf-8"))
            record["extra"][key] = ",".join(others)
            atomic_write(path, json.dumps(record))


def note_remade(namespace: Mapping[str, Any]) -> None:
    """Record the digests of the values that this step and later steps each compute again."""
    io = _io()
    for name in io.get("guard") or []:
        # A path does not change when its files do.
        if name in namespace and name not in io["inputs"] and not isinstance(namespace[name], Path):
            # Values that cannot be saved (a lock, a connection) have no state to compare.
            with contextlib.suppress(DataError):
                _REMADE[name] = (namespace[name], _digest(name, namespace[name]))


def metric(name: str, value: object) -> None:
    """Record a metric: a finite or infinite real number. Raises DataError for anything else."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = None
    if number is None or isinstance(value, (str, bytes)):
        raise DataError(
            f"the metric `{name}` is of type {type(value).__name__}, not a number",
            fix="Convert it to a number, for example with `float(...)` or `.mean()`.",
        )
    is_whole = number.is_integer() and math.isfinite(number) and not isinstance(value, float)
    _record(f"metric {name}", {"metric": name, "value": int(number) if is_whole else number})


def check_inputs(namespace: Mapping[str, Any]) -> None:
    """Check that the step has not changed values that other steps or values also use.

    These are inputs that later steps also take, values that later steps compute again, and values that share parts with
    others. Raises DataError for a value that was changed in place.
    """
    io = _io()
    for name in io.get("guard") or []:
        if name in namespace and _is_changed(name, namespace[name]):
            raise DataError(
                f"this step changed `{name}` in place, but a later step needs the unchanged value",
                fix=f"Change a copy of it, or assign the changed value: `{name} = ...`.",
            )
    for name, (value, before) in _REMADE.items():
        if isinstance(value, type) and namespace.get(name) is not value:
            continue  # the name refers to another class now
        after = ""
        with contextlib.suppress(DataError):
            after = _digest(name, value)
        if after != before:
            raise DataError(
                f"this step changed `{name}` in place, but a later step computes it again in a shared cell",
                fix=f"Change a copy of it, or pass on the changed value: `{name} = {name}` below the change.",
            )
    for name, (value, sharing, overlapping) in _LOADED.items():
        # Values from the same file are the same object and change with it.
        own_digest = io["inputs"].get(name, {}).get("sha256")
        others = [n for n in sharing if io["inputs"].get(n, {}).get("sha256") != own_digest]
        others += overlapping if overlapping and _are_columns_changed(name, value) else []
        if others and _is_changed(name, value):
            names = " and ".join(f"`{other}`" for other in others)
            raise DataError(
                f"this step changed `{name}` in place, but {names} did not change with it: they are one object in the "
                "step that made them, and separate copies here",
                fix="Copy one of them in the step that makes them, or make the change there.",
            )


def _is_changed(name: str, value: object) -> bool:
    """Whether a value has changed since it was loaded.

    Some values are written as other bytes after they have been read, without any change. So if the digests differ, the
    file is read again, and the digests of both values are compared.
    """
    source = _io()["inputs"].get(name, {})
    before = source.get("sha256")
    if not before or isinstance(value, Path):
        return False
    now = _digest(name, value)
    if now == before:
        return False
    with LoadedDefinitions.comparing():
        again = _read(name, source)
    return now != _digest(name, again.values[name] if isinstance(again, Together) else again)


def _are_columns_changed(name: str, value: Any) -> bool:
    """Whether the columns that a frame had when it was loaded have changed; True for values that are not frames.

    Added columns and removed rows do not count: their memory is not shared.
    """
    if not hasattr(value, "_mgr") or not hasattr(value, "columns"):
        return True
    before = _read(name, _io()["inputs"][name])
    if not before.index.equals(value.index):
        return False
    return any(c in value.columns and not before[c].equals(value[c]) for c in before.columns)


def _digest(name: str, value: object) -> str:
    with tempfile.TemporaryDirectory(prefix="kaleyard-") as folder, LoadedDefinitions.comparing():
        return formats.save(name, value, Path(folder) / "value").sha256


def _io() -> dict[str, Any]:
    path = os.environ.get(IO_VARIABLE)
    if not path:
        raise DataError("this cell runs only in a step of a pipeline", fix="Run the pipeline with `kaleyard run`.")
    data: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    return data


def _record(name: str, record: dict[str, Any]) -> Path:
    folder = Path(_io()["records"])
    path = folder / f"{len(list(folder.glob('*.json'))):04d}.json"
    atomic_write(path, json.dumps({"name": name} | record))
    return path
