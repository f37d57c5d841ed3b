"""Past runs: listed, compared, and what their steps wrote."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kaleyard.project import find_project

if TYPE_CHECKING:
    from kaleyard.api.notebooks import PathLike
    from kaleyard.history import Comparison, History
    from kaleyard.local.history import StepLog

__all__ = ["compare_runs", "logs", "runs"]


def runs(pipeline: str | None = None, *, limit: int | None = None, folder: PathLike | None = None) -> History:
    """The project's runs on this machine, newest first: of one pipeline or of all, at most `limit`.

    `folder` is any folder of the project, the current one by default. A run whose record is broken is in
    `unreadable`. Raises OutsideError if the runs folder cannot be read.
    """
    from kaleyard.local.history import list_runs

    return list_runs(find_project(_path(folder)), pipeline, limit)


def compare_runs(*told: str, folder: PathLike | None = None) -> Comparison:
    """Parameters, metrics and artifact digests of runs, side by side.

    A run is its id, the beginning of it, PIPELINE/RUN, PIPELINE/latest, `latest`, or its folder. Raises UsageError if
    none or several are meant, OutsideError if a run's record is broken.
    """
    from kaleyard.history import compare
    from kaleyard.local.history import find_run, past_run

    project = find_project(_path(folder))
    return compare([past_run(find_run(project, name)) for name in told])


def logs(run: str, step: str | None = None, *, folder: PathLike | None = None) -> list[StepLog]:
    """What each step of a run, or one of them, printed and wrote, and what went wrong in it.

    `run` is as for `compare_runs`. Raises UsageError for a run or step that is not there, OutsideError if a record or
    log cannot be read.
    """
    from kaleyard.local.history import find_run, run_logs

    return run_logs(find_run(find_project(_path(folder)), run), step)


def _path(folder: PathLike | None) -> Path | None:
    return None if folder is None else Path(folder)
