"""Runs on a server, in the form that all past runs share: listed, found by a short name, their logs read."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from kaleyard.errors import UsageError
from kaleyard.kubeflow.client import Connection
from kaleyard.kubeflow.watch import RemoteRun, log_tail, remote_run, results
from kaleyard.records.past_runs import REMOTE, History, PastRun, StepLog

__all__ = ["RemoteHistory"]

_PAGE = 100
_MOST = 2000  # runs that are looked through
_WHOLE = 100_000  # lines of a log
_LATEST = "latest"
_NAMED = 5
_FIX = (
    f"`kaleyard runs --remote` lists them; a run is {REMOTE}ID, its beginning, {REMOTE}PIPELINE/latest, {REMOTE}latest."
)


class RemoteHistory:
    """The runs on one server. Every method raises ExternalError if it does not answer or refuses."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._pipelines: dict[str, str] | None = None

    def runs(self, pipeline: str | None = None, limit: int | None = None) -> History:
        """The runs, or those of one pipeline, newest first, at most `limit`; metrics are told of one run alone."""
        found = [self._past(run) for run in self._runs() if pipeline in (None, self._pipeline(run))]
        shown = found if limit is None else found[:limit]
        return History(shown, len(found) - len(shown))

    def find(self, name: str) -> PastRun:
        """The run of that name, with its metrics and artifacts' digests as far as its pods' logs still tell."""
        run = self._find(name)
        past = self._past(run)
        step_results = results(self._remote(run), self._namespace)
        for step, values in step_results.items():
            past.metrics.update({name: float(value) for name, value in values.get("metrics", {}).items()})
            past.artifacts.update({f"{_step(step)}.{n}": digest for n, digest in values.get("sha256", {}).items()})
        return past

    def logs(self, name: str, step: str | None = None) -> list[StepLog]:
        """What the run's steps, or one of them, wrote, from their pods. Raises UsageError for no such step."""
        run = self._remote(self._find(name))
        tasks = {s.name for s in run.steps}
        steps = {_step(s.name): s for s in run.steps if s.pods and not _is_own(s.name, tasks)}
        if step is not None and step not in steps:
            raise UsageError(f"run {name} has no step {step}", fix=f"Its steps: {', '.join(steps)}.")
        return [
            StepLog(
                name,
                s.state,
                "",
                log_tail(self._namespace, s.pods, _WHOLE) or f"its pod is gone, or out of reach: {run.url}\n",
                s.error,
                None,
            )
            for name, s in steps.items()
            if step in (None, name)
        ]

    @property
    def _namespace(self) -> str:
        return self._connection.server.namespace

    def _runs(self) -> Iterator[Any]:
        token, seen = "", 0
        while seen < _MOST:
            page = self._connection.call(
                self._connection.client.runs.run_service_list_runs,
                page_token=token,
                page_size=_PAGE,
                sort_by="created_at desc",
                namespace=self._namespace,
                doing="listing the runs",
            )
            runs = page.runs or []
            yield from runs
            seen += len(runs)
            token = page.next_page_token or ""
            if not token or not runs:
                return

    def _find(self, reference: str) -> Any:
        pipeline, _, name = reference.removeprefix(REMOTE).rpartition("/")
        runs = [run for run in self._runs() if pipeline in ("", self._pipeline(run))]
        if name == _LATEST:
            found = runs[:1]
        else:
            found = [r for r in runs if name in (r.run_id, r.display_name)]
            found = found or [r for r in runs if name and str(r.run_id).startswith(name)]
        if not found:
            raise UsageError(f"there is no run {reference}", fix=_FIX)
        if len(found) > 1:
            meant = ", ".join(str(r.run_id) for r in found[:_NAMED]) + (", …" if len(found) > _NAMED else "")
            raise UsageError(f"{reference} may be any of {len(found)} runs: {meant}", fix=_FIX)
        # A list does not tell of the steps.
        return self._connection.call(
            self._connection.client.runs.run_service_get_run, found[0].run_id, doing="looking at the run"
        )

    def _remote(self, run: Any) -> RemoteRun:
        return remote_run(run, self._connection.server.host)

    def _past(self, run: Any) -> PastRun:
        told = self._remote(run)
        started = told.created[:19].replace(" ", "T")
        place = self._connection.server.host or "the cluster"
        return PastRun(
            told.id, self._pipeline(run), place, told.state, started, told.seconds, dict(told.parameters), {}, {}
        )

    def _pipeline(self, run: Any) -> str:
        """The name of the run's pipeline; "" for one that was sent without being uploaded."""
        reference = run.pipeline_version_reference
        if self._pipelines is None:
            self._pipelines = dict(self._named_pipelines())
        return self._pipelines.get(str(reference.pipeline_id), "") if reference else ""

    def _named_pipelines(self) -> Iterator[tuple[str, str]]:
        token = ""
        while True:
            page = self._connection.call(
                self._connection.client.pipelines.pipeline_service_list_pipelines,
                page_token=token,
                page_size=_PAGE,
                namespace=self._namespace,
                doing="listing the pipelines",
            )
            for pipeline in page.pipelines or []:
                yield str(pipeline.pipeline_id), str(pipeline.display_name)
            token = page.next_page_token or ""
            if not token:
                return


def _step(task: str) -> str:
    """The step's name in its notebook: Kubeflow Pipelines writes hyphens where notebooks have underscores."""
    return task.replace("-", "_")


def _is_own(task: str, tasks: Collection[str]) -> bool:
    """Whether the task is Kubeflow Pipelines' own: the graph, its driver, or the driver of another task."""
    return task in {"root", "root-driver"} or (task.endswith("-driver") and task.removesuffix("-driver") in tasks)
