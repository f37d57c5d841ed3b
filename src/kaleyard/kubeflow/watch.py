"""A run on a server, followed to its end: each step's state as it changes, then how it ended."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from kaleyard.errors import ExternalError
from kaleyard.kubeflow.client import Connection
from kaleyard.pipeline import Pipeline
from kaleyard.runtime.contract import RESULT

__all__ = ["RemoteRun", "RemoteStep", "Watch", "log_tail", "remote_run", "results"]

_POLL = 2.0  # seconds between two looks
_TAIL = 20  # lines of a failed step's log
_NAMESPACE = "kubeflow"  # where Kubeflow Pipelines is, and its runs are, if it has one user
# The server's words in ours; what is not among them goes on.
_STATES = {
    "PENDING": "waiting",
    "RUNNING": "running",
    "SUCCEEDED": "done",
    "CACHED": "cached",
    "SKIPPED": "skipped",
    "FAILED": "failed",
    "CANCELING": "running",
    "CANCELED": "stopped",
    "PAUSED": "waiting",
}
_OVER = {"done", "failed", "stopped", "skipped", "cached"}


@dataclass(frozen=True, slots=True)
class RemoteStep:
    """A step of a run on a server: its state in the words of local runs, its seconds, and what went wrong."""

    name: str
    state: str
    seconds: float = 0.0
    error: str = ""
    pods: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RemoteRun:
    """A run on a server as it is now; `parameters` are as it was submitted with."""

    id: str
    name: str
    state: str
    url: str
    created: str = ""
    seconds: float = 0.0
    error: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    steps: tuple[RemoteStep, ...] = ()

    @property
    def is_over(self) -> bool:
        """Whether nothing of it will change any more."""
        return self.state in _OVER

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON values."""
        from dataclasses import asdict

        return asdict(self)


def remote_run(run: Any, host: str) -> RemoteRun:
    """What kfp's client told of a run, in our words."""
    details = run.run_details.task_details if run.run_details else None
    return RemoteRun(
        str(run.run_id),
        str(run.display_name or ""),
        _STATES.get(str(run.state), "waiting"),
        f"{host}/#/runs/details/{run.run_id}",
        run.created_at.isoformat() if run.created_at else "",
        _seconds(run.created_at, run.finished_at),
        str(run.error.message or "") if run.error else "",
        dict((run.runtime_config.parameters if run.runtime_config else None) or {}),
        tuple(_steps(details or ())),
    )


def _steps(tasks: Any) -> Iterator[RemoteStep]:
    for task in tasks:
        pods = tuple(str(c.pod_name) for c in task.child_tasks or () if c.pod_name)
        yield RemoteStep(
            str(task.display_name or task.task_id),
            _STATES.get(str(task.state), "waiting"),
            _seconds(task.start_time, task.end_time),
            str(task.error.message or "") if task.error else "",
            (*([str(task.pod_name)] if task.pod_name else ()), *pods),
        )


def _seconds(start: Any, end: Any) -> float:
    return float(max(0.0, (end - start).total_seconds())) if start and end else 0.0


class Watch:
    """Looks at one run until it is over; `changed` hears of each step that has a new state."""

    def __init__(self, connection: Connection, pipeline: Pipeline, poll: float = _POLL) -> None:
        self._connection, self._poll = connection, poll
        # Drivers and the graph itself are tasks as well; people know the steps by the names in their notebook.
        self._names = {name.replace("_", "-"): name for name in pipeline.names}

    def look(self, run_id: str) -> RemoteRun:
        """The run as it is now, with the notebook's steps alone. Raises ExternalError."""
        answer = self._connection.call(
            self._connection.client.runs.run_service_get_run, run_id, doing="looking at the run"
        )
        run = remote_run(answer, self._connection.server.host)
        steps = {self._names[s.name]: s for s in run.steps if s.name in self._names}
        named = (RemoteStep(n, s.state, s.seconds, s.error, s.pods) for n, s in steps.items())
        return RemoteRun(
            run.id, run.name, run.state, run.url, run.created, run.seconds, run.error, run.parameters, tuple(named)
        )

    def wait(
        self,
        run_id: str,
        changed: Callable[[RemoteStep], None],
        timeout: float | None = None,
        looked: Callable[[], None] | None = None,
    ) -> RemoteRun:
        """The run once it is over; `looked` is called after each look.

        Raises ExternalError if it takes more than `timeout` seconds: the run goes on.
        """
        began = time.monotonic()
        known: dict[str, str] = {}
        while True:
            run = self.look(run_id)
            for step in run.steps:
                if known.get(step.name) != step.state:
                    known[step.name] = step.state
                    changed(step)
            if looked is not None:
                looked()
            if run.is_over:
                return run
            if timeout is not None and time.monotonic() - began > timeout:
                raise ExternalError(
                    f"the run is not over after {timeout:g} s: {run.url}", fix="It goes on; look at it there."
                )
            time.sleep(self._poll)


def log_tail(namespace: str, pods: tuple[str, ...], lines: int = _TAIL) -> str:
    """The end of a step's log, from the pod itself; "" where kubectl's configuration leads to no cluster that has it.

    The API of Kubeflow Pipelines gives no logs.
    """
    import kubernetes as k8s
    from urllib3.exceptions import HTTPError

    try:
        if "KUBERNETES_SERVICE_HOST" in os.environ:
            k8s.config.load_incluster_config()
        else:
            k8s.config.load_kube_config(os.environ.get("KUBECONFIG") or None)
        core = k8s.client.CoreV1Api()
        for pod in pods:
            try:
                return str(
                    core.read_namespaced_pod_log(
                        pod, namespace or _NAMESPACE, container="main", tail_lines=lines, _request_timeout=10
                    )
                )
            except k8s.client.ApiException:
                continue
    except (k8s.config.ConfigException, OSError, TypeError, HTTPError):
        return ""
    return ""


def results(run: RemoteRun, namespace: str) -> dict[str, dict[str, Any]]:
    """What each step that ran gave, by its name: `metrics` and `sha256` of its artifacts, as far as its log tells."""
    found = {}
    for step in run.steps:
        lines = log_tail(namespace, step.pods).splitlines() if step.state == "done" else []
        answer = [line.removeprefix(RESULT) for line in lines if line.startswith(RESULT)]
        if answer:
            found[step.name] = dict(json.loads(answer[-1]))
    return found
