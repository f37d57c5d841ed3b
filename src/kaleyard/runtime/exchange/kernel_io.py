"""What a step notebook's load and save cells call: values in and out of the kernel, by name.

The step runner says in a file (named by an environment variable) where each value lies or goes; each value saved
leaves a small record, from which the runner writes the executor output.
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
_UNMADE = "unmade"
# This kernel's values by name: those loaded that share a part with others, all saved with their records, and those of
# shared cells with their digests. Values that travel together are loaded once, by the digest of their file.
_LOADED: dict[str, tuple[Any, list[str], list[str]]] = {}
_SAVED: dict[str, tuple[Any, Path]] = {}
_REMADE: dict[str, tuple[Any, str]] = {}
_TOGETHER: dict[str, Together] = {}


def trust_classes(*names: str) -> None:
    """Take these classes of the notebook for those of values, whatever steps have put into them since."""
    LoadedDefinitions.evolving = frozenset(names)


def load(name: str, *, changed: Collection[str] = ()) -> Any:
    """The value that an earlier step made under this name; `changed` are names that mean something else since then.

    Raises DataError if it is not as it was saved, or if a function in it reads one of these names.
    """
    told = _io()["inputs"].get(name)
    if told is None:
        raise DataError(f"no earlier step handed over `{name}`")
    # A function reads what the step itself takes or makes under a name, not what came with the function.
    changed = [n for n in changed if n not in _io()["inputs"] and n not in vars(sys.modules["__main__"])]
    extra = told.get("extra") or {}
    sharers, overlapping = extra.get(_SHARES, ""), extra.get(_MEMORY, "")
    value = _TOGETHER.get(told.get("sha256") or "") or _read(name, told, changed)
    if isinstance(value, Together):
        _TOGETHER[told.get("sha256") or ""] = value
        value = value.values[name]
    if sharers or overlapping:
        _LOADED[name] = (value, [s for s in sharers.split(",") if s], [s for s in overlapping.split(",") if s])
    return value


def load_if_made(name: str, namespace: dict[str, Any], *, changed: Collection[str] = ()) -> None:
    """Give the name the value that an earlier step made under it; none if that step went another way."""
    extra = _io()["inputs"].get(name, {}).get("extra") or {}
    if not extra.get(_UNMADE):
        namespace[name] = load(name, changed=changed)


def save_if_made(name: str, namespace: Mapping[str, Any]) -> None:
    """Hand the value of a name to later steps, or say that it has none."""
    if name in namespace:
        save(name, namespace[name])
        return
    target = Path(_io()["outputs"][name])
    _record(name, _written(name, None, target) | {"extra": {_UNMADE: "yes"}})


def _read(name: str, told: Mapping[str, Any], changed: Collection[str] = ()) -> Any:
    extra = {k: v for k, v in (told.get("extra") or {}).items() if k not in (_SHARES, _MEMORY)}
    return formats.load(name, told["format"], Path(told["path"]), told.get("sha256"), extra, changed)


def save(name: str, value: object) -> None:
    """Hand `value` to later steps under this name. Raises DataError if it cannot travel."""
    target = Path(_io()["outputs"][name])
    _SAVED[name] = (value, _record(name, _written(name, value, target)))


def load_random_state() -> None:
    """Go on drawing random numbers where the step before has stopped."""
    set_random_state(load(RANDOM_STATE))


def save_random_state(kinds: Collection[str]) -> None:
    """Hand over the state of these generators of random numbers."""
    state = random_state(kinds)
    # One that this step did not touch is as it came.
    before = _read(RANDOM_STATE, _io()["inputs"][RANDOM_STATE]) if RANDOM_STATE in _io()["inputs"] else {}
    save(RANDOM_STATE, before | state)


def _written(name: str, value: object, target: Path) -> dict[str, Any]:
    target.parent.mkdir(parents=True, exist_ok=True)
    saved = formats.save(name, value, target)
    record = {"format": saved.format, "suffix": saved.suffix, "sha256": saved.sha256, "size": saved.size}
    return record | {"extra": dict(saved.extra)} | ({"closed": saved.closed} if saved.closed else {})


def note_shared(*groups: Collection[str]) -> None:
    """Keep as one what the values handed over share, or note with them that they share it.

    `groups` are names that may be one object by the code that made them: what these share travels together.
    """
    values = {name: value for name, (value, _) in _SAVED.items()}
    for names in travelling_together(values, groups):
        together = Together({name: values[name] for name in names})
        for name in names:
            path = _SAVED[name][1]
            record = _written(name, together, Path(_io()["outputs"][name]))
            atomic_write(path, json.dumps({"name": name} | record))
    for word, table in zip((_SHARES, _MEMORY), shared_parts(values), strict=True):
        for name, others in table.items():
            path = _SAVED[name][1]
            record = json.loads(path.read_text(encoding="utf-8"))
            record["extra"][word] = ",".join(others)
            atomic_write(path, json.dumps(record))


def note_remade(namespace: Mapping[str, Any]) -> None:
    """Note what those values are like that this step and later ones make again, each for itself."""
    told = _io()
    for name in told.get("guard") or []:
        # A path does not change when the files do that it leads to.
        if name in namespace and name not in told["inputs"] and not isinstance(namespace[name], Path):
            # What cannot travel (a lock, a connection) has no state that could be compared.
            with contextlib.suppress(DataError):
                _REMADE[name] = (namespace[name], _digest(name, namespace[name]))


def metric(name: str, value: object) -> None:
    """Tell a metric: a finite or infinite real number. Raises DataError for anything else."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = None
    if number is None or isinstance(value, (str, bytes)):
        raise DataError(
            f"the metric `{name}` is a {type(value).__name__}, not a number",
            fix="Make it a number, for instance with `float(...)` or `.mean()`.",
        )
    whole = number.is_integer() and math.isfinite(number) and not isinstance(value, float)
    _record(f"metric {name}", {"metric": name, "value": int(number) if whole else number})


