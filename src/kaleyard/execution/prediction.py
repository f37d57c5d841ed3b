"""What a run will probably have to do, told before its notebook is read: so that its helpers start while it is."""

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
    """The guess for a run of `notebook` with `parameters` (as given by the user).

    It is wrong where something else has changed, such as a module: the run is slower then, and no other.
    """

    project: Project
    notebook: Path
    parameters: Any

    def guess(self) -> Literal["all", "some", "nothing"]:
        """How much of the pipeline will run: it never ran here, it has changed, or it has not."""
        try:
            known = json.loads(self._file().read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return "all"
        return "nothing" if known == self._state() else "some"

    def remember(self) -> None:
        """Note that this has run to its end. That it cannot be noted is no harm."""
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
    """The installed modules that a notebook's cells import, before it is read as a pipeline."""
    try:
        cells = read_notebook(notebook, notebook.name).code_cells
    except KaleyardError:
        return []
    folders = [notebook.resolve().parent, *(project.root / p for p in project.module_path)]
    return with_companions(modules_of((c.source for c in cells), _own(folders)))


def step_modules(pipeline: Pipeline, project: Project) -> dict[str, list[str]]:
    """The installed modules that each step's cells import, by the step's name."""
    own: dict[tuple[str, ...], set[str]] = {}
    found = {}
    for step in pipeline.steps:
        if step.module_path not in own:
            own[step.module_path] = _own([project.root / p for p in step.module_path])
        sources = (c.source for c in (*step.setup, *step.late_setup, *step.cells) if c.kind == "code")
        found[step.name] = modules_of(sources, own[step.module_path])
    return found


def _own(folders: Iterable[Path]) -> set[str]:
    """Top-level names in these folders: they come before what is installed, and only a kernel may import them."""
    return {path.stem for folder in folders if folder.is_dir() for path in folder.iterdir()}
