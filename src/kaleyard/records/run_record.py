"""The record of a run: the run and its steps as data, written to run.json and read from it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from kaleyard.errors import ExternalError
from kaleyard.runtime.executor_io import atomic_write
from kaleyard.runtime.result_files import WrittenFile, stored_path

__all__ = ["Artifact", "Run", "RunState", "StepRun", "StepState", "load_run"]

StepState: TypeAlias = Literal["waiting", "running", "done", "cached", "failed", "skipped", "stopped"]
RunState: TypeAlias = Literal["running", "done", "failed", "stopped"]


@dataclass(frozen=True, slots=True)
class Artifact:
    """A stored value: variable name, data format, path in the run's folder, digest, size in bytes."""

    name: str
    format: str
    path: str
    sha256: str
    size: int


@dataclass(slots=True)
class StepRun:
    """One step in a run.

    `notebook`, `page` and `log` are paths relative to the run's folder, None if there is no such file; `files` are the
    files it wrote, `removed` the paths of earlier steps' files that it removed. `reason` says briefly why the step ran,
    was skipped or stopped. `error` is `KaleyardError.to_dict()`. Times: `started` is ISO 8601 in UTC; `seconds` is wall
    time, 0 for a cached step; `times` is the seconds per phase.
    """

    name: str
    state: StepState = "waiting"
    reason: str = ""
    started: str | None = None
    seconds: float = 0.0
    parameters: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    artifacts: list[Artifact] = field(default_factory=list)
    notebook: str | None = None
    page: str | None = None
    log: str | None = None
    error: dict[str, Any] | None = None
    key: str = ""
    files: list[WrittenFile] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    times: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class Run:
    """A run of a pipeline: what `kaleyard.run` returns and run.json holds.

    `folder` is its folder on this machine (not in run.json). `pipeline_data` is `Pipeline.to_dict()`, so that run.json
    is enough to write the report again.
    """

    id: str
    pipeline: str
    notebook: str
    folder: Path
    state: RunState = "running"
    started: str = ""
    seconds: float = 0.0
    parameters: dict[str, Any] = field(default_factory=dict)
    steps: dict[str, StepRun] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    pipeline_data: dict[str, Any] = field(default_factory=dict)

    @property
    def report(self) -> Path:
        """The run's index.html."""
        return self.folder / "index.html"

    @property
    def files(self) -> dict[str, Path]:
        """The files that the steps wrote: their paths in the run, by their paths in the project."""
        files: dict[str, Path] = {}
        for step in self.steps.values():
            files |= {file.path: self.files_folder / stored_path(file.path) for file in step.files}
            for path in step.removed:
                files.pop(path, None)
        return files

    @property
    def files_folder(self) -> Path:
        """The folder that holds the files that the steps wrote, each under its own path."""
        return self.folder / "files"

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics of all steps by name; if two steps have the same name, the later step's."""
        return {name: value for step in self.steps.values() for name, value in step.metrics.items()}

    def artifact(self, step: str, name: str) -> Path:
        """The path of a step's value. Raises KeyError if the step has no such value."""
        for artifact in self.steps[step].artifacts:
            if artifact.name == name:
                return self.folder / artifact.path
        raise KeyError(name)

    def to_dict(self) -> dict[str, Any]:
        """The run as JSON values, without its folder."""
        # Running steps change their records meanwhile. `dict` and `list` copy atomically; `asdict` does not.
        steps = {name: _snapshot(step) for name, step in self.steps.items()}
        data = asdict(replace(self, steps=steps, notes=list(self.notes)))
        del data["folder"]
        return data

    def save(self) -> None:
        """Write run.json, atomically. Raises ExternalError if the folder cannot be written."""
        path = self.folder / "run.json"
        try:
            atomic_write(path, json.dumps(self.to_dict(), indent=1, allow_nan=True) + "\n")
        except OSError as error:
            raise ExternalError(
                f"{path} cannot be written: {error.strerror}", fix="Free disk space, or make it writable."
            ) from error


def _snapshot(step: StepRun) -> StepRun:
    """A copy of the record with its own lists and dicts."""
    values: dict[str, Any] = {f.name: getattr(step, f.name) for f in fields(step)}
    copies: dict[str, Any] = {k: v.copy() if isinstance(v, (dict, list)) else v for k, v in values.items()}
    return StepRun(**copies)


def _files(step: dict[str, Any]) -> list[WrittenFile]:
    return [WrittenFile(**file) for file in step.get("files", ())]


def load_run(folder: Path) -> Run:
    """The run in `folder`. Raises ExternalError if its run.json is missing or broken."""
    try:
        data = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        steps = {
            name: StepRun(**{**step, "artifacts": [Artifact(**a) for a in step["artifacts"]], "files": _files(step)})
            for name, step in data.pop("steps").items()
        }
        return Run(folder=folder, steps=steps, **data)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ExternalError(f"{folder}: run.json cannot be read: {error}", fix="Run the pipeline again.") from error
