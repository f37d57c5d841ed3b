"""What is asked of an executor, wherever it runs steps, and what a step's folder says of its end."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Self

from kaleyard.config import Project
from kaleyard.errors import Location, StepError, from_dict
from kaleyard.pipeline import Pipeline, Settings, Step
from kaleyard.runtime.contract import FAILURE_FILE

__all__ = ["Executor", "StepTask", "log_tail", "reported_failure"]

_TAIL = 20  # lines of the log a message shows


@dataclass(frozen=True, slots=True)
class StepTask:
    """What an executor is given: the step's folder (with step.ipynb), its executor input, and where its log goes.

    `project` is the root that the step's modules and files are relative to; `guard` names inputs that later steps
    also take; `cells` are the numbers of its cells in the user's notebook; `timeout` is in seconds, None for no limit;
    `modules` are those it will import, as far as they are installed; `settings` are what its tags say.
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
    """Runs steps, and has helpers as long as it is entered; may be asked to stop from another thread."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    @property
    def engine(self) -> str | None:
        """The container engine that runs the steps; None if they are processes, which need no images."""
        ...

    def use(self, pipeline: Pipeline, images: Mapping[str, str]) -> None:
        """Take these images for the pipeline's steps."""
        ...

    def expect(self, modules: Sequence[str], steps: int) -> None:
        """Make ready for so many steps, which will import these modules."""
        ...

    def environment(self, step: Step, project: Project) -> str:
        """The key of what the step would run in: equal keys may share results."""
        ...

    def notes(self) -> list[str]:
        """What the run's report should say of how the steps were run."""
        ...

    def run(self, task: StepTask) -> None:
        """Run the step to its end. Raises the StepError that says why it did not get there."""
        ...

    def stop(self) -> None:
        """Stop every step that runs and start no more; returns at once."""
        ...


def reported_failure(task: StepTask) -> StepError | None:
    """What the step itself said went wrong, if it could."""
    try:
        return from_dict(json.loads((task.output_file.with_name(FAILURE_FILE)).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


def log_tail(task: StepTask) -> str:
    """The end of the step's log."""
    try:
        return "\n".join(task.log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL:])
    except OSError:
        return ""
