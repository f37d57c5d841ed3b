"""What went wrong in a step, told from papermill's exception and the executed notebook."""

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
    "SIGKILL": (" (out of memory, perhaps)", "Give the step more memory, or less data."),
    "SIGSEGV": (" (a crash in compiled code)", "Find the package that crashes; another version of it may not."),
}


def explain(error: BaseException, executed: Path, place: Location) -> StepError:
    """The error that says which cell of the user's notebook failed, and how."""
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    cells = _cells(executed)
    if isinstance(error, Stopped):
        return StepStoppedError("the step was stopped", place=_at(_running(cells), place))
    if isinstance(error, PapermillExecutionError):
        return _cell_error(error, cells, place)
    if isinstance(error, DeadKernelError):
        return _dead(_at(_running(cells), place))
    if isinstance(error, CellTimeoutError):
        return StepTimeoutError("the cell ran longer than allowed", place=_at(_running(cells), place))
    if isinstance(error, StepError):
        exited = next((c for c in cells if _exited(c)), None)
        what = "the cell called sys.exit, so the step's values were not handed over" if exited else error.what
        return StepError(what, place=_at(exited, place), fix="Let the step run to its last cell.")
    fix = "Free the disk, or set TMPDIR to a larger one." if getattr(error, "errno", None) == errno.ENOSPC else None
    return StepError(f"the step could not be run: {type(error).__name__}: {error}", place=place, fix=fix)


def _cell_error(error: Any, cells: list[dict[str, Any]], place: Location) -> StepError:
    failed = next((c for c in cells if _raised(c)), None)
    role = _ours(failed).get("role")
    traceback = "\n".join(error.traceback)
    plain = without_escapes(str(error.evalue))
    if role == "save" and error.ename == "NameError" and (lost := _UNBOUND.search(plain)):
        return _not_made(lost[1], cells, place)
    if role in ("load", "save"):
        what, _, fix = plain.partition("\n")
        if error.ename != _DATA_ERROR:
            what = f"{error.ename}: {what}"
        return DataError(what, place=place, fix=fix.strip() or None)
    fix = "The traceback is above; the executed notebook shows the cells."
    if error.ename == "StdinNotImplementedError":
        fix = "Nobody can answer input() in a pipeline: make it a parameter."
    return CellError(
        f"{error.ename}: {plain}" if plain else error.ename,
        place=_at(failed, place),
        fix=fix,
        ename=error.ename,
        evalue=plain,
        traceback=traceback,
    )


def _not_made(name: str, cells: list[dict[str, Any]], place: Location) -> DataError:
    """The error about a value that a later step takes, and that has no value once the cells have run."""
    cell = next((c for c in reversed(cells) if _ours(c).get("role") == "user" and _binds(c, name)), None)
    why = "it is bound only in a branch, a loop or an `except` that was not run" if cell else "no cell of it binds it"
    fix = f"Give it a value on every path, for instance `{name} = None` above the branch."
    return DataError(f"`{name}` was not made by this step in this run: {why}", place=_at(cell, place), fix=fix)


def _binds(cell: dict[str, Any], name: str) -> bool:
    try:
        nodes = list(ast.walk(ast.parse("".join(cell.get("source", "")))))
    except SyntaxError:
        return False
    stored = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return name in stored or any(getattr(n, "name", None) == name for n in nodes)


def _dead(place: Location) -> StepError:
    from kaleyard.runtime.kernels.step_kernel import exit_status

    code = exit_status()
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        if name == "SIGKILL" and (limit := exceeded_limit()):
            return out_of_memory(limit, place)
        what, fix = _SIGNALS.get(name, ("", "Look for what sends the signal."))
        return KernelDiedError(f"the kernel was killed by {name}{what}", place=place, fix=fix)
    ending = f" with exit code {code}" if code is not None else ""
    return KernelDiedError(f"the kernel ended its own process{ending}", place=place, fix="Do not end Python in a cell.")


def out_of_memory(limit: int, place: Location) -> KernelDiedError:
    """The error about a step that needed more memory than it may have; `limit` in bytes, 0 if it is the machine's."""
    return KernelDiedError(
        f"the step was killed: it used more memory than its limit, {memory_size(limit)}"
        if limit
        else "the step was killed: the machine has no memory left",
        place=place,
        fix="Raise its tag limit:memory, or give it less data; what it writes to /tmp counts as memory."
        if limit
        else "Give the machine more memory, or the step less data.",
    )


def _cells(executed: Path) -> list[dict[str, Any]]:
    try:
        return list(json.loads(executed.read_text(encoding="utf-8"))["cells"])
    except (OSError, ValueError, KeyError):
        return []


def _ours(cell: dict[str, Any] | None) -> dict[str, Any]:
    return dict((cell or {}).get("metadata", {}).get(METADATA) or {})


def _at(cell: dict[str, Any] | None, place: Location) -> Location:
    return Location(place.notebook, _ours(cell).get("cell"), place.step)


def _running(cells: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The cell that was running: the first one the kernel never answered for, since cells run in their order.

    papermill's own status says `completed` of all cells.
    """
    code = (c for c in cells if c.get("cell_type") == "code" and "".join(c.get("source", "")).strip())
    return next((c for c in code if "shell.execute_reply" not in c.get("metadata", {}).get("execution", {})), None)


def _raised(cell: dict[str, Any]) -> bool:
    """Whether the cell raised, and was not allowed to."""
    allowed = RAISES in cell.get("metadata", {}).get("tags", ())
    return not allowed and any(o.get("output_type") == "error" for o in cell.get("outputs", []))


def _exited(cell: dict[str, Any]) -> bool:
    return any(o.get("ename") == "SystemExit" for o in cell.get("outputs", []))
