"""What is said of notebooks before anything runs: which there are, their pipelines, findings, drawings, components."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from kaleyard.config import Project, find_project
from kaleyard.errors import Location, NotebookError, UsageError
from kaleyard.pipeline import Pipeline

if TYPE_CHECKING:
    from kaleyard.rules.findings import Finding

__all__ = [
    "Compiled",
    "PathLike",
    "check",
    "compile",
    "notebook_paths",
    "pipeline_notebooks",
    "pipelines_of",
    "read",
    "show",
]

PathLike = str | os.PathLike[str]


@dataclass(slots=True)
class Compiled:
    """What `compile` did: per path below the components folder "missing", "changed" or "left over"."""

    folder: Path
    pipelines: list[str] = field(default_factory=list)
    changes: dict[str, str] = field(default_factory=dict)


def pipeline_notebooks(project: Project) -> list[Path]:
    """The notebooks under the project's notebooks folder that are pipelines, sorted.

    These have a `step:` or `notebook:` tag, and no other notebook there is composed of them.
    """
    from kaleyard.notebook.composition import notebook_path
    from kaleyard.notebook.document import read_notebook

    found: list[Path] = []
    parts: set[Path] = set()
    for path in sorted(project.notebooks_folder.rglob("*.ipynb")):
        if any(part.startswith(".") for part in path.relative_to(project.root).parts):
            continue
        try:
            notebook = read_notebook(path, project.relative(path))
        except NotebookError:
            found.append(path)
            continue
        if any(t.startswith(("step:", "notebook:")) for c in notebook.code_cells for t in c.tags):
            found.append(path)
        parts.update((path.parent / other).resolve() for other in map(notebook_path, notebook.code_cells) if other)
    return [path for path in found if path.resolve() not in parts]


def read(notebook: PathLike) -> Pipeline:
    """The pipeline that a notebook describes. Raises CheckError if a rule finds an error in it."""
    from kaleyard.rules.checker import load_pipeline

    path = Path(notebook)
    return load_pipeline(path, find_project(path))


def check(*notebooks: PathLike) -> list[Finding]:
    """Every rule's findings in these notebooks, or in all pipeline notebooks of the project."""
    from kaleyard.rules.checker import check as check_one

    return [f for path in notebook_paths(notebooks) for f in check_one(path, find_project(path))[0]]


def show(notebook: PathLike, format: str = "text") -> str:  # noqa: A002 - the option's name
    """The pipeline of a notebook drawn: `text`, `svg`, `html` or `json`."""
    from kaleyard.reporting import graph as drawing

    forms: dict[str, Callable[[Pipeline], str]] = {
        "text": drawing.as_text,
        "svg": drawing.as_svg,
        "html": drawing.as_html,
        "json": drawing.as_json,
    }
    if format not in forms:
        raise UsageError(f"there is no format {format}", fix=f"Choose one of {', '.join(forms)}.")
    return forms[format](read(notebook))


def compile(*notebooks: PathLike, check: bool = False) -> Compiled:  # noqa: A001 - the verb's name
    """Write the components of these notebooks, or of all pipeline notebooks of the project.

    With `check`, only tell what differs from what is there. Raises CheckError if a rule finds an error.
    """
    from kaleyard.compiler.tree import differences, pipeline_tree, write_tree

    project, pipelines = pipelines_of(notebooks)
    result = Compiled(project.components_folder)
    trees = {pipeline.name: pipeline_tree(pipeline, project) for pipeline in pipelines}
    for name, tree in trees.items():
        act = differences if check else write_tree
        result.pipelines.append(name)
        result.changes |= act(tree, project.components_folder, name)
    return result


def pipelines_of(notebooks: Iterable[PathLike]) -> tuple[Project, list[Pipeline]]:
    """The project of these notebooks, or of where we are, and its pipelines, each of a name of its own."""
    from kaleyard.rules.checker import load_pipeline

    paths = notebook_paths(notebooks)
    project = find_project(paths[0])
    found: dict[str, Pipeline] = {}
    for path in paths:
        pipeline = load_pipeline(path, project)
        if pipeline.name in found:
            raise UsageError(
                f"two notebooks describe a pipeline called {pipeline.name}",
                place=Location(project.relative(path)),
                fix="Give one of them another pipeline_name in its metadata.",
            )
        found[pipeline.name] = pipeline
    return project, list(found.values())


def notebook_paths(notebooks: Iterable[PathLike]) -> list[Path]:
    """These notebooks, or all pipeline notebooks of the project we are in. Raises UsageError if there is none."""
    paths = [Path(n) for n in notebooks]
    if not paths:
        project = find_project()
        paths = pipeline_notebooks(project)
        if not paths:
            raise UsageError(
                f"no pipeline notebook lies under {project.notebooks_folder}",
                fix="Name one, or tag a cell of a notebook there `step:NAME`.",
            )
    return paths
