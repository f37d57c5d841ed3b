"""submit: the pipeline on a Kubeflow Pipelines server."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from kaleyard.cli.argument_types import NOTEBOOK
from kaleyard.errors import UsageError

if TYPE_CHECKING:
    from kaleyard.api.submit import Prepared
    from kaleyard.kubeflow.submitter import Submitted
    from kaleyard.kubeflow.watch import RemoteRun, RemoteStep
    from kaleyard.records.run_record import StepState

__all__ = ["submit"]


@click.command()
@click.argument("notebooks", nargs=-1, type=NOTEBOOK)
@click.option("-p", "parameters", multiple=True, metavar="NAME=VALUE", help="Set a parameter; may be repeated.")
@click.option(
    "--host",
    metavar="URL",
    help="URL of Kubeflow Pipelines (default: KALEYARD_KFP_HOST, or `kfp-host` in pyproject.toml).",
)
@click.option("--namespace", help="Namespace of the runs, on a server with several users.")
@click.option("--experiment", help="The experiment (default: the notebook's, or the project's).")
@click.option("--run-name", help="The run's name (default: the pipeline's, and the time).")
@click.option("--service-account", default="", help="Kubernetes service account of the steps.")
@click.option("--pipeline-root", default="", metavar="URI", help="Where the run stores its artifacts.")
@click.option("--cache/--no-cache", default=True, show_default=True, help="Let the server use its cache.")
@click.option("--schedule", default="", metavar="CRON", help='Run it on a schedule: "0 6 * * 1-5".')
@click.option("--wait", is_flag=True, help="Follow the run to its end; exit 1 if it fails.")
@click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="Stop waiting after this time."
)
@click.option("--dry-run", is_flag=True, help="Check everything and print what would be sent; send nothing.")
@click.option("--package", "as_package", is_flag=True, help="Print the pipeline package; send nothing.")
@click.option("--manifest", "as_manifest", is_flag=True, help="Print the pipeline as Kubernetes objects; send nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON only.")
def submit(
    notebooks: tuple[Path, ...],
    host: str | None,
    namespace: str | None,
    wait: bool,
    timeout: float | None,
    dry_run: bool,
    as_package: bool,
    as_manifest: bool,
    as_json: bool,
    **wanted: Any,
) -> None:
    """Run the pipelines of NOTEBOOKS on Kubeflow Pipelines, with the images that `build` pushed (default: all).

    Who you are is read from KALEYARD_KFP_TOKEN, _TOKEN_FILE, _COOKIE, _COOKIE_FILE, _CA, _CERT and _KEY, or is the
    account of the pod this runs in. Example: kaleyard submit notebooks/housing.ipynb -p SEED=7 --wait
    """
    from kaleyard.api import submit as cluster
    from kaleyard.api.check import pipeline_notebooks
    from kaleyard.config import find_project

    wanted["parameters"] = list(wanted["parameters"])
    chosen = notebooks or tuple(pipeline_notebooks(find_project()))
    if not chosen:
        raise UsageError("there is no pipeline notebook here", fix="Name a notebook.")
    # Every one is checked before any is sent.
    ready = [(notebook, cluster.prepare(notebook, **wanted)) for notebook in chosen]
    succeeded = True
    for notebook, prepared in ready:
        if as_package or as_manifest:
            package = prepared.submission
            click.echo("---\n" if len(ready) > 1 else "", nl=False)
            click.echo(package.manifest(namespace or "") if as_manifest else package.content, nl=False)
        elif dry_run:
            click.echo(_told(prepared) if not as_json else json.dumps(_data(prepared), indent=1))
        else:
            succeeded &= _send(notebook, prepared, host, namespace, wait=wait, timeout=timeout, as_json=as_json)
    sys.exit(0 if succeeded else 1)


def _send(
    notebook: Path,
    prepared: Prepared,
    host: str | None,
    namespace: str | None,
    *,
    wait: bool,
    timeout: float | None,
    as_json: bool,
) -> bool:
    """Submit it, and with `wait` follow it; whether the run did not fail, as far as is known."""
    from kaleyard.api import submit as cluster
    from kaleyard.kubeflow.submitter import Submitter
    from kaleyard.kubeflow.watch import Watch, results

    connection = cluster.connect(notebook, host, namespace)
    warning = connection.check_version()
    if warning:
        click.echo(f"warning: {warning}", err=True)
    made = Submitter(connection, prepared.submission).submit(prepared.order)
    if not as_json:
        click.echo(_made(made, prepared))
    if not wait or not made.run_id:
        if as_json:
            click.echo(json.dumps(made.to_dict(), indent=1))
        return True
    display = _silent() if as_json else _telling(prepared, made)
    try:
        with display as (changed, looked):
            done = Watch(connection, prepared.pipeline).wait(made.run_id, changed, timeout, looked)
    except KeyboardInterrupt:
        click.echo(f"the run goes on: {made.url}", err=True)
        raise
    if as_json:
        step_results = results(done, connection.server.namespace)
        click.echo(json.dumps(made.to_dict() | {"run": done.to_dict(), "results": step_results}, indent=1))
    else:
        _finish(done, connection.server.namespace)
    return done.state == "done"


def _told(prepared: Prepared) -> str:
    order = prepared.order
    lines = [f"pipeline version {prepared.submission.version}", f"experiment {order.experiment}"]
    lines += [f"schedule {order.schedule}"] if order.schedule else [f"run {order.run_name}"]
    lines += [f"  {name} = {value!r}" for name, value in order.parameters.items()]
    return "\n".join([*lines, "nothing was sent"])


def _data(prepared: Prepared) -> dict[str, Any]:
    from dataclasses import asdict

    return {"pipeline": prepared.pipeline.name, "version": prepared.submission.version} | asdict(prepared.order)


def _made(made: Submitted, prepared: Prepared) -> str:
    if made.schedule_id:
        state = "is there already" if made.was_there else "is set"
        return f"the schedule {prepared.order.schedule} of {made.version} {state}: {made.url}"
    return f"run {prepared.order.run_name} of {made.version}: {made.url}"


_Told = tuple[Callable[["RemoteStep"], None], Callable[[], None]]


@contextmanager
def _silent() -> Iterator[_Told]:
    yield (lambda _: None), (lambda: None)


@contextmanager
def _telling(prepared: Prepared, made: Submitted) -> Iterator[_Told]:
    """What hears of steps: the table that local runs have on a terminal, else a line for each change."""
    if not sys.stdout.isatty():
        yield _line, (lambda: None)
        return
    from kaleyard.records.run_record import Run, StepRun
    from kaleyard.reporting.console import LiveReporter

    pipeline = prepared.pipeline
    steps = {name: StepRun(name) for name in pipeline.names}
    live = LiveReporter()
    live.started(Run(made.run_id, pipeline.name, pipeline.notebook, Path(), steps=steps))

    def changed(step: RemoteStep) -> None:
        known = steps[step.name]
        known.state, known.seconds = cast("StepState", step.state), step.seconds
        live.changed(known)

    try:
        yield changed, live.tick
    finally:
        live.close()


def _line(step: RemoteStep) -> None:
    click.echo(f"  {step.name}: {step.state}" + (f" in {step.seconds:.0f} s" if step.seconds else ""))


def _finish(run: RemoteRun, namespace: str) -> None:
    """How the run ended; of steps that failed, what is known of why."""
    from kaleyard.kubeflow.watch import log_tail, results

    click.echo(f"\n{run.state} in {run.seconds:.0f} s")
    metrics = {n: v for told in results(run, namespace).values() for n, v in told["metrics"].items()}
    if metrics:
        click.echo("metrics: " + "  ".join(f"{name} = {value:.4g}" for name, value in sorted(metrics.items())))
    click.echo(f"metrics, executed notebooks and pages: {run.url}")
    for step in (s for s in run.steps if s.state == "failed"):
        click.echo(f"error: step {step.name}: {step.error or 'it failed'}", err=True)
        tail = log_tail(namespace, step.pods)
        told = tail.rstrip() if tail else f"its log is on the run's page, and in its pod: {', '.join(step.pods)}"
        click.echo(click.style("\n".join(f"  | {line}" for line in told.splitlines())), err=True)
    if run.error:
        click.echo(f"error: {run.error}", err=True)
