"""The runs in the runs folder: list them, find one by a short name, read its logs."""

from __future__ import annotations

import json
import re
from pathlib import Path

from kaleyard.config import Project
from kaleyard.errors import ExternalError, UsageError
from kaleyard.records.past_runs import History, PastRun, StepLog
from kaleyard.records.run_record import Run, StepRun, load_run
from kaleyard.reporting.console import error_lines

__all__ = ["find_run", "list_runs", "past_run", "run_logs"]

_STAMP = re.compile(r"(\d{8}-\d{6})(?:-(\d+))?")  # as the scheduler names folders
_LATEST = "latest"
_AGAIN = "Run the pipeline again."
_MOST_NAMED = 5  # runs in a message
_FIX = "List runs with `kaleyard runs`. Name one as RUN (or its beginning), PIPELINE/RUN, PIPELINE/latest or latest."


def list_runs(project: Project, pipeline: str | None = None, limit: int | None = None) -> History:
    """The runs of the project, or of one of its pipelines, newest first, at most `limit`."""
    folders = _folders(project, pipeline)
    runs: list[PastRun] = []
    unreadable: dict[str, str] = {}
    shown = folders if limit is None else folders[:limit]
    for folder in shown:
        try:
            runs.append(past_run(load_run(folder)))
        except ExternalError as error:
            unreadable[project.relative(folder)] = error.what
    return History(runs, len(folders) - len(shown), unreadable)


def past_run(run: Run) -> PastRun:
    """A run on this machine in the form that local and remote runs share."""
    digests = {f"{step.name}.{a.name}": a.sha256 for step in run.steps.values() for a in step.artifacts}
    return PastRun(
        run.id, run.pipeline, "local", run.state, run.started, run.seconds, run.parameters, run.metrics, digests
    )


def find_run(project: Project, name: str) -> Run:
    """The run that `name` refers to: its id or the beginning of it, PIPELINE/RUN, PIPELINE/latest, latest, or a folder.

    Raises UsageError if no run or several match, ExternalError if its run.json cannot be read.
    """
    if (Path(name) / "run.json").is_file():
        return load_run(Path(name).resolve())
    pipeline, _, run_id = name.rpartition("/")
    folders = _folders(project, pipeline or None)
    if run_id == _LATEST:
        matches = folders[:1]
    else:
        matches = [f for f in folders if f.name == run_id]
        matches = matches or [f for f in folders if run_id and f.name.startswith(run_id)]
    if not matches:
        raise UsageError(f"there is no run {name}", fix=_FIX)
    if len(matches) > 1:
        names = ", ".join(f"{f.parent.name}/{f.name}" for f in matches[:_MOST_NAMED])
        more = ", …" if len(matches) > _MOST_NAMED else ""
        raise UsageError(f"{name} matches {len(matches)} runs: {names}{more}", fix=_FIX)
    return load_run(matches[0])


def run_logs(run: Run, step: str | None = None) -> list[StepLog]:
    """The logs of the run's steps, or of one step. Raises UsageError if there is no such step."""
    if step is not None and step not in run.steps:
        raise UsageError(f"run {run.pipeline}/{run.id} has no step {step}", fix=f"Its steps: {', '.join(run.steps)}.")
    return [_log(run, s) for s in run.steps.values() if step in (None, s.name)]


def _log(run: Run, step: StepRun) -> StepLog:
    text = _read(run.folder / step.log) if step.log else ""
    notebook = run.folder / step.notebook if step.notebook else None
    error = "\n".join(error_lines(step.error)) if step.error else ""
    return StepLog(step.name, step.state, _printed(notebook) if notebook else "", text, error, notebook)


def _printed(notebook: Path) -> str:
    """What the cells of an executed notebook wrote to stdout and stderr."""
    try:
        cells = json.loads(_read(notebook))["cells"]
        outputs = [o for cell in cells for o in cell.get("outputs", ()) if o["output_type"] == "stream"]
        return "".join("".join(o["text"]) for o in outputs)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ExternalError(f"{notebook} is not a notebook: {error}", fix=_AGAIN) from error


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ExternalError(f"{path} cannot be read: {error.strerror}", fix=_AGAIN) from error


def _folders(project: Project, pipeline: str | None) -> list[Path]:
    """The folders of runs, newest first. They are sorted by name, so that none has to be read."""
    try:
        parents = [p for p in project.runs_folder.iterdir() if p.is_dir() and pipeline in (None, p.name)]
        folders = [f for parent in parents for f in parent.iterdir() if (f / "run.json").is_file()]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ExternalError(
            f"{error.filename} cannot be read: {error.strerror}", fix="Make it readable, or set KALEYARD_RUNS."
        ) from error
    return sorted(folders, key=_age, reverse=True)


def _age(folder: Path) -> tuple[str, int, str]:
    match = _STAMP.fullmatch(folder.name)
    return (match[1], int(match[2] or 1), folder.parent.name) if match else ("", 0, folder.name)
