"""The verbs as functions: what the command line, notebooks and scripts call."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kaleyard.errors import NotebookError, Place, UsageError
from kaleyard.pipeline import Pipeline
from kaleyard.project import Project, find_project

if TYPE_CHECKING:
    from kaleyard.local.record import Run
    from kaleyard.local.reporter import Reporter
    from kaleyard.notebook.findings import Finding

__all__ = ["Compiled", "check", "compile", "pipeline_notebooks", "read", "run", "show"]

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
    from kaleyard.notebook.source import read_notebook

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
        told = (c.metadata.get("notebook_path") for c in notebook.code_cells)
        parts.update((path.parent / other).resolve() for other in told if isinstance(other, str))
    return [path for path in found if path.resolve() not in parts]


def read(notebook: PathLike) -> Pipeline:
    """The pipeline that a notebook describes. Raises CheckError if a rule finds an error in it."""
    from kaleyard.notebook.rules import load_pipeline

    path = Path(notebook)
    return load_pipeline(path, find_project(path))


def check(*notebooks: PathLike) -> list[Finding]:
    """Every rule's findings in these notebooks, or in all pipeline notebooks of the project."""
    from kaleyard.notebook.rules import check as check_one

    return [f for path in _paths(notebooks) for f in check_one(path, find_project(path))[0]]


def show(notebook: PathLike, format: str = "text") -> str:  # noqa: A002 - the option's name
    """The pipeline of a notebook drawn: `text`, `svg`, `html` or `json`."""
    from kaleyard import drawing

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
    from kaleyard.notebook.rules import load_pipeline

    paths = _paths(notebooks)
    project = find_project(paths[0])
    result = Compiled(project.components_folder)
    trees: dict[str, dict[str, bytes]] = {}
    for path in paths:
        pipeline = load_pipeline(path, project)
        if pipeline.name in trees:
            raise UsageError(
                f"two notebooks describe a pipeline called {pipeline.name}",
                place=Place(project.relative(path)),
                fix="Give one of them another pipeline_name in its metadata.",
            )
        trees[pipeline.name] = pipeline_tree(pipeline, project)
    for name, tree in trees.items():
        act = differences if check else write_tree
        result.pipelines.append(name)
        result.changes |= act(tree, project.components_folder, name)
    return result


def run(
    notebook: PathLike,
    parameters: Mapping[str, Any] | Iterable[str] | None = None,
    *,
    jobs: int | None = None,
    cache: bool = True,
    from_step: str | None = None,
    only: str | None = None,
    timeout: float | None = None,
    run_timeout: float | None = None,
    runner: str = "process",
    cold: bool = False,
    reporter: Reporter | None = None,
) -> Run:
    """Run a notebook's pipeline here and return the `Run`, whatever became of its steps.

    `parameters` are values by name, or texts `NAME=VALUE`; `jobs` steps at once (by default one per processor, and up
    to four while memory is left); `from_step` runs that step and all after it even if cached; `only` runs that step
    alone, with what it needs; `timeout` is in seconds for each step, `run_timeout` for the run; `cold` starts every
    kernel as a new process. Raises CheckError or ParameterError before anything starts, OutsideError if the runs
    folder cannot be written, KeyboardInterrupt on Ctrl-C once every step has been stopped.
    """
    from kaleyard.local.executor import EXECUTORS
    from kaleyard.local.foresight import Foresight, notebook_modules
    from kaleyard.local.reporter import PlainReporter
    from kaleyard.local.runner import Options, Runner
    from kaleyard.notebook.rules import load_pipeline

    path = Path(notebook)
    project = find_project(path)
    if runner not in EXECUTORS:
        raise UsageError(f"there is no runner {runner}", fix=f"Choose one of {', '.join(EXECUTORS)}.")
    parameters = parameters if parameters is None or isinstance(parameters, Mapping) else list(parameters)
    foresight = Foresight(project, path, parameters)
    with EXECUTORS[runner](cold=cold) as executor:
        # The helpers of the run start while the notebook is read.
        guess = foresight.guess() if cache and not (from_step or only) else "some"
        if guess != "nothing":
            executor.expect(notebook_modules(path, project) if guess == "all" else (), 1)
        pipeline = load_pipeline(path, project)
        values = _values(pipeline, parameters)
        for name in (from_step, only):
            if name is not None and name not in pipeline.names:
                raise UsageError(
                    f"pipeline {pipeline.name} has no step {name}", fix=f"Its steps: {', '.join(pipeline.names)}."
                )
        forced = set(pipeline.downstream([from_step])) if from_step else set()
        forced |= {only} if only else set()
        options = Options(
            jobs=max(1, jobs) if jobs is not None else None,
            cache=cache,
            forced=frozenset(forced),
            wanted=frozenset({only}) if only else None,
            timeout=timeout,
            run_timeout=run_timeout,
        )
        done = Runner(pipeline, project, values, executor, reporter or PlainReporter(), options).run()
    if done.state == "done":
        foresight.remember()
    return done


def _values(pipeline: Pipeline, told: Mapping[str, Any] | Iterable[str] | None) -> dict[str, Any]:
    from kaleyard.parameters import parse_parameters, resolve_parameters

    if told is not None and not isinstance(told, Mapping):
        told = parse_parameters(pipeline, told)
    return resolve_parameters(pipeline, told or {})


def _paths(notebooks: Iterable[PathLike]) -> list[Path]:
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
