"""One step started here: as a process. Each executor speaks the same executor input and output."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from kaleyard.errors import OutsideError, Place, StepError, StepStoppedError, StepTimeoutError, from_dict
from kaleyard.local.processes import StepProcess, start_process
from kaleyard.runtime.contract import CELLS_VARIABLE, FAILURE_FILE

__all__ = ["EXECUTORS", "Executor", "ProcessExecutor", "StepTask"]

_GRACE = 10.0  # seconds a stopped step has to write its notebook and page
_TAIL = 20  # lines of the log a message shows


@dataclass(frozen=True, slots=True)
class StepTask:
    """What an executor is given: the step's folder (with step.ipynb), its executor input, and where its log goes.

    `project` is the root that the step's modules and files are relative to; `guard` names inputs that later steps
    also take; `cells` are the numbers of its cells in the user's notebook; `timeout` is in seconds, None for no limit.
    """

    place: Place
    folder: Path
    executor_input: Path
    output_file: Path
    log: Path
    project: Path
    guard: Sequence[str] = ()
    cells: str = ""
    timeout: float | None = None


class Executor(Protocol):
    """Runs steps; may be asked to stop from another thread."""

    def run(self, task: StepTask) -> None:
        """Run the step to its end. Raises the StepError that says why it did not get there."""
        ...

    def stop(self) -> None:
        """Stop every step that runs and start no more; returns at once."""
        ...


class ProcessExecutor:
    """Runs each step as a process of this Python."""

    def __init__(self) -> None:
        self._running: set[StepProcess] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def run(self, task: StepTask) -> None:
        """Run the step as a process. Raises StepError, or OutsideError if no process can be started."""
        arguments = ["--executor-input", f"@{task.executor_input}", "--step", str(task.folder)]
        arguments += ["--project", str(task.project), *(f"--guard={name}" for name in task.guard)]
        try:
            process = self._start(arguments, task)
        except OSError as error:
            raise OutsideError(f"the step cannot be started: {error.strerror}", place=task.place) from error
        timed_out = False
        try:
            process.wait(task.timeout)
        except subprocess.TimeoutExpired:
            timed_out = True
            self._end(process)
        finally:
            with self._lock:
                self._running.discard(process)
        if timed_out:
            raise StepTimeoutError(
                f"the step ran longer than {task.timeout:g} s",
                place=_failure(task).place,
                fix="Give it more time with --timeout, or less work.",
            )
        if self._stopped and process.returncode:
            raise StepStoppedError("the step was stopped", place=_failure(task).place)
        if process.returncode:
            raise _failure(task, process.returncode)

    def stop(self) -> None:
        """Tell every running step to stop; `run` of each then raises StepStoppedError."""
        self._stopped = True
        with self._lock:
            running = list(self._running)
        for process in running:
            threading.Thread(target=self._end, args=(process,)).start()

    def _start(self, arguments: list[str], task: StepTask) -> StepProcess:
        with self._lock:
            if self._stopped:
                raise StepStoppedError("the step was not started", place=task.place)
        environment = os.environ | {CELLS_VARIABLE: task.cells}
        process = start_process(arguments, task.folder, task.log, environment)
        with self._lock:
            self._running.add(process)
        if self._stopped:
            self._end(process)
        return process

    @staticmethod
    def _end(process: StepProcess) -> None:
        """Ask the step to end, then make it: the step's kernel and all that it started end with it."""
        import psutil

        try:
            family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
            process.send_signal(signal.SIGTERM)
        except (psutil.NoSuchProcess, ProcessLookupError):
            return
        try:
            process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            family += psutil.Process(process.pid).children(recursive=True)
        for member in family:
            try:
                member.kill()
            except psutil.NoSuchProcess:
                continue
        process.wait()


EXECUTORS: dict[str, type[Executor]] = {"process": ProcessExecutor}


def _failure(task: StepTask, code: int | None = None) -> StepError:
    """What the step said went wrong, or, if it could say nothing, how it ended and the end of its log."""
    try:
        return from_dict(json.loads((task.output_file.with_name(FAILURE_FILE)).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        pass
    ending = f"killed by {signal.Signals(-code).name}" if code is not None and code < 0 else f"ended with code {code}"
    try:
        tail = "\n".join(task.log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL:])
    except OSError:
        tail = ""
    more = f"; the end of its log:\n{tail}" if tail else ""
    return StepError(
        f"the step's process was {ending}{more}", place=task.place, fix=f"Its log is {os.fspath(task.log)}"
    )
