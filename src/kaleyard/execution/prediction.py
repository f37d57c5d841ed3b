"""Predicts what a run has to do before its notebook is read, so that fork servers start in the meantime."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kaleyard.config import Project
from kaleyard.errors import KaleyardError
from kaleyard.execution.prewarm.preload import modules_of, with_companions
from kaleyard.notebook.document import read_notebook
from kaleyard.pipeline import Pipeline
from kaleyard.runtime.executor_io import atomic_write

__all__ = ["RerunPrediction", "notebook_modules", "step_modules"]


@dataclass(frozen=True, slots=True)
class RerunPrediction:
    """Predicts a run of `notebook` with `parameters` (as the user typed them).

    The prediction is wrong if something else has changed, such as a module: the run is then only slower.
    """

    project: Project
    notebook: Path
    parameters: Any

    def guess(self) -> Literal["all", "some", "nothing"]:
        """How much of the pipeline will run: "all" if it never ran here, "some" if it changed, else "nothing"."""
        try:
            known = json.loads(self._file().read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return "all"
        return "nothing" if known == self._state() else "some"

    def remember(self) -> None:
        """Record that this run has completed. If that fails, the next prediction is only less accurate."""
        try:
            self._file().parent.mkdir(parents=True, exist_ok=True)
            atomic_write(self._file(), json.dumps(self._state()))
        except OSError:
            return

    def _file(self) -> Path:
        name = hashlib.sha256(str(self.notebook.resolve()).encode()).hexdigest()[:16]
        return self.project.cache_folder / "foresight" / f"{name}.json"

    def _state(self) -> list[str]:
        try:
            content = self.notebook.read_bytes()
        except OSError:
            content = b""
        return [hashlib.sha256(content).hexdigest(), repr(self.parameters)]


def notebook_modules(notebook: Path, project: Project) -> list[str]:
    """The installed modules that a notebook's cells import, without reading it as a pipeline."""
    try:
        cells = read_notebook(notebook, notebook.name).code_cells
    except KaleyardError:
        return []
    folders = [notebook.resolve().parent, *(project.root / p for p in project.module_path)]
    return with_companions(modules_of((c.source for c in cells), _own(folders)))


def step_modules(pipeline: Pipeline, project: Project) -> dict[str, list[str]]:
    """The installed modules that each step's cells import, by the step's name."""
    own: dict[tuple[str, ...], set[str]] = {}
    modules = {}
    for step in pipeline.steps:
        if step.module_path not in own:
            own[step.module_path] = _own([project.root / p for p in step.module_path])
        sources = (c.source for c in (*step.setup, *step.late_setup, *step.cells) if c.kind == "code")
        modules[step.name] = modules_of(sources, own[step.module_path])
    return modules


def _own(folders: Iterable[Path]) -> set[str]:
    """The top-level modules in these folders: user code that shadows installed modules and only kernels import."""
    return {path.stem for folder in folders if folder.is_dir() for path in folder.iterdir()}
