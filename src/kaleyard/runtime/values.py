"""What a step notebook's load and save cells call: values in and out of the kernel, by name.

The step runner says in a file (named by an environment variable) where each value lies or goes; each value saved
leaves a small record, from which the runner writes the executor output.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kaleyard.errors import DataError
from kaleyard.runtime import formats
from kaleyard.runtime.contract import IO_VARIABLE
from kaleyard.runtime.executor_io import write_whole

__all__ = ["check_inputs", "load", "metric", "save"]


def load(name: str) -> Any:
    """The value that an earlier step made under this name. Raises DataError if it is not as it was saved."""
    told = _io()["inputs"].get(name)
    if told is None:
        raise DataError(f"no earlier step handed over `{name}`")
    return formats.load(name, told["format"], Path(told["path"]), told.get("sha256"), told.get("extra") or {})


def save(name: str, value: object) -> None:
    """Hand `value` to later steps under this name. Raises DataError if it cannot travel."""
    target = Path(_io()["outputs"][name])
    target.parent.mkdir(parents=True, exist_ok=True)
    saved = formats.save(name, value, target)
    record = {"format": saved.format, "suffix": saved.suffix, "sha256": saved.sha256, "size": saved.size}
    _record(name, record | {"extra": dict(saved.extra)} | ({"closed": saved.closed} if saved.closed else {}))


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
    """Make sure that values which later steps also take are still as they were loaded.

    The runner names those values. Raises DataError for one that the step changed in place.
    """
    told = _io()
    for name in told.get("guard") or []:
        before = told["inputs"].get(name, {}).get("sha256")
        if name not in namespace or not before:
            continue
        with tempfile.TemporaryDirectory(prefix="kaleyard-") as folder:
            after = formats.save(name, namespace[name], Path(folder) / "value").sha256
        if after != before:
            raise DataError(
                f"this step changed `{name}` in place, and a later step takes it as it was before",
                fix=f"Work on a copy of it, or bind the changed value anew: `{name} = ...`.",
            )


def _io() -> dict[str, Any]:
    place = os.environ.get(IO_VARIABLE)
    if not place:
        raise DataError("this cell runs only inside a step", fix="Run the pipeline with `kaleyard run`.")
    data: dict[str, Any] = json.loads(Path(place).read_text(encoding="utf-8"))
    return data


def _record(name: str, record: dict[str, Any]) -> None:
    folder = Path(_io()["records"])
    write_whole(folder / f"{len(list(folder.glob('*.json'))):04d}.json", json.dumps({"name": name} | record))
