"""The error of a failed step, from papermill's exception and the executed notebook."""

from __future__ import annotations

import ast
import errno
import json
import re
import signal
from pathlib import Path
from typing import Any

from kaleyard.errors import (
    CellError,
    DataError,
    KernelDiedError,
    Location,
    StepError,
    StepStoppedError,
    StepTimeoutError,
)
from kaleyard.runtime.contract import METADATA, RAISES
from kaleyard.runtime.memory_limit import exceeded_limit, memory_size
from kaleyard.runtime.signals import Stopped
from kaleyard.runtime.terminal_text import without_escapes

__all__ = ["explain", "out_of_memory"]

_UNBOUND = re.compile(r"name '(\w+)' is not defined")
_DATA_ERROR = "DataError"
_SIGNALS = {
    "SIGKILL": (" (probably out of memory)", "Give the step more memory, or less data."),
    "SIGSEGV": (" (a crash in compiled code)", "Find the package that crashes, and try another version of it."),
}


def explain(error: BaseException, executed: Path, step: Location) -> StepError:
    """The error with the cell of the user's notebook that failed, and the reason."""
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    cells = _cells(executed)
    if isinstance(error, Stopped):
        return StepStoppedError("the step was stopped", place=_location(_running_cell(cells), step))
    if isinstance(error, PapermillExecutionError):
        return _cell_error(error, cells, step)
    if isinstance(error, DeadKernelError):
        return _kernel_died(_location(_running_cell(cells), step))
    if isinstance(error, CellTimeoutError):
        return StepTimeoutError("the cell ran longer than allowed", place=_location(_running_cell(cells), step))
    if isinstance(error, StepError):
        exited = next((c for c in cells if _has_exited(c)), None)
        message = "the cell called sys.exit, so the step's values were not saved" if exited else error.what
        return StepError(message, place=_location(exited, step), fix="Let the step run to its last cell.")
    fix = "Free the disk, or set TMPDIR to a larger one." if getattr(error, "errno", None) == errno.ENOSPC else None
    return StepError(f"the step could not run: {type(error).__name__}: {error}", place=step, fix=fix)


def _cell_error(error: Any, cells: list[dict[str, Any]], step: Location) -> StepError:
    failed = next((c for c in cells if _has_failed(c)), None)
    role = _metadata(failed).get("role")
    traceback = "\n".join(error.traceback)
    evalue = without_escapes(str(error.evalue))
    if role == "save" and error.ename == "NameError" and (unbound := _UNBOUND.search(evalue)):
        return _unbound_value(unbound[1], cells, step)
    if role in ("load", "save"):
        message, _, fix = evalue.partition("\n")
        if error.ename != _DATA_ERROR:
            message = f"{error.ename}: {message}"
        return DataError(message, place=step, fix=fix.strip() or None)
    fix = "The traceback is above; the executed notebook shows the cells."
    if error.ename == "StdinNotImplementedError":
        fix = "input() does not work in a pipeline. Use a parameter instead."
    return CellError(
        f"{error.ename}: {evalue}" if evalue else error.ename,
        place=_location(failed, step),
        fix=fix,
        ename=error.ename,
        evalue=evalue,
        traceback=traceback,
    )


def _unbound_value(name: str, cells: list[dict[str, Any]], step: Location) -> DataError:
    """The error for an output that has no value after the cells have run."""
    cell = next((c for c in reversed(cells) if _metadata(c).get("role") == "user" and _binds(c, name)), None)
    reason = "it is assigned only in a branch, loop or `except` that did not run" if cell else "no cell assigns it"
    fix = f"Assign a value on every path, for example `{name} = None` above the branch."
    return DataError(f"`{name}` has no value at the end of this step: {reason}", place=_location(cell, step), fix=fix)


def _binds(cell: dict[str, Any], name: str) -> bool:
    try:
        nodes = list(ast.walk(ast.parse("".join(cell.get("source", "")))))
    except SyntaxError:
        return False
    stored = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return name in stored or any(getattr(n, "name", None) == name for n in nodes)


def _kernel_died(location: Location) -> StepError:
    from kaleyard.runtime.kernels.step_kernel import exit_status

    code = exit_status()
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        if name == "SIGKILL" and (limit := exceeded_limit()):
            return out_of_memory(limit, location)
        cause, fix = _SIGNALS.get(name, ("", "Find the process that sends the signal."))
        return KernelDiedError(f"the kernel was killed by {name}{cause}", place=location, fix=fix)
    ending = f" with exit code {code}" if code is not None else ""
    return KernelDiedError(f"the kernel ended its own process{ending}", place=location, fix="Do not exit Python.")


def out_of_memory(limit: int, location: Location) -> KernelDiedError:
    """The error for a step that ran out of memory; `limit` in bytes, 0 if only the machine limits it."""
    return KernelDiedError(
        f"the step was killed: it used more memory than its limit, {memory_size(limit)}"
        if limit
        else "the step was killed: the machine has no memory left",
        place=location,
        fix="Raise its `limit:memory` tag, or use less data. Files in /tmp count as memory."
        if limit
        else "Use a machine with more memory, or less data.",
    )


def _cells(executed: Path) -> list[dict[str, Any]]:
    try:
        return list(json.loads(executed.read_text(encoding="utf-8"))["cells"])
    except (OSError, ValueError, KeyError):
        return []


def _metadata(cell: dict[str, Any] | None) -> dict[str, Any]:
    return dict((cell or {}).get("metadata", {}).get(METADATA) or {})


def _location(cell: dict[str, Any] | None, step: Location) -> Location:
    return Location(step.notebook, _metadata(cell).get("cell"), step.step)


def _running_cell(cells: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The cell that was running: the first one without a reply from the kernel.

    papermill marks all cells as `completed`, so its status is of no use.
    """
    code = (c for c in cells if c.get("cell_type") == "code" and "".join(c.get("source", "")).strip())
    return next((c for c in code if "shell.execute_reply" not in c.get("metadata", {}).get("execution", {})), None)


def _has_failed(cell: dict[str, Any]) -> bool:
    """Whether the cell raised an error and is not tagged as one that may."""
    allowed = RAISES in cell.get("metadata", {}).get("tags", ())
    return not allowed and any(o.get("output_type") == "error" for o in cell.get("outputs", []))


def _has_exited(cell: dict[str, Any]) -> bool:
    return any(o.get("ename") == "SystemExit" for o in cell.get("outputs", []))
