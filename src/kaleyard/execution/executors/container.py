"""Steps as containers of this machine's engine: confined, their exit codes never lost, nothing left of them.

The engine's command is called three times for a step, for each call takes a twentieth of a second: to run it, to ask
how it ended, and, while the next step starts already, to remove it.
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
from kaleyard.errors import ExternalError, KernelDiedError, Location, StepError, StepStoppedError, StepTimeoutError
from kaleyard.execution.executors.container_engine import Engine, find_engine
from kaleyard.execution.executors.container_security import Sandbox, confinement, memory_limit
from kaleyard.execution.task import StepTask, log_tail, reported_failure
from kaleyard.pipeline import Pipeline, Step
from kaleyard.runtime.contract import CELLS_VARIABLE, COMMAND, STEP_FOLDER
from kaleyard.runtime.step_failure import out_of_memory

__all__ = ["ContainerExecutor"]

_GRACE = 10.0  # seconds a stopped step has to write its notebook and page
_TICK = 0.5
_SIGNALLED = 128  # an exit code above it says which signal
_NOTHING_RAN = 125  # what the engine's command exits with when it could start no container
_CLOCK = 2.0  # seconds by which the system may be off about when a process began


class ContainerExecutor:
    """Runs each step in the image that `images` gives for its name; `engine` is a name in `ENGINES`, or its path.

    `cold` is for executors that could start a step warm: a container never does.
    """

    def __init__(self, images: Mapping[str, str], engine: str = "", *, cold: bool = False) -> None:
        del cold
        self._images = dict(images)
        self._wanted = engine
        self._found: Engine | None = None
        self._ids: dict[str, str] = {}
        self._identifying = threading.Lock()
        self._numbers = itertools.count(1)
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._notes: list[str] = []
        self._removing = ThreadPoolExecutor(max_workers=2, thread_name_prefix="remove")

    def __enter__(self) -> Self:
        """Find the engine, and remove what runs that were killed have left in it."""
        self._found, names = find_engine(self._wanted)
        orphans = [name for name in names if _is_orphan(name)]
        if orphans:
            self._engine.try_to("rm", "--force", "--volumes", *orphans)
        return self

    def __exit__(self, *_: object) -> None:
        """Wait until nothing of the steps is left in the engine."""
        self._removing.shutdown(wait=True)

    @property
    def _engine(self) -> Engine:
        assert self._found is not None, "enter the executor first"
        return self._found

    @property
    def engine(self) -> str:
        """The name of the engine: what builds the images should be its own."""
        return self._engine.name

    def use(self, pipeline: Pipeline, images: Mapping[str, str]) -> None:
        """Take these images for the pipeline's steps. Raises as `check` does."""
        self._images = dict(images)
        self.check(pipeline)

    def check(self, pipeline: Pipeline) -> None:
        """Find what would stop a step, before any starts: limits that cannot be, and images that cannot be had.

        Raises NotebookError, or ExternalError.
        """
        for step in pipeline.steps:
            place = Location(step.notebook or pipeline.notebook, step=step.name)
            confinement(step.settings, place)
            self._identify(place)
            ignored = [key for key, _ in step.settings.limits if key not in ("cpu", "memory")]
            self._notes += [f"step {step.name}: the limit {key} holds on a cluster only" for key in ignored]

    def environment(self, step: Step, project: Project) -> str:
        """The key of the step's image, by its content. Raises ExternalError if it cannot be had."""
        del project
        return key_of("image", self._identify(Location(step.notebook or None, step=step.name)))

    def expect(self, modules: Sequence[str], steps: int) -> None:
        """Nothing: a container starts as it is."""

    def notes(self) -> list[str]:
        """What of the steps' settings does not hold here."""
        return list(self._notes)

    def run(self, task: StepTask) -> None:
        """Run the step as a container. Raises StepError, or ExternalError if the engine does not start it."""
        options = confinement(task.settings, task.place)
        image = self._identify(task.place)
        box = Sandbox(task.folder, json.loads(task.executor_input.read_bytes()), task.output_file)
        name = f"{_owner()}-{next(self._numbers)}-{re.sub(r'[^A-Za-z0-9_.-]', '-', task.place.step or '')}"
        labels = [f"--label=kaleyard.run={task.folder.parents[1].name}", f"--label=kaleyard.step={task.place.step}"]
        command = ["run", f"--name={name}", *labels, "--pull=never", "--log-driver=none", *self._engine.options]
        command += [*options, *box.pack(), f"--env={CELLS_VARIABLE}={task.cells}", image, *COMMAND]
        command += ["--executor-input", box.executor_input, "--step", STEP_FOLDER]
        command += [f"--guard={guarded}" for guarded in task.guard]
        task.log.write_bytes(b"")
        try:
            timed_out = self._follow(name, command, task)
            state = self._state(name)
        finally:
            self._removing.submit(self._engine.try_to, "rm", "--force", "--volumes", name)
            box.unpack()
        self._judge(task, state, timed_out=timed_out)

    def stop(self) -> None:
        """Tell every running step to stop; `run` of each then raises StepStoppedError."""
        self._stopped.set()
        with self._lock:
            running = list(self._running.items())
        for name, process in running:
            threading.Thread(target=self._end, args=(name, process)).start()

    def _identify(self, place: Location) -> str:
        """The id of the step's image, which names its content; pulled if need be."""
        image = self._images.get(place.step or "")
        if image is None:
            raise ExternalError("there is no image for the step", place=place, fix="Make it: kaleyard build.")
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
        said = process.communicate()[0].decode(errors="replace")
        with self._lock:
            del self._running[image]
        if self._stopped.is_set():
            raise StepStoppedError("the step was not started", place=place)
        if not process.returncode:
            self._ids |= self._engine.image_ids([image])
        if image not in self._ids:
            error = self._engine.refusal(said)
            raise ExternalError(
                f"the image {image} is not here and cannot be pulled: {error.what}",
                place=place,
                fix="Make it with `kaleyard build`, or log in to its registry.",
            )

    def _follow(self, name: str, command: list[str], task: StepTask) -> bool:
        """Run the container to its end; whether it had to be ended because its time was over."""
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
            # The command may have been killed, or lost the engine: the container is what counts.
            if process.returncode >= 0 and process.returncode != _NOTHING_RAN:
                return False
            if not self._state(name).get("Running"):
                return False
            command = ["wait", name]

    def _end(self, name: str, process: subprocess.Popen[bytes]) -> None:
        """Ask the step to end, then make it: again and again, for it may only just begin, or be pulled still."""
        deadline = time.monotonic() + _GRACE
        while process.poll() is None:
            if name in self._images.values():
                process.terminate()
            else:
                # The first process of a container is not ended by a signal that it does not handle yet.
                number = "TERM" if time.monotonic() < deadline else "KILL"
                self._engine.try_to("kill", f"--signal={number}", name)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_TICK)

    def _state(self, name: str) -> dict[str, Any]:
        """How the container is, or ended, in the engine's words; nothing if there is none."""
        asked = self._engine.try_to("container", "inspect", "--format", "{{json .State}}", name)
        if asked.returncode:
            return {}
        return dict(json.loads(asked.stdout))

    def _judge(self, task: StepTask, state: Mapping[str, Any], *, timed_out: bool) -> None:
        """Raise the error that says why the step did not get to its end, if it did not."""
        failure = reported_failure(task)
        place = failure.place if failure else task.place
        code = int(state.get("ExitCode", _NOTHING_RAN))
        if timed_out:
            raise StepTimeoutError(
                f"the step ran longer than {task.timeout:g} s",
                place=place,
                fix="Give it more time with --timeout, or less work.",
            )
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
    """The error about a container that ended without a word of why."""
    tail = log_tail(task)
    more = f"; the end of its log:\n{tail}" if tail else ""
    fix = f"Its log is {task.log}"
    if code <= _SIGNALLED:
        return StepError(f"the step's container ended with code {code}{more}", place=task.place, fix=fix)
    try:
        name = signal.Signals(code - _SIGNALLED).name
    except ValueError:
        name = f"signal {code - _SIGNALLED}"
    return KernelDiedError(f"the step's container was killed from outside by {name}{more}", place=task.place, fix=fix)


def _owner() -> str:
    """What the names of this process's containers begin with: the machine, the process, and when that began."""
    machine = hashlib.sha256(platform.node().encode()).hexdigest()[:8]
    process = psutil.Process()
    return f"kaleyard-{machine}-{process.pid}-{process.create_time():.0f}"


def _is_orphan(name: str) -> bool:
    """Whether the process that made the container was on this machine, and is no more."""
    found = re.match(r"(kaleyard-[0-9a-f]{8})-(\d+)-(\d+)-", name)
    if not found or not _owner().startswith(f"{found[1]}-"):
        return False
    try:
        began = psutil.Process(int(found[2])).create_time()
    except psutil.NoSuchProcess:
        return True
    return abs(began - int(found[3])) > _CLOCK
