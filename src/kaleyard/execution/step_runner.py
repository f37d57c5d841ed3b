"""Runs one step of a run: its cache key, the cache, its executor input and its executor output."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kaleyard.compiler.content_key import file_digest, key_of, project_files, runner_key
from kaleyard.compiler.step_notebook import cell_numbers, code_only, step_notebook
from kaleyard.config import Project
from kaleyard.errors import CellError, ExternalError, Location, StepError
from kaleyard.execution.cache import Cache, CacheEntry, CorruptEntryError, Value, place_copy
from kaleyard.execution.file_advice import missing_file_advice
from kaleyard.execution.page_worker import make_page
from kaleyard.execution.parameter_files import parameter_files
from kaleyard.execution.prediction import step_modules
from kaleyard.execution.prewarm.preload import with_companions
from kaleyard.execution.task import Executor, StepTask
from kaleyard.pipeline import FileInput, Pipeline, Step
from kaleyard.records.run_record import Artifact, Run, StepRun
from kaleyard.reporting.profile import phases
from kaleyard.runtime import serializers as formats
from kaleyard.runtime.contract import FILES, METRICS, NOTEBOOK, PARAMETER_FILES, artifact_name, files_input
from kaleyard.runtime.executor_io import atomic_write
from kaleyard.runtime.result_files import is_taken, read_index, wanted_paths

__all__ = ["RunContext", "StepRunner"]


_FILES_FORMAT = "files"


@dataclass
class RunContext:
    """What all steps of a run share; `values` maps (step, name) to a value and its path, and grows with each step.

    `modules` are the installed modules that each step imports, collected when the first step runs.
    """

    pipeline: Pipeline
    project: Project
    run: Run
    parameters: Mapping[str, Any]
    cache: Cache
    values: dict[tuple[str, str], tuple[Value, Path]] = field(default_factory=dict)
    modules: dict[str, list[str]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)


@dataclass
class StepRunner:
    """Runs one step, in its own thread."""

    context: RunContext
    step: Step
    executor: Executor
    timeout: float | None

    def __post_init__(self) -> None:
        self.record: StepRun = self.context.run.steps[self.step.name]
        self.folder = self.context.run.folder / "steps" / self.step.name
        self.guard = self.context.pipeline.guarded(self.step.name)
        self.notebook = step_notebook(self.context.pipeline, self.step)

    def run(self, changed: Callable[[StepRun], None], *, forced: bool) -> None:
        """Restore the step from the cache, or run it. Raises StepError if it fails."""
        record, step = self.record, self.step
        record.parameters = {n: self.context.parameters[n] for n in step.parameters}
        record.started = _now()
        record.key = self._key()
        entry = None if forced or not step.settings.cache else self._cached()
        if entry is not None:
            self._restore(entry)
            record.state = "cached"
            record.times.clear()
            changed(record)
            return
        record.state = "running"
        changed(record)
        began = time.monotonic()
        try:
            self._execute()
            record.state = "done"
        except CellError as error:
            error.fix = missing_file_advice(error, self.step, self.context.run, self.context.project) or error.fix
            raise
        finally:
            self._keep_notebook()
            record.seconds = round(time.monotonic() - began, 3)
            record.times |= phases(self.folder / "step.executed.ipynb", record.started, record.seconds)
            self._note_files()
        changed(record)

    def finish(self) -> None:
        """Write the page of a step that ran, and cache its outputs: work that no other step waits for."""
        if self.record.state == "cached" or not (self.folder / "step.executed.ipynb").is_file():
            return
        began = time.monotonic()
        try:
            if self.step.settings.report:
                title = f"{self.context.pipeline.name} / {self.step.name}"
                make_page(self.folder / "step.executed.ipynb", self.folder / "page.html", title)
        except (OSError, subprocess.TimeoutExpired) as error:
            self.context.run.notes.append(f"step {self.step.name}: its page was not written: {error}")
        self._note_files()
        self.record.times["report"] = round(time.monotonic() - began, 3)
        if self.record.state == "done" and self.step.settings.cache:
            try:
                self._store()
            except ExternalError as error:
                # The outputs are in the run; only the next run has to run the step again.
                self.context.run.notes.append(f"step {self.step.name} was not cached: {error.what}")

    def _key(self) -> str:
        """The cache key: content, parameter values, digests of inputs, and environment."""
        step, project = self.step, self.context.project
        files = [f"{name} {digest}" for name, digest in project_files(step, project)]
        extra_files = parameter_files(step, self.record.parameters, project)
        files += [f"{name} {file_digest(project.root / name, step)}" for name in extra_files]
        values = json.dumps(self.record.parameters, sort_keys=True)
        inputs = [self.context.values[i.step, i.name][0] for i in step.inputs]
        digests = [
            f"{i.name} {v.format} {v.sha256} {json.dumps(v.extra, sort_keys=True)}"
            for i, v in zip(step.inputs, inputs, strict=True)
        ]
        digests += [f"{i.step} {json.dumps(self._taken(i))}" for i in step.file_inputs]
        environment = self.executor.environment(step, project)
        return key_of(code_only(self.notebook), *files, runner_key(), values, *digests, environment)

    def _taken(self, files: FileInput) -> list[tuple[str, str]]:
        """The files of an earlier step that this step takes, as paths and digests; "" for a removed file."""
        declared = {p.name: {"type": p.type, "default": p.default} for p in self.context.pipeline.parameters}
        declared = {n: declared[n] for n in self.step.parameters}
        paths = wanted_paths(files.paths, declared, self.record.parameters)
        written, removed = read_index(self.context.values[files.step, FILES][1])
        taken = [(w.path, w.sha256) for w in written if is_taken(w.path, paths)]
        return taken + [(path, "") for path in removed if is_taken(path, paths)]

    def _cached(self) -> CacheEntry | None:
        try:
            return self.context.cache.find(self.record.key, self.guard)
        except CorruptEntryError:
            self.record.reason = "its cache entry was damaged"
            self.context.run.notes.append(f"the cache entry of step {self.step.name} was damaged; the step runs again")
            return None

    def _restore(self, entry: CacheEntry) -> None:
        """Copy the cached outputs to the run, as if the step had just run."""
        for name, value in entry.values.items():
            target = self._artifact_path(value.file)
            place_copy(entry.folder / "values" / value.file, target)
            self._add_value(name, value, target)
        self.record.metrics = dict(entry.metrics)
        for file, name in (
            ("notebook.ipynb", "step.executed.ipynb"),
            ("page.html", "page.html"),
            ("log.txt", "log.txt"),
        ):
            if (entry.folder / file).is_file():
                place_copy(entry.folder / file, self.folder / name)
        self._note_files()

    def _execute(self) -> None:
        self._prewarm()
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "step.ipynb").write_bytes(self.notebook)
        task = StepTask(
            place=Location(self.step.notebook, step=self.step.name),
            folder=self.folder,
            executor_input=self.folder / "executor_input.json",
            output_file=self.folder / "executor_output.json",
            log=self.folder / "log.txt",
            project=self.context.project.root,
            guard=self.guard,
            cells=cell_numbers(self.step),
            timeout=self.timeout,
            modules=self.context.modules[self.step.name],
            settings=self.step.settings,
        )
        for name in parameter_files(self.step, self.record.parameters, self.context.project):
            target = self.folder / PARAMETER_FILES / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.context.project.root / name, target)
        atomic_write(task.executor_input, json.dumps(self._executor_input(task.output_file)))
        self.executor.run(task)
        self._read_output(task.output_file)

    def _keep_notebook(self) -> None:
        """If the step was killed before it wrote an executed notebook, keep the step notebook in its place."""
        executed = self.folder / "step.executed.ipynb"
        if not executed.is_file() and (self.folder / "step.ipynb").is_file():
            atomic_write(executed, self.notebook)

    def _prewarm(self) -> None:
        """Before the first step that runs, tell the executor which modules this and later steps import."""
        context = self.context
        # Python 3.11 may raise SystemError where two threads parse code at once, and this is done once for all steps.
        with context.lock:
            if context.modules:
                return
            context.modules.update(step_modules(context.pipeline, context.project))
            waiting = [n for n, step in context.run.steps.items() if step.state == "waiting"]
            modules = (m for n in (self.step.name, *waiting) for m in context.modules[n])
            self.executor.expect(with_companions(modules), 1 + len(waiting))

    def _executor_input(self, output_file: Path) -> dict[str, Any]:
        """KFP's executor input for this step, with local paths as URIs."""
        inputs = {}
        for taken in self.step.inputs:
            value, path = self.context.values[taken.step, taken.name]
            metadata = {"format": value.format, "sha256": value.sha256, "size": value.size}
            metadata |= {f"extra_{k}": v for k, v in value.extra.items()}
            inputs[artifact_name(taken.name)] = _artifact(artifact_name(taken.name), path, metadata)
        for files in self.step.file_inputs:
            value, path = self.context.values[files.step, FILES]
            inputs[files_input(files.step)] = _artifact(files_input(files.step), path, {"sha256": value.sha256})
        outputs = {artifact_name(n): self._artifact_path(artifact_name(n)) for n in (*self.step.outputs, FILES)}
        # The page is written after the step: no other step waits for it.
        outputs[NOTEBOOK] = self.folder / "step.executed.ipynb"
        if self.step.metrics:
            outputs[METRICS] = self.folder / "metrics"
        return {
            "inputs": {
                "parameterValues": {artifact_name(n): v for n, v in self.record.parameters.items()},
                "artifacts": inputs,
            },
            "outputs": {
                "artifacts": {n: _artifact(n, path, {}) for n, path in outputs.items()},
                "outputFile": str(output_file),
            },
        }

    def _read_output(self, output_file: Path) -> None:
        try:
            artifacts = json.loads(output_file.read_text(encoding="utf-8"))["artifacts"]
            metadata = {n: a["artifacts"][0].get("metadata") or {} for n, a in artifacts.items()}
            for name in self.step.outputs:
                self._add_new_value(name, metadata[artifact_name(name)])
            path = self._artifact_path(FILES)
            self._add_value(FILES, Value(FILES, _FILES_FORMAT, *formats.digest(path), {}), path)
            self.record.metrics = dict(metadata.get(METRICS, {}))
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            place = Location(self.step.notebook, step=self.step.name)
            raise StepError(f"the step's executor output cannot be read: {error!r}", place=place) from error

    def _add_new_value(self, name: str, metadata: Mapping[str, Any]) -> None:
        """Add a value that the step wrote, with its format's file name suffix, so that other programs can open it."""
        extra = {k[6:]: v for k, v in metadata.items() if k.startswith("extra_")}
        path = self._artifact_path(artifact_name(name))
        target = path if path.is_dir() else path.with_name(path.name + metadata["suffix"])
        if target != path:
            path.replace(target)
        value = Value(target.name, metadata["format"], metadata["sha256"], metadata["size"], extra)
        self._add_value(name, value, target)
        if metadata.get("closed"):
            self.context.run.notes.append(
                f"step {self.step.name}: `{name}` is stored as a pickle: {metadata['closed']}"
            )

    def _add_value(self, name: str, value: Value, path: Path) -> None:
        self.context.values[self.step.name, name] = (value, path)
        if name == FILES:
            self.record.files, self.record.removed = read_index(path)
            return
        location = path.relative_to(self.context.run.folder).as_posix()
        self.record.artifacts.append(Artifact(name, value.format, location, value.sha256, value.size))

    def _artifact_path(self, file: str) -> Path:
        return self.context.run.folder / "artifacts" / self.step.name / file

    def _note_files(self) -> None:
        for attribute, file in (("notebook", "step.executed.ipynb"), ("page", "page.html"), ("log", "log.txt")):
            path = self.folder / file
            if path.is_file() and (attribute != "log" or path.stat().st_size):
                setattr(self.record, attribute, path.relative_to(self.context.run.folder).as_posix())

    def _store(self) -> None:
        files = {"notebook.ipynb": self.folder / "step.executed.ipynb", "page.html": self.folder / "page.html"}
        files["log.txt"] = self.folder / "log.txt"
        values = {n: self.context.values[self.step.name, n] for n in (*self.step.outputs, FILES)}
        more = {"metrics": self.record.metrics, "guard": list(self.guard), "step": self.step.name}
        self.context.cache.keep(self.record.key, files, values, **more)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _artifact(name: str, path: Path, metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {"artifacts": [{"name": name, "uri": str(path), "metadata": dict(metadata)}]}
