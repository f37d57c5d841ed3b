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
    from kaleyard.cluster.progress import Reporter as BuildReporter
    from kaleyard.cluster.record import Built
    from kaleyard.local.executor import Executor
    from kaleyard.local.record import Run
    from kaleyard.local.reporter import Reporter
    from kaleyard.notebook.findings import Finding

__all__ = ["Compiled", "build", "check", "compile", "pipeline_notebooks", "read", "run", "show"]

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

    project, pipelines = _pipelines(notebooks)
    result = Compiled(project.components_folder)
    trees = {pipeline.name: pipeline_tree(pipeline, project) for pipeline in pipelines}
    for name, tree in trees.items():
        act = differences if check else write_tree
        result.pipelines.append(name)
        result.changes |= act(tree, project.components_folder, name)
    return result


def build(
    *notebooks: PathLike,
    builder: str | None = None,
    registry: str | None = None,
    platform: str = "",
    push: bool = True,
    dry_run: bool = False,
    jobs: int | None = None,
    secrets: Mapping[str, PathLike] | None = None,
    reporter: BuildReporter | None = None,
) -> list[Built]:
    """Build and push the images of these notebooks' steps, or of all pipeline notebooks', that the registry lacks.

    Then write `build/<pipeline>/`: the pipeline package with every image by digest, and what is in the images. Without
    `push` the images stay in the builder's engine and no package is written; with `dry_run` it is only told what is
    missing. `secrets` are files for the build by name: `ca` and `pipconf`. Raises CheckError if a rule finds an error,
    OutsideError if builder or registry refuse: the package then stays as it was.
    """
    from dataclasses import replace

    from kaleyard.cluster.images import build_images
    from kaleyard.cluster.options import Options, build_secrets
    from kaleyard.cluster.progress import SilentReporter
    from kaleyard.cluster.publish import publish, remembered_digests

    options = Options(builder, platform, push, dry_run, jobs, build_secrets(secrets or {}))
    project, pipelines = _pipelines(notebooks)
    project = replace(project, registry=registry.rstrip("/")) if registry else project
    told = reporter or SilentReporter()
    results = []
    for pipeline in pipelines:
        try:
            built = build_images(pipeline, project, options, told, remembered_digests(pipeline, project))
            if push and not dry_run:
                built.package = publish(pipeline, project, built)
            told.finished(built, dry_run=dry_run)
        finally:
            told.close()
        results.append(built)
    return results


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
    from kaleyard.local.reporter import PlainReporter, SilentReporter
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
        options = Options(
            jobs=max(1, jobs) if jobs is not None else None,
            cache=cache,
            forced=_forced(pipeline, from_step, only),
            wanted=frozenset({only}) if only else None,
            timeout=timeout,
            run_timeout=run_timeout,
        )
        told = reporter or PlainReporter()
        _prepare_images(executor, pipeline, project, quiet=type(told) is SilentReporter)
        done = Runner(pipeline, project, values, executor, told, options).run()
    if done.state == "done":
        foresight.remember()
    return done


def _forced(pipeline: Pipeline, from_step: str | None, only: str | None) -> frozenset[str]:
    """The steps that run even if cached. Raises UsageError for a step that is not there."""
    for name in (from_step, only):
        if name is not None and name not in pipeline.names:
            raise UsageError(
                f"pipeline {pipeline.name} has no step {name}", fix=f"Its steps: {', '.join(pipeline.names)}."
            )
    forced = set(pipeline.downstream([from_step])) if from_step else set()
    return frozenset(forced | ({only} if only else set()))


def _prepare_images(executor: Executor, pipeline: Pipeline, project: Project, *, quiet: bool) -> None:
    """For an executor that runs containers: the images it lacks, built by its own engine."""
    if executor.engine is None:
        return
    from kaleyard.cluster.images import local_images
    from kaleyard.cluster.options import Options, build_secrets
    from kaleyard.cluster.progress import make_reporter

    reporter = make_reporter(json=quiet)
    try:
        told = Options(executor.engine, push=False, secrets=build_secrets({}))
        executor.use(pipeline, local_images(pipeline, project, told, reporter))
    finally:
        reporter.close()


def _values(pipeline: Pipeline, told: Mapping[str, Any] | Iterable[str] | None) -> dict[str, Any]:
    from kaleyard.parameters import parse_parameters, resolve_parameters

    if told is not None and not isinstance(told, Mapping):
        told = parse_parameters(pipeline, told)
    return resolve_parameters(pipeline, told or {})


def _pipelines(notebooks: Iterable[PathLike]) -> tuple[Project, list[Pipeline]]:
    """The project of these notebooks, or of where we are, and its pipelines, each of a name of its own."""
    from kaleyard.notebook.rules import load_pipeline

    paths = _paths(notebooks)
    project = find_project(paths[0])
    found: dict[str, Pipeline] = {}
    for path in paths:
        pipeline = load_pipeline(path, project)
        if pipeline.name in found:
            raise UsageError(
                f"two notebooks describe a pipeline called {pipeline.name}",
                place=Place(project.relative(path)),
                fix="Give one of them another pipeline_name in its metadata.",
            )
        found[pipeline.name] = pipeline
    return project, list(found.values())


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
