"""Runs a pipeline on this machine: each step as soon as its inputs are ready, or from the cache."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kaleyard.config import Project
from kaleyard.errors import ExternalError, KaleyardError, Location, StepStoppedError
from kaleyard.execution.cache import Cache, place_copy
from kaleyard.execution.step_runner import RunContext, StepRunner
from kaleyard.execution.task import Executor
from kaleyard.pipeline import Pipeline
from kaleyard.records.run_record import Run, StepRun
from kaleyard.reporting.console import Reporter
from kaleyard.reporting.html_report import write_report
from kaleyard.runtime.contract import FILES
from kaleyard.runtime.result_files import stored_path

__all__ = ["RunOptions", "Scheduler"]

_TICK = 0.12
_SAVE_EVERY = 1.0  # seconds
_MAX_STEPS = 32  # in parallel, unless the user sets `jobs`
_STEPS_PER_PROCESSOR = 4
_FREE_MEMORY = 0.25  # share that must be available to start more steps than there are processors


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How to run: parallel steps, cache or not, steps that run even if cached, selected steps, and time limits.

    `jobs` None means as many as have room (see `_has_room`). `wanted` None means all steps; others are skipped unless
    a wanted step needs their values.
    """

    jobs: int | None = None
    cache: bool = True
    forced: frozenset[str] = frozenset()
    wanted: frozenset[str] | None = None
    timeout: float | None = None
    run_timeout: float | None = None


@dataclass
class Scheduler:
    """One run of one pipeline. `run` does not raise for a failed step: the `Run` holds the state of each."""

    pipeline: Pipeline
    project: Project
    values: Mapping[str, Any]
    executor: Executor
    reporter: Reporter
    options: RunOptions = field(default_factory=RunOptions)

    def __post_init__(self) -> None:
        self._steps = {step.name: step for step in self.pipeline.steps}
        self._upstream = {step.name: step.upstream for step in self.pipeline.steps}
        self._saved = 0.0

    def run(self) -> Run:
        """Run every step that has to run, write the report, and return the run.

        Raises ExternalError if the runs folder cannot be written, before any step starts. KeyboardInterrupt stops
        all steps and is raised again once the report is written.
        """
        run = self._make_run()
        began = time.monotonic()
        self.reporter.started(run)
        interrupt: KeyboardInterrupt | None = None
        try:
            self._run_steps(run)
        except KeyboardInterrupt as caught:
            interrupt = caught
        except _TimeUpError as caught:
            run.notes.append(str(caught))
        states = {s.state for s in run.steps.values()}
        run.state = "stopped" if interrupt or "stopped" in states else "failed" if "failed" in states else "done"
        run.seconds = round(time.monotonic() - began, 3)
        self._gather_files(run)
        run.save()
        write_report(run)
        self.reporter.finished(run)
        if interrupt:
            raise interrupt
        return run

    def _gather_files(self, run: Run) -> None:
        """Copy what the steps wrote to `files/`; if two steps wrote the same path, the later step's file counts."""
        targets = run.files
        for step in run.steps.values():
            folder = run.folder / "artifacts" / step.name / FILES / "files"
            try:
                for file in (f for f in step.files if f.path in targets):
                    targets[file.path].unlink(missing_ok=True)
                    place_copy(folder / stored_path(file.path), targets[file.path])
            except OSError as error:
                run.notes.append(f"step {step.name}: its files are only in {folder}: {error}")

    def _make_run(self) -> Run:
        now = datetime.now(UTC)
        folder = _new_folder(self.project.runs_folder / self.pipeline.name, now)
        run = Run(folder.name, self.pipeline.name, self.pipeline.notebook, folder)
        run.started = now.isoformat(timespec="milliseconds")
        run.parameters = dict(self.values)
        run.steps = {name: StepRun(name) for name in self.pipeline.names}
        run.pipeline_data = self.pipeline.to_dict()
        run.versions = _versions()
        run.save()
        return run

    def _run_steps(self, run: Run) -> None:
        context = RunContext(self.pipeline, self.project, run, self.values, Cache(self.project.cache_folder))
        waiting = self._skip_unwanted(run)
        running: dict[Future[None], StepRunner] = {}
        finishing: list[Future[None]] = []
        ready: dict[str, float] = {}
        began = time.monotonic()
        pool = ThreadPoolExecutor(max_workers=self.options.jobs or _MAX_STEPS, thread_name_prefix="step")
        finishers = ThreadPoolExecutor(max_workers=1, thread_name_prefix="finish")
        try:
            while waiting or running:
                self._skip_hopeless(run, waiting)
                now = time.monotonic()
                ready |= {n: now for n in waiting if n not in ready and self._ready(run, n)}
                for name in [n for n in waiting if n in ready]:
                    if not _has_room(len(running), self.options.jobs):
                        break
                    waiting.remove(name)
                    runner = StepRunner(context, self._steps[name], self.executor, self.options.timeout)
                    run.steps[name].times["waiting"] = round(time.monotonic() - ready[name], 3)
                    forced = name in self.options.forced or not self.options.cache
                    running[pool.submit(runner.run, self.reporter.changed, forced=forced)] = runner
                done, _ = wait(running, timeout=_TICK, return_when=FIRST_COMPLETED)
                for future in done:
                    runner = running.pop(future)
                    self._finish(run, runner.step.name, future)
                    finishing.append(finishers.submit(runner.finish))
                self.reporter.tick()
                if self.options.run_timeout and time.monotonic() > began + self.options.run_timeout:
                    raise _TimeUpError(f"the run took longer than {self.options.run_timeout:g} s")  # noqa: TRY301
        except BaseException as error:
            self._stop(run, running, waiting, str(error) or "the run was interrupted")
            raise
        finally:
            pool.shutdown(wait=True)
            finishers.shutdown(wait=True)
            for future in finishing:
                future.result()
            run.notes += self.executor.notes()

    def _stop(self, run: Run, running: dict[Future[None], StepRunner], waiting: list[str], reason: str) -> None:
        """Stop the running steps and wait for them, so that no process is left behind."""
        self.executor.stop()
        wait(running)
        for future, runner in running.items():
            self._finish(run, runner.step.name, future)
            runner.finish()
        for name in waiting:
            self._end(run.steps[name], "stopped", reason)
        for step in run.steps.values():
            if step.state == "stopped":
                step.reason = reason

    def _finish(self, run: Run, name: str, future: Future[None]) -> None:
        step = run.steps[name]
        try:
            future.result()
        except StepStoppedError as error:
            step.error = error.to_dict()
            self._end(step, "stopped", "the run was interrupted")
        except KaleyardError as error:
            step.error = error.to_dict()
            self._end(step, "failed", "")
        except OSError as error:
            place = Location(self.pipeline.notebook, step=name)
            step.error = ExternalError(f"{error.strerror}: {error.filename}", place=place).to_dict()
            self._end(step, "failed", "")
        # run.json of a long run is large: it is written at intervals, and at the end.
        if time.monotonic() > self._saved + _SAVE_EVERY:
            run.save()
            self._saved = time.monotonic()

    def _end(self, step: StepRun, state: Any, reason: str) -> None:
        step.state, step.reason = state, reason
        self.reporter.changed(step)

    def _ready(self, run: Run, name: str) -> bool:
        return all(run.steps[n].state in ("done", "cached") for n in self._upstream[name])

    def _skip_hopeless(self, run: Run, waiting: list[str]) -> None:
        """Skip steps whose inputs will not be produced; the others continue."""
        for name in list(waiting):
            blocked_by = [n for n in self._upstream[name] if run.steps[n].state in ("failed", "skipped", "stopped")]
            if blocked_by:
                waiting.remove(name)
                state = run.steps[blocked_by[0]].state
                reason = f"{blocked_by[0]} {'failed' if state == 'failed' else f'was {state}'}"
                self._end(run.steps[name], "skipped", reason)

    def _skip_unwanted(self, run: Run) -> list[str]:
        if self.options.wanted is None:
            return list(self.pipeline.names)
        needed = self.options.wanted | {a for n in self.options.wanted for a in self.pipeline.ancestors(n)}
        for name in self.pipeline.names:
            if name not in needed:
                self._end(run.steps[name], "skipped", "not selected")
        return [n for n in self.pipeline.names if n in needed]