def check_inputs(namespace: Mapping[str, Any]) -> None:
    """Make sure that values which later steps also take are still as they were loaded, and those that share a part.

    The runner names the first, and who made the others has noted it. Raises DataError for one that the step changed
    in place.
    """
    told = _io()
    for name in told.get("guard") or []:
        if name in namespace and _is_changed(name, namespace[name]):
            raise DataError(
                f"this step changed `{name}` in place, and a later step takes it as it was before",
                fix=f"Work on a copy of it, or bind the changed value anew: `{name} = ...`.",
            )
    for name, (value, before) in _REMADE.items():
        if isinstance(value, type) and namespace.get(name) is not value:
            continue  # another class has the name by now
        after = ""
        with contextlib.suppress(DataError):
            after = _digest(name, value)
        if after != before:
            raise DataError(
                f"this step changed `{name}` in place, and a later step makes it again in a shared cell",
                fix=f"Work on a copy of it, or hand it on as it is by now: `{name} = {name}`, below the change.",
            )
    for name, (value, sharers, overlapping) in _LOADED.items():
        # Those that came together with it have changed with it.
        here = told["inputs"].get(name, {}).get("sha256")
        others = [o for o in sharers if told["inputs"].get(o, {}).get("sha256") != here]
        others += overlapping if overlapping and _are_columns_changed(name, value) else []
        if others and _is_changed(name, value):
            names = " and ".join(f"`{other}`" for other in others)
            raise DataError(
                f"this step changed `{name}` in place, and {names} would not change with it: they were made as one "
                "object, and have travelled apart",
                fix="Make one of them a copy where they are made, or change it there.",
            )


def _is_changed(name: str, value: object) -> bool:
    """Whether a value is not what it was when it was loaded.

    Some values are written in other bytes once they have been read, without any change: what was loaded is read once
    more and measured as this one is.
    """
    told = _io()["inputs"].get(name, {})
    before = told.get("sha256")
    if not before or isinstance(value, Path):
        return False
    now = _digest(name, value)
    if now == before:
        return False
    with LoadedDefinitions.comparing():
        again = _read(name, told)
    return now != _digest(name, again.values[name] if isinstance(again, Together) else again)


def _are_columns_changed(name: str, value: Any) -> bool:
    """Whether what a frame held when it was loaded has other values now; of any other value, whether it changed.

    Columns that were added, and rows that were taken away, are in memory of their own.
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
    place = os.environ.get(IO_VARIABLE)
    if not place:
        raise DataError("this cell runs only inside a step", fix="Run the pipeline with `kaleyard run`.")
    data: dict[str, Any] = json.loads(Path(place).read_text(encoding="utf-8"))
    return data


def _record(name: str, record: dict[str, Any]) -> Path:
    folder = Path(_io()["records"])
    path = folder / f"{len(list(folder.glob('*.json'))):04d}.json"
    atomic_write(path, json.dumps({"name": name} | record))
    return path
