"""Runs steps as processes of this Python: forked from a server with their imports, or started cold."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from typing import Self

from kaleyard.config import Project
from kaleyard.errors import ExternalError, StepError, StepStoppedError
from kaleyard.execution.executors.step_process import Job, StepProcess, start_process
from kaleyard.execution.prewarm.fork_servers import KernelServer, StepServer, cold_reason
from kaleyard.execution.task import StepTask, reported_failure, timeout_failure, unreported_failure
from kaleyard.pipeline import Pipeline, Step
from kaleyard.runtime.contract import CELLS_VARIABLE

__all__ = ["ProcessExecutor"]

_GRACE = 10.0  # seconds for a stopped step to write its notebook and page


class ProcessExecutor:
    """Runs each step as a process of this Python; with `cold`, kernels are not forked from a warm process."""

    def __init__(self, *, cold: bool = False) -> None:
        self._cold = "`--cold`" if cold else cold_reason()
        self._running: set[StepProcess] = set()
        self._lock = threading.Lock()
        self._stopped = False
        self._kernels: KernelServer | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End the kernel server and all its kernels."""
        if self._kernels is not None:
            self._kernels.close()
            self._kernels = None

    @property
    def engine(self) -> None:
        """None: steps run as processes."""
        return

    def use(self, pipeline: Pipeline, images: Mapping[str, str]) -> None:
        """Do nothing: processes need no images."""

    def expect(self, modules: Sequence[str], steps: int) -> None:
        """Start the fork servers, if this machine supports them, and tell them which modules to import."""
        if self._cold:
            return
        StepServer.get()
        with self._lock:
            if self._kernels is None:
                self._kernels = KernelServer()
        self._kernels.expect(modules, steps)

    def environment(self, step: Step, project: Project) -> str:
        """The key of this interpreter and of the packages that the step uses."""
        # Imported late, so that fork servers start sooner.
        from kaleyard.execution.environment_key import environment_key

        return environment_key(step, project)

    def notes(self) -> list[str]:
        """Why kernels started cold, if they did."""
        cold = self._kernels.cold if self._kernels else self._cold
        return [f"cold kernels ({cold})"] if cold else []

    def run(self, task: StepTask) -> None:
        """Run the step as a process. Raises StepError, or ExternalError if no process can be started."""
        arguments = ["--executor-input", f"@{task.executor_input}", "--step", str(task.folder)]
        arguments += ["--project", str(task.project), *(f"--guard={name}" for name in task.guard)]
        try:
            process = self._start(arguments, task)
        except OSError as error:
            raise ExternalError(f"the step cannot be started: {error.strerror}", place=task.place) from error
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
            raise timeout_failure(task, _failure(task).place)
        if self._stopped and process.returncode:
            raise StepStoppedError("the step was stopped", place=_failure(task).place)
        if process.returncode:
            raise _failure(task, process.returncode)

    def stop(self) -> None:
        """Stop all running steps; `run` of each then raises StepStoppedError."""
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
        kernels = self._kernels.address if self._kernels and not self._kernels.cold else ""
        process = start_process(
            Job("kaleyard.runtime.__main__", arguments, task.folder, task.log, environment, kernels, task.modules)
        )
        with self._lock:
            self._running.add(process)
        if self._stopped:
            self._end(process)
        return process

    @staticmethod
    def _end(process: StepProcess) -> None:
        """Terminate the step, then kill it, with its kernel and all processes that it started."""
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


def _failure(task: StepTask, code: int | None = None) -> StepError:
    """The error that the step reported, or else how its process ended and the end of its log."""
    if failure := reported_failure(task):
        return failure
    ending = (
        f"was killed by {signal.Signals(-code).name}" if code is not None and code < 0 else f"exited with code {code}"
    )
    return unreported_failure(task, f"the step's process {ending}")
