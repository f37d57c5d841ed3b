"""A pipeline's package on a Kubeflow Pipelines server: its version, its run, its schedule. Nothing is made twice."""

from __future__ import annotations

import json
import re
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kaleyard.errors import ExternalError, UnknownOutcomeError, UsageError
from kaleyard.kubeflow.client import Connection
from kaleyard.kubeflow.submission import Submission

__all__ = ["RunRequest", "Submitted", "Submitter", "cron_of"]

_PAGE = 100
_CALLS = 4  # how often a run is asked for, when every answer is lost
_SETTLES = (0.5, 2.0, 5.0)  # seconds after which a server that was slow has done what it was asked to
# A call of kfp's client: the function, and its arguments.
_Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]
_FIELD = r"[\d*/,\-?LW#A-Za-z]+"
_CRON = re.compile(rf"{_FIELD}(?: {_FIELD}){{4,5}}")


@dataclass(frozen=True, slots=True)
class RunRequest:
    """How a run is wanted: experiment, name, parameters' values, what it runs as, where it keeps things, and when."""

    experiment: str
    run_name: str
    parameters: Mapping[str, Any]
    service_account: str = ""
    pipeline_root: str = ""
    schedule: str = ""


@dataclass(frozen=True, slots=True)
class Submitted:
    """What is on the server now: ids, the address of the run's page, and whether it was there before."""

    pipeline: str
    version: str
    version_id: str
    experiment_id: str
    run_id: str = ""
    schedule_id: str = ""
    url: str = ""
    was_there: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}


def cron_of(schedule: str) -> str:
    """A schedule in the six fields that Kubeflow Pipelines reads, seconds first. Raises UsageError for none."""
    fields = " ".join(schedule.split())
    if not _CRON.fullmatch(fields):
        raise UsageError(
            f"{schedule!r} is no schedule", fix='Write a cron expression: "0 6 * * 1-5" is 6:00 on weekdays.'
        )
    return fields if fields.count(" ") == 5 else f"0 {fields}"  # noqa: PLR2004 - six fields


