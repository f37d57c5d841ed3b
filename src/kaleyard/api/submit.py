"""A notebook's pipeline on a Kubeflow Pipelines server."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kaleyard.api.check import PathLike
from kaleyard.api.run import values_of
from kaleyard.config import find_project

if TYPE_CHECKING:
    from kaleyard.kubeflow.client import Connection
    from kaleyard.kubeflow.submission import Submission
    from kaleyard.kubeflow.submitter import RunRequest, Submitted
    from kaleyard.pipeline import Pipeline

__all__ = ["Prepared", "connect", "prepare", "submit"]


@dataclass(frozen=True)
class Prepared:
    """What would be submitted, and how; nothing has been sent."""

    pipeline: Pipeline
    submission: Submission
    order: RunRequest


def prepare(
    notebook: PathLike,
    parameters: Mapping[str, Any] | Iterable[str] | None = None,
    *,
    experiment: str | None = None,
    run_name: str | None = None,
    service_account: str = "",
    pipeline_root: str = "",
    cache: bool = True,
    schedule: str = "",
) -> Prepared:
    """What `submit` would send: the package that `build` left, checked against the notebook, and the run as wanted.

    Raises CheckError, ParameterError, UsageError if there is no package, and StaleError if it is an old one.
    """
    from kaleyard.kubeflow.submission import read_submission
    from kaleyard.kubeflow.submitter import RunRequest, cron_of
    from kaleyard.rules.checker import load_pipeline

    path = Path(notebook)
    project = find_project(path)
    pipeline = load_pipeline(path, project)
    values = values_of(
        pipeline, parameters if parameters is None or isinstance(parameters, Mapping) else list(parameters)
    )
    submission = read_submission(pipeline, project)
    named = pipeline.experiment if pipeline.experiment != "Default" else project.experiment or pipeline.experiment
    now = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    return Prepared(
        pipeline,
        submission if cache else submission.without_cache(),
        RunRequest(
            experiment or named,
            run_name or f"{pipeline.name} {now}",
            values,
            service_account,
            pipeline_root,
            cron_of(schedule) if schedule else "",
        ),
    )


def submit(
    notebook: PathLike,
    parameters: Mapping[str, Any] | Iterable[str] | None = None,
    *,
    host: str | None = None,
    namespace: str | None = None,
    experiment: str | None = None,
    run_name: str | None = None,
    service_account: str = "",
    pipeline_root: str = "",
    cache: bool = True,
    schedule: str = "",
) -> Submitted:
    """Start a run of a notebook's pipeline on a Kubeflow Pipelines server, or set its schedule; return what is there.

    The package is the one that `build` left, with every image by digest. `parameters` are values by name, or texts
    `NAME=VALUE`; `schedule` is in cron's words. Nothing is made twice, whatever answers are lost. Raises what `prepare`
    does, before anything is sent, and ExternalError if the server does not answer, refuses, or is too old.
    """
    from kaleyard.kubeflow.submitter import Submitter

    prepared = prepare(
        notebook,
        parameters,
        experiment=experiment,
        run_name=run_name,
        service_account=service_account,
        pipeline_root=pipeline_root,
        cache=cache,
        schedule=schedule,
    )
    connection = connect(notebook, host, namespace)
    connection.check_version()
    return Submitter(connection, prepared.submission).submit(prepared.order)


def connect(notebook: PathLike, host: str | None = None, namespace: str | None = None) -> Connection:
    """The server that options, variables and the notebook's project name. Raises UsageError if none is named."""
    from kaleyard.kubeflow.client import Connection, find_server

    return Connection(find_server(find_project(Path(notebook)), host, namespace))
