"""Runs that lie in the runs folder: listed, found by a short name, their logs read."""

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

_STAMP = re.compile(r"(\d{8}-\d{6})(?:-(\d+))?")  # as the runner names folders
_LATEST = "latest"
_AGAIN = "Run the pipeline again."
_NAMED = 5  # runs that a message names
_FIX = "`kaleyard runs` lists them; a run is RUN, the beginning of it, PIPELINE/RUN, PIPELINE/latest or latest."


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
    """A run of this machine in the form that all runs share."""
    digests = {f"{step.name}.{a.name}": a.sha256 for step in run.steps.values() for a in step.artifacts}
    return PastRun(
        run.id, run.pipeline, "local", run.state, run.started, run.seconds, run.parameters, run.metrics, digests
    )


def find_run(project: Project, told: str) -> Run:
    """The run that `told` names: its id, the beginning of it, PIPELINE/RUN, `latest`, PIPELINE/latest, or its folder.

    Raises UsageError if none or several are meant, ExternalError if its run.json cannot be read.
    """
    if (Path(told) / "run.json").is_file():
        return load_run(Path(told).resolve())
    pipeline, _, name = told.rpartition("/")
    folders = _folders(project, pipeline or None)
    if name == _LATEST:
        found = folders[:1]
    else:
        found = [f for f in folders if f.name == name] or [f for f in folders if name and f.name.startswith(name)]
    if not found:
        raise UsageError(f"there is no run {told}", fix=_FIX)
    if len(found) > 1:
        meant = ", ".join(f"{f.parent.name}/{f.name}" for f in found[:_NAMED])
        more = ", …" if len(found) > _NAMED else ""
        raise UsageError(f"{told} may be any of {len(found)} runs: {meant}{more}", fix=_FIX)
    return load_run(found[0])


def run_logs(run: Run, step: str | None = None) -> list[StepLog]:
    """What the run's steps, or one of them, wrote. Raises UsageError for a step that is not there."""
    if step is not None and step not in run.steps:
        raise UsageError(f"run {run.pipeline}/{run.id} has no step {step}", fix=f"Its steps: {', '.join(run.steps)}.")
    return [_log(run, s) for s in run.steps.values() if step in (None, s.name)]


def _log(run: Run, step: StepRun) -> StepLog:
    text = _read(run.folder / step.log) if step.log else ""
    notebook = run.folder / step.notebook if step.notebook else None
    told = "\n".join(error_lines(step.error)) if step.error else ""
    return StepLog(step.name, step.state, _printed(notebook) if notebook else "", text, told, notebook)


def _printed(notebook: Path) -> str:
    """What the cells of an executed notebook wrote to stdout and stderr."""
    try:
        cells = json.loads(_read(notebook))["cells"]
        outputs = [o for cell in cells for o in cell.get("outputs", ()) if o["output_type"] == "stream"]
        return "".join("".join(o["text"]) for o in outputs)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ExternalError(f"{notebook} is no notebook: {error}", fix=_AGAIN) from error


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ExternalError(f"{path} cannot be read: {error.strerror}", fix=_AGAIN) from error


def _folders(project: Project, pipeline: str | None) -> list[Path]:
    """The folders of runs, newest first by their names, which nobody has to open to sort."""
    try:
        parents = [p for p in project.runs_folder.iterdir() if p.is_dir() and pipeline in (None, p.name)]
        found = [f for parent in parents for f in parent.iterdir() if (f / "run.json").is_file()]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ExternalError(
            f"{error.filename} cannot be read: {error.strerror}", fix="Make it readable, or set KALEYARD_RUNS."
        ) from error
    return sorted(found, key=_age, reverse=True)


def _age(folder: Path) -> tuple[str, int, str]:
    match = _STAMP.fullmatch(folder.name)
    return (match[1], int(match[2] or 1), folder.parent.name) if match else ("", 0, folder.name)
