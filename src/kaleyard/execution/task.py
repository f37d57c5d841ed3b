"""What an executor runs and how it is called, and what a step's folder says about a failure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Self

from kaleyard.config import Project
from kaleyard.errors import Location, StepError, StepTimeoutError, from_dict
from kaleyard.pipeline import Pipeline, Settings, Step
from kaleyard.runtime.contract import FAILURE_FILE

__all__ = ["Executor", "StepTask", "log_tail", "reported_failure", "timeout_failure", "unreported_failure"]

_TAIL = 20  # lines of the log in a message


@dataclass(frozen=True, slots=True)
class StepTask:
    """A step for an executor to run: its folder (with step.ipynb), its executor input, and the file for its log.

    `project` is the root that the step's modules and files are relative to; `guard` lists inputs that later steps
    also take; `cells` are the numbers of its cells in the user's notebook; `timeout` is in seconds, None for no limit;
    `modules` are the installed modules that it will import; `settings` are those of its tags.
    """

    place: Location
    folder: Path
    executor_input: Path
    output_file: Path
    log: Path
    project: Path
    guard: Sequence[str] = ()
    cells: str = ""
    timeout: float | None = None
    modules: Sequence[str] = ()
    settings: Settings = field(default_factory=Settings)


class Executor(Protocol):
    """Runs steps, with helper processes while it is entered; another thread may stop it."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    @property
    def engine(self) -> str | None:
        """The name of the container engine; None if steps run as processes, which need no images."""
        ...

    def use(self, pipeline: Pipeline, images: Mapping[str, str]) -> None:
        """Set the images of the pipeline's steps."""
        ...

    def expect(self, modules: Sequence[str], steps: int) -> None:
        """Prepare for this number of steps, which will import these modules."""
        ...

    def environment(self, step: Step, project: Project) -> str:
        """The key of the step's environment: steps with equal keys may share results."""
        ...

    def notes(self) -> list[str]:
        """Notes for the run's report about how the steps were run."""
        ...

    def run(self, task: StepTask) -> None:
        """Run the step to its end. Raises StepError if it fails."""
        ...

    def stop(self) -> None:
        """Stop all running steps and start no more; return at once."""
        ...


def reported_failure(task: StepTask) -> StepError | None:
    """The error that the step itself reported, if any."""
    try:
        return from_dict(json.loads((task.output_file.with_name(FAILURE_FILE)).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


def unreported_failure(task: StepTask, problem: str, kind: type[StepError] = StepError) -> StepError:
    """The error for a step that ended without reporting a reason, with the end of its log."""
    tail = log_tail(task)
    log_end = f"; the end of its log:\n{tail}" if tail else ""
    return kind(f"{problem}{log_end}", place=task.place, fix=f"See its log: {task.log}")


def timeout_failure(task: StepTask, place: Location) -> StepTimeoutError:
    """The error for a step that exceeded its time limit."""
    fix = "Set a longer --timeout, or split the step."
    return StepTimeoutError(f"the step ran longer than {task.timeout:g} s", place=place, fix=fix)


def log_tail(task: StepTask) -> str:
    """The end of the step's log."""
    try:
        return "\n".join(task.log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL:])
    except OSError:
        return ""