class Submitter:
    """One submission to one server."""

    def __init__(self, connection: Connection, submission: Submission) -> None:
        self._connection, self._submission = connection, submission
        self._api = connection.client
        self._namespace = connection.server.namespace

    def submit(self, order: RunRequest) -> Submitted:
        """Start a run of the package, or set its schedule, once the server has its version and the experiment.

        Raises ExternalError.
        """
        experiment = self._experiment(order.experiment)
        pipeline = self._pipeline()
        version = self._version(pipeline)
        found = Submitted(self._submission.name, self._submission.version, version, experiment)
        reference = self._models.V2beta1PipelineVersionReference(pipeline_id=pipeline, pipeline_version_id=version)
        config = self._models.V2beta1RuntimeConfig(
            parameters=self._submission.parameters(order.parameters), pipeline_root=order.pipeline_root or None
        )
        about = {
            "experiment_id": experiment,
            "pipeline_version_reference": reference,
            "runtime_config": config,
            "service_account": order.service_account or None,
        }
        return self._schedule(order, about, found) if order.schedule else self._run(order, about, found)

    @property
    def _models(self) -> Any:
        import kfp_server_api

        return kfp_server_api

    # -- what is there or made -------------------------------------------------------------------------------

    def _experiment(self, name: str) -> str:
        api = self._api.experiments
        model = self._models.V2beta1Experiment(display_name=name, namespace=self._namespace or None)
        return self._had_or_made(
            f"the experiment {name}",
            lambda: self._named(api.experiment_service_list_experiments, "experiments", name, self._place),
            (api.experiment_service_create_experiment, (model,), {}),
            "experiment_id",
        )

    def _pipeline(self) -> str:
        api, name = self._api.pipelines, self._submission.name
        model = self._models.V2beta1Pipeline(
            display_name=name,
            name=name,
            namespace=self._namespace or None,
            description=self._submission.pipeline.description,
        )
        return self._had_or_made(
            f"the pipeline {name}",
            lambda: self._named(api.pipeline_service_list_pipelines, "pipelines", name, self._place),
            (api.pipeline_service_create_pipeline, (model,), {}),
            "pipeline_id",
        )

    def _version(self, pipeline: str) -> str:
        """The version with just this content: uploaded once."""
        api, name = self._api.pipelines, self._submission.version

        def find() -> Any:
            def versions(**more: Any) -> Any:
                return api.pipeline_service_list_pipeline_versions(pipeline, **more)

            return self._named(versions, "pipeline_versions", name, {})

        with tempfile.TemporaryDirectory(prefix="kaleyard-") as folder:
            path = Path(folder) / "pipeline.yaml"
            path.write_bytes(self._submission.content)
            more = {"name": name, "display_name": name, "pipelineid": pipeline}
            upload = self._api.pipeline_uploads.upload_pipeline_version
            return self._had_or_made(f"the version {name}", find, (upload, (str(path),), more), "pipeline_version_id")

    def _had_or_made(self, what: str, find: Callable[[], Any], make: _Call, field: str) -> str:
        """The id of what is there, or is made; looked for again when the answer to its making was lost."""
        found = find()
        for attempt in range(_CALLS):
            if found is not None:
                return str(getattr(found, field))
            function, arguments, more = make
            try:
                found = self._connection.call(function, *arguments, **more, doing=f"making {what}", again=False)
            except UnknownOutcomeError:
                found = self._settled(find)
                if attempt == _CALLS - 1 and found is None:
                    raise
            except ExternalError:
                # Somebody else may have made it in the meantime.
                found = find()
                if found is None:
                    raise
        assert found is not None
        return str(getattr(found, field))

    def _settled(self, find: Callable[[], Any]) -> Any:
        """What a lost answer was about, if the server made it after all."""
        for wait in _SETTLES:
            time.sleep(wait)
            found = find()
            if found is not None:
                return found
        return None

    # -- runs and schedules ----------------------------------------------------------------------------------

    def _run(self, order: RunRequest, about: dict[str, Any], found: Submitted) -> Submitted:
        """The run: made once, whatever answers are lost, since it carries a mark by which it is known again."""
        mark = f"kaleyard submission {uuid.uuid4()}"
        model = self._models.V2beta1Run(display_name=order.run_name, description=mark, **about)
        api = self._api.runs

        def find() -> Any:
            return self._named(
                api.run_service_list_runs,
                "runs",
                order.run_name,
                {"experiment_id": found.experiment_id, **self._place},
                lambda run: run.description == mark,
            )

        for attempt in range(_CALLS):
            try:
                run = self._connection.call(
                    api.run_service_create_run,
                    model,
                    doing="starting the run",
                    again=False,
                )
                break
            except UnknownOutcomeError:
                run = self._settled(find)
                if run is not None:
                    break
                if attempt == _CALLS - 1:
                    raise
        return replace(found, run_id=str(run.run_id), url=self.url(str(run.run_id)))

    def _schedule(self, order: RunRequest, about: dict[str, Any], found: Submitted) -> Submitted:
        """The schedule: one of a pipeline in an experiment; the same again changes nothing, another takes its place."""
        api, name = self._api.recurring_runs, f"{self._submission.name} by kaleyard"
        models = self._models
        wanted = json.dumps([found.version_id, order.schedule, order.parameters, order.pipeline_root], sort_keys=True)

        def all_of_ours() -> list[Any]:
            place = {"experiment_id": found.experiment_id, **self._place}
            return [
                r
                for r in self._pages(api.recurring_run_service_list_recurring_runs, "recurring_runs", place)
                if r.display_name == name
            ]

        def find() -> Any:
            return next((r for r in all_of_ours() if r.description == wanted and r.mode == "ENABLE"), None)

        before = find()
        if before is None:
            trigger = models.V2beta1Trigger(cron_schedule=models.V2beta1CronSchedule(cron=order.schedule))
            model = models.V2beta1RecurringRun(
                display_name=name,
                description=wanted,
                trigger=trigger,
                mode="ENABLE",
                max_concurrency="1",
                no_catchup=True,
                namespace=self._namespace or None,
                **about,
            )
            create: _Call = (api.recurring_run_service_create_recurring_run, (model,), {})
            made = self._had_or_made("the schedule", find, create, "recurring_run_id")
        else:
            made = str(before.recurring_run_id)
        for other in all_of_ours():
            if str(other.recurring_run_id) != made:
                self._connection.call(
                    api.recurring_run_service_delete_recurring_run,
                    other.recurring_run_id,
                    doing="ending the earlier schedule",
                )
        url = f"{self._connection.server.host}/#/recurringrun/details/{made}"
        return replace(found, schedule_id=made, url=url, was_there=before is not None)

    def url(self, run_id: str) -> str:
        """The address of a run's page."""
        return f"{self._connection.server.host}/#/runs/details/{run_id}"

    # -- lists -----------------------------------------------------------------------------------------------

    @property
    def _place(self) -> dict[str, str]:
        return {"namespace": self._namespace} if self._namespace else {}

    def _named(
        self,
        function: Any,
        field: str,
        name: str,
        more: Mapping[str, Any],
        fits: Callable[[Any], bool] = lambda _: True,
    ) -> Any:
        """The one of that name, None if there is none; what the server sends is looked at once more."""
        query = {"predicates": [{"operation": "EQUALS", "key": "display_name", "stringValue": name}]}
        listed = self._pages(function, field, {**more, "filter": json.dumps(query)})
        return next((one for one in listed if one.display_name == name and fits(one)), None)

    def _pages(self, function: Any, field: str, more: Mapping[str, Any]) -> Iterator[Any]:
        token = ""
        while True:
            answer = self._connection.call(
                function, doing=f"listing {field.replace('_', ' ')}", page_size=_PAGE, page_token=token, **more
            )
            yield from getattr(answer, field) or ()
            token = answer.next_page_token or ""
            if not token:
                return
