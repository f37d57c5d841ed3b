"""A notebook's pipeline, run here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kaleyard.api.check import PathLike
from kaleyard.config import Project, find_project
from kaleyard.errors import UsageError
from kaleyard.pipeline import Pipeline

if TYPE_CHECKING:
    from kaleyard.execution.task import Executor
    from kaleyard.records.run_record import Run
    from kaleyard.reporting.console import Reporter

__all__ = ["run", "values_of"]


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
    write_files: bool | None = None,
    reporter: Reporter | None = None,
) -> Run:
    """Run a notebook's pipeline here and return the `Run`, whatever became of its steps.

    `parameters` are values by name, or texts `NAME=VALUE`; `jobs` steps at once (by default one per processor, and up
    to four while memory is left); `from_step` runs that step and all after it even if cached; `only` runs that step
    alone, with what it needs; `timeout` is in seconds for each step, `run_timeout` for the run; `cold` starts every
    kernel as a new process; `write_files` puts what steps write in the project too and keeps what is yours there (None:
    as the settings say). Raises CheckError or ParameterError before anything starts, ExternalError if the runs folder
    cannot be written, KeyboardInterrupt on Ctrl-C once every step has been stopped.
    """
    from kaleyard.execution.executors import EXECUTORS
    from kaleyard.execution.file_delivery import DeliveringReporter
    from kaleyard.execution.prediction import RerunPrediction, notebook_modules
    from kaleyard.execution.scheduler import RunOptions, Scheduler
    from kaleyard.reporting.console import PlainReporter, SilentReporter
    from kaleyard.rules.checker import load_pipeline

    path = Path(notebook)
    project = find_project(path)
    if runner not in EXECUTORS:
        raise UsageError(f"there is no runner {runner}", fix=f"Choose one of {', '.join(EXECUTORS)}.")
    parameters = parameters if parameters is None or isinstance(parameters, Mapping) else list(parameters)
    foresight = RerunPrediction(project, path, parameters)
    with EXECUTORS[runner](cold=cold) as executor:
        # The helpers of the run start while the notebook is read.
        guess = foresight.guess() if cache and not (from_step or only) else "some"
        if guess != "nothing":
            executor.expect(notebook_modules(path, project) if guess == "all" else (), 1)
        pipeline = load_pipeline(path, project)
        values = values_of(pipeline, parameters)
        options = RunOptions(
            jobs=max(1, jobs) if jobs is not None else None,
            cache=cache,
            forced=_forced(pipeline, from_step, only),
            wanted=frozenset({only}) if only else None,
            timeout=timeout,
            run_timeout=run_timeout,
        )
        shown_by = reporter or PlainReporter()
        _prepare_images(executor, pipeline, project, quiet=type(shown_by) is SilentReporter)
        if project.write_files if write_files is None else write_files:
            shown_by = DeliveringReporter(shown_by, project)
        done = Scheduler(pipeline, project, values, executor, shown_by, options).run()
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
    from kaleyard.images.build_options import BuildOptions, build_secrets
    from kaleyard.images.pipeline_images import local_images
    from kaleyard.reporting.build_console import make_build_reporter

    reporter = make_build_reporter(json=quiet)
    try:
        options = BuildOptions(executor.engine, push=False, secrets=build_secrets({}))
        executor.use(pipeline, local_images(pipeline, project, options, reporter))
    finally:
        reporter.close()


def values_of(pipeline: Pipeline, parameters: Mapping[str, Any] | Iterable[str] | None) -> dict[str, Any]:
    """Every parameter's value: what is told, by name or as texts NAME=VALUE, else its default.

    Raises ParameterError for a parameter the pipeline does not have, or a value its type does not allow.
    """
    from kaleyard.parameter_values import parse_parameters, resolve_parameters

    if parameters is not None and not isinstance(parameters, Mapping):
        parameters = parse_parameters(pipeline, parameters)
    return resolve_parameters(pipeline, parameters or {})
