"""Past runs: listed, compared, and what their steps wrote."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kaleyard.config import Project, find_project

if TYPE_CHECKING:
    from kaleyard.api.check import PathLike
    from kaleyard.kubeflow.remote_runs import RemoteHistory
    from kaleyard.records.past_runs import Comparison, History, StepLog

__all__ = ["compare_runs", "logs", "runs"]


def runs(
    pipeline: str | None = None,
    *,
    limit: int | None = None,
    folder: PathLike | None = None,
    remote: bool = False,
    host: str | None = None,
    namespace: str | None = None,
) -> History:
    """The project's runs on this machine, newest first: of one pipeline or of all, at most `limit`.

    `remote` lists those on the Kubeflow Pipelines server instead, which `host`, `namespace`, variables and settings
    name as for `submit`. `folder` is any folder of the project, the current one by default. A run whose record is
    broken is in `unreadable`. Raises ExternalError if the runs folder cannot be read, or the server does not answer.
    """
    project = find_project(_path(folder))
    if remote:
        return _server(project, host, namespace).runs(pipeline, limit)
    from kaleyard.execution.run_store import list_runs

    return list_runs(project, pipeline, limit)


def compare_runs(
    *names: str, folder: PathLike | None = None, host: str | None = None, namespace: str | None = None
) -> Comparison:
    """Parameters, metrics and artifact digests of runs, side by side, wherever they ran.

    A run is its id, the beginning of it, PIPELINE/RUN, PIPELINE/latest, `latest`, or its folder; the same after
    `remote:` is one on the server. Raises UsageError if none or several are meant, ExternalError if a run's record is
    broken or the server does not answer.
    """
    from kaleyard.execution.run_store import find_run, past_run
    from kaleyard.records.past_runs import REMOTE, compare

    project = find_project(_path(folder))
    server = _server(project, host, namespace) if any(name.startswith(REMOTE) for name in names) else None
    found = [
        server.find(name) if server and name.startswith(REMOTE) else past_run(find_run(project, name)) for name in names
    ]
    return compare(found)


def logs(
    run: str,
    step: str | None = None,
    *,
    folder: PathLike | None = None,
    host: str | None = None,
    namespace: str | None = None,
) -> list[StepLog]:
    """What each step of a run, or one of them, printed and wrote, and what went wrong in it.

    `run` is as for `compare_runs`; logs of a run on a server come from its pods. Raises UsageError for a run or step
    that is not there, ExternalError if a record or log cannot be read.
    """
    from kaleyard.execution.run_store import find_run, run_logs
    from kaleyard.records.past_runs import REMOTE

    project = find_project(_path(folder))
    if run.startswith(REMOTE):
        return _server(project, host, namespace).logs(run, step)
    return run_logs(find_run(project, run), step)


def _server(project: Project, host: str | None, namespace: str | None) -> RemoteHistory:
    from kaleyard.kubeflow.client import Connection, find_server
    from kaleyard.kubeflow.remote_runs import RemoteHistory

    return RemoteHistory(Connection(find_server(project, host, namespace)))


def _path(folder: PathLike | None) -> Path | None:
    return None if folder is None else Path(folder)
