"""Runs steps as containers of this machine's engine: isolated, with their exit codes, and removed afterwards.

A call of the engine's command takes about 50 ms, so there are only three for each step: to run it, to ask how it
ended, and, while the next step already starts, to remove it.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import platform
import re
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import psutil

from kaleyard.compiler.content_key import key_of
from kaleyard.config import Project
from kaleyard.errors import ExternalError, KernelDiedError, Location, StepError, StepStoppedError
from kaleyard.execution.executors.container_engine import Engine, find_engine
from kaleyard.execution.executors.container_security import Sandbox, confinement, memory_limit
from kaleyard.execution.task import StepTask, log_tail, reported_failure, timeout_failure, unreported_failure
from kaleyard.pipeline import Pipeline, Step
from kaleyard.runtime.contract import CELLS_VARIABLE, COMMAND, STEP_FOLDER
from kaleyard.runtime.step_failure import out_of_memory

__all__ = ["ContainerExecutor"]

_GRACE = 10.0  # seconds for a stopped step to write its notebook and page
_TICK = 0.5
_SIGNALLED = 128  # exit codes above it are this plus the number of a signal
_NOTHING_RAN = 125  # exit code of the engine's command if it could not start a container
_CLOCK = 2.0  # seconds of error in a process's start time


class ContainerExecutor:
    """Runs each step in its image, from `images` by step name; `engine` is a name in `ENGINES`, or its path.

    `cold` has no effect: containers always start cold.
    """

    def __init__(self, images: Mapping[str, str], engine: str = "", *, cold: bool = False) -> None:
        del cold
        self._images = dict(images)
        self._requested = engine
        self._entered: Engine | None = None
        self._ids: dict[str, str] = {}
        self._identifying = threading.Lock()
        self._numbers = itertools.count(1)
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._notes: list[str] = []
        self._removals = ThreadPoolExecutor(max_workers=2, thread_name_prefix="remove")

    def __enter__(self) -> Self:
        """Find the engine, and remove the containers of killed runs."""
        self._entered, names = find_engine(self._requested)
        orphans = [name for name in names if _is_orphan(name)]
        if orphans:
            self._engine.try_to("rm", "--force", "--volumes", *orphans)
        return self

    def __exit__(self, *_: object) -> None:
        """Wait until the containers of all steps are removed."""
        self._removals.shutdown(wait=True)

    @property
    def _engine(self) -> Engine:
        assert self._entered is not None, "enter the executor first"
        return self._entered

    @property
    def engine(self) -> str:
        """The name of the engine, which should also build the images."""
        return self._engine.name

    def use(self, pipeline: Pipeline, images: Mapping[str, str]) -> None:
        """Set the images of the pipeline's steps. Raises as `check` does."""
        self._images = dict(images)
        self.check(pipeline)

    def check(self, pipeline: Pipeline) -> None:
        """Check, before any step starts, that all limits are valid and all images are available.

        Raises NotebookError, or ExternalError.
        """
        for step in pipeline.steps:
            place = Location(step.notebook or pipeline.notebook, step=step.name)
            confinement(step.settings, place)
            self._identify(place)
            ignored = [key for key, _ in step.settings.limits if key not in ("cpu", "memory")]
            self._notes += [f"step {step.name}: the limit {key} applies only on a cluster" for key in ignored]

    def environment(self, step: Step, project: Project) -> str:
        """The key of the content of the step's image. Raises ExternalError if the image is not available."""
        del project
        return key_of("image", self._identify(Location(step.notebook or None, step=step.name)))

    def expect(self, modules: Sequence[str], steps: int) -> None:
        """Do nothing: containers always start cold."""

    def notes(self) -> list[str]:
        """The settings of steps that have no effect here."""
        return list(self._notes)

    def run(self, task: StepTask) -> None:
        """Run the step as a container. Raises StepError, or ExternalError if the engine does not start it."""
        options = confinement(task.settings, task.place)
        image = self._identify(task.place)
        sandbox = Sandbox(task.folder, json.loads(task.executor_input.read_bytes()), task.output_file)
        name = f"{_owner()}-{next(self._numbers)}-{re.sub(r'[^A-Za-z0-9_.-]', '-', task.place.step or '')}"
        labels = [f"--label=kaleyard.run={task.folder.parents[1].name}", f"--label=kaleyard.step={task.place.step}"]
        command = ["run", f"--name={name}", *labels, "--pull=never", "--log-driver=none", *self._engine.options]
        command += [*options, *sandbox.pack(), f"--env={CELLS_VARIABLE}={task.cells}", image, *COMMAND]
        command += ["--executor-input", sandbox.input_argument, "--step", STEP_FOLDER]
        command += [f"--guard={guarded}" for guarded in task.guard]
        task.log.write_bytes(b"")
        try:
            timed_out = self._follow(name, command, task)
            state = self._state(name)
        finally:
            self._removals.submit(self._engine.try_to, "rm", "--force", "--volumes", name)
            sandbox.unpack()
        self._check_outcome(task, state, timed_out=timed_out)

    def stop(self) -> None:
        """Stop all running steps; `run` of each then raises StepStoppedError."""
        self._stopped.set()
        with self._lock:
            running = list(self._running.items())
        for name, process in running:
            threading.Thread(target=self._end, args=(name, process)).start()

    def _identify(self, place: Location) -> str:
        """The content id of the step's image, which is pulled if necessary."""
        image = self._images.get(place.step or "")
        if image is None:
            raise ExternalError("the step has no image", place=place, fix="Build it with `kaleyard build`.")
        with self._identifying:
            if not self._ids:
                self._ids = self._engine.image_ids(sorted(set(self._images.values())))
            if image not in self._ids:
                self._pull(image, place)
            return self._ids[image]

    def _pull(self, image: str, place: Location) -> None:
        process = self._engine.begin("pull", "--quiet", image)
        with self._lock:
            self._running[image] = process
        output = process.communicate()[0].decode(errors="replace")
        with self._lock:
            del self._running[image]
        if self._stopped.is_set():
            raise StepStoppedError("the step was not started", place=place)
        if not process.returncode:
            self._ids |= self._engine.image_ids([image])
        if image not in self._ids:
            error = self._engine.refusal(output)
            raise ExternalError(
                f"the image {image} is not on this machine and cannot be pulled: {error.what}",
                place=place,
                fix="Build it with `kaleyard build`, or log in to its registry.",
            )

    def _follow(self, name: str, command: list[str], task: StepTask) -> bool:
        """Run the container to its end; return whether it was stopped because it exceeded its time limit."""
        deadline = None if task.timeout is None else time.monotonic() + task.timeout
        while True:
            with self._lock:
                if self._stopped.is_set():
                    raise StepStoppedError("the step was not started", place=task.place)
                process = self._running[name] = self._engine.start(command, task.log)
            try:
                process.wait(None if deadline is None else max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self._end(name, process)
                return True
            finally:
                with self._lock:
                    del self._running[name]
            # The command may have been killed, or lost its connection; the container may still run.
            if process.returncode >= 0 and process.returncode != _NOTHING_RAN:
                return False
            if not self._state(name).get("Running"):
                return False
            command = ["wait", name]

    def _end(self, name: str, process: subprocess.Popen[bytes]) -> None:
        """Terminate the step, then kill it. Repeat, because it may still be starting or its image be pulled."""
        deadline = time.monotonic() + _GRACE
        while process.poll() is None:
            if name in self._images.values():
                process.terminate()
            else:
                # A container's first process ignores signals that it does not handle yet.
                signal_name = "TERM" if time.monotonic() < deadline else "KILL"
                self._engine.try_to("kill", f"--signal={signal_name}", name)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_TICK)

    def _state(self, name: str) -> dict[str, Any]:
        """The container's state as the engine reports it; empty if there is no such container."""
        answer = self._engine.try_to("container", "inspect", "--format", "{{json .State}}", name)
        if answer.returncode:
            return {}
        return dict(json.loads(answer.stdout))

    def _check_outcome(self, task: StepTask, state: Mapping[str, Any], *, timed_out: bool) -> None:
        """Raise the error that explains why the step failed, if it failed."""
        failure = reported_failure(task)
        place = failure.place if failure else task.place
        code = int(state.get("ExitCode", _NOTHING_RAN))
        if timed_out:
            raise timeout_failure(task, place)
        if not code:
            return
        if self._stopped.is_set():
            raise StepStoppedError("the step was stopped", place=place)
        if not state or state.get("Error") or state.get("Status") == "created":
            error = self._engine.refusal(str(state.get("Error") or log_tail(task)))
            raise ExternalError(f"the step was not started: {error.what}", place=place, fix=error.fix)
        if state.get("OOMKilled") and (failure is None or isinstance(failure, KernelDiedError)):
            raise out_of_memory(memory_limit(task.settings, place), place)
        raise failure or _ending(task, code)


def _ending(task: StepTask, code: int) -> StepError:
    """The error for a container that ended without reporting a reason."""
    if code <= _SIGNALLED:
        return unreported_failure(task, f"the step's container exited with code {code}")
    try:
        name = signal.Signals(code - _SIGNALLED).name
    except ValueError:
        name = f"signal {code - _SIGNALLED}"
    return unreported_failure(task, f"the step's container was killed by {name}", KernelDiedError)


def _owner() -> str:
    """The prefix of the names of this process's containers: machine, process id and start time."""
    machine = hashlib.sha256(platform.node().encode()).hexdigest()[:8]
    process = psutil.Process()
    return f"kaleyard-{machine}-{process.pid}-{process.create_time():.0f}"


def _is_orphan(name: str) -> bool:
    """Whether the container belongs to a process of this machine that no longer runs."""
    match = re.match(r"(kaleyard-[0-9a-f]{8})-(\d+)-(\d+)-", name)
    if not match or not _owner().startswith(f"{match[1]}-"):
        return False
    try:
        began = psutil.Process(int(match[2])).create_time()
    except psutil.NoSuchProcess:
        return True
    return abs(began - int(match[3])) > _CLOCK
