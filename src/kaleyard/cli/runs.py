"""runs, logs: what ran before, here and on a server."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from kaleyard.records.past_runs import StepLog

__all__ = ["logs", "runs"]


def _server(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say which server."""
    for name, words in (
        ("--namespace", "Namespace of the runs, on a server with several users."),
        ("--host", "URL of Kubeflow Pipelines (default: KALEYARD_KFP_HOST, or `kfp-host` in pyproject.toml)."),
    ):
        command = click.option(name, help=words)(command)
    return command


@click.command()
@click.argument("names", metavar="[RUN]...", nargs=-1)
@click.option("--pipeline", metavar="NAME", help="List only the runs of this pipeline.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Maximum number of runs listed."
)
@click.option("--all", "everything", is_flag=True, help="When comparing runs, also show what is equal.")
@click.option("--remote", is_flag=True, help="List the runs on the Kubeflow Pipelines server.")
@_server
@click.option("--json", "as_json", is_flag=True, help="Print JSON only.")
def runs(
    names: tuple[str, ...],
    pipeline: str | None,
    limit: int,
    everything: bool,
    remote: bool,
    host: str | None,
    namespace: str | None,
    as_json: bool,
) -> None:
    """List the runs on this machine, newest first; show one RUN; or compare several, value by value.

    A RUN is its id, the beginning of it, PIPELINE/RUN, PIPELINE/latest or latest; the same after remote: is one on the
    server. Example: kaleyard runs housing/latest remote:housing/latest
    """
    import kaleyard

    if names:
        comparison = kaleyard.compare_runs(*names, host=host, namespace=namespace)
        lines = [] if as_json else comparison.lines(everything=everything or len(names) == 1)
        click.echo(json.dumps(comparison.to_dict(), indent=1) if as_json else "\n".join(lines))
        return
    history = kaleyard.runs(pipeline, limit=limit, remote=remote, host=host, namespace=namespace)
    click.echo(json.dumps(history.to_dict(), indent=1) if as_json else "\n".join(history.lines()))
    if not as_json:
        for why in history.unreadable.values():
            click.echo(f"warning: {why}", err=True)


@click.command()
@click.argument("run")
@click.argument("step", required=False)
@_server
@click.option("--json", "as_json", is_flag=True, help="Print JSON only.")
def logs(run: str, step: str | None, host: str | None, namespace: str | None, as_json: bool) -> None:
    """Show the output, errors and executed notebooks of the steps of RUN, or of STEP.

    remote:RUN is one on the Kubeflow Pipelines server: its pods' logs, while they are there.
    Example: kaleyard logs latest train
    """
    import kaleyard

    found = kaleyard.logs(run, step, host=host, namespace=namespace)
    if as_json:
        click.echo(json.dumps([log.to_dict() for log in found], indent=1))
        return
    for log in found:
        _print(log)


def _print(log: StepLog) -> None:
    click.secho(f"== {log.step} ({log.state})", bold=True)
    # The kernel copies what its processes write into the notebook, so that most of it would be shown twice.
    parts = (log.printed, "" if log.text.strip() in log.printed else log.text)
    names = [part.rstrip("\n") for part in parts if part.strip()]
    click.echo("\n".join(names) or "(it wrote nothing)")
    if log.error:
        click.echo(log.error)
    if log.notebook:
        click.echo(f"notebook: {log.notebook}")