def _has_room(running: int, jobs: int | None) -> bool:
    """Whether another step may start: fewer than `jobs` run, or, without `jobs`, the machine has room.

    It has room for one step per processor, and for up to four while memory is available, because steps also wait for
    disks and networks.
    """
    if jobs is not None:
        return running < jobs
    processors = os.cpu_count() or 1
    if running < processors:
        return True
    if running >= min(_STEPS_PER_PROCESSOR * processors, _MAX_STEPS):
        return False
    import psutil

    memory = psutil.virtual_memory()
    return bool(memory.available > _FREE_MEMORY * memory.total)


class _TimeUpError(Exception):
    """The run exceeded its time limit."""


def _new_folder(parent: Path, now: datetime) -> Path:
    """Create a folder named after the time, with a number if another run started in the same second."""
    stamp = now.strftime("%Y%m%d-%H%M%S")
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for number in range(1, 10_000):
            folder = parent / (stamp if number == 1 else f"{stamp}-{number}")
            try:
                folder.mkdir()
            except FileExistsError:
                continue
            return folder
    except OSError as error:
        raise ExternalError(
            f"{parent} cannot be written: {error.strerror}",
            fix="Make it writable, or set another folder: `runs` in [tool.kaleyard], or KALEYARD_RUNS.",
        ) from error
    raise ExternalError(f"{parent} has too many runs of {stamp}")


def _versions() -> dict[str, str]:
    import platform
    from importlib.metadata import version

    return {"kaleyard": version("kaleyard"), "python": platform.python_version()}
