"""runs, logs: what ran here before."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from kaleyard.local.history import StepLog

__all__ = ["logs", "runs"]


@click.command()
@click.argument("told", metavar="[RUN]...", nargs=-1)
@click.option("--pipeline", metavar="NAME", help="List the runs of this pipeline alone.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="List at most so many.")
@click.option("--all", "everything", is_flag=True, help="Of several runs, show what is equal too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, and nothing else.")
def runs(told: tuple[str, ...], pipeline: str | None, limit: int, everything: bool, as_json: bool) -> None:
    """List the runs on this machine, newest first; show one RUN; or compare several, value by value.

    A RUN is its id, the beginning of it, PIPELINE/RUN, PIPELINE/latest or latest.
    Example: kaleyard runs housing/latest 20261124-042224
    """
    from kaleyard import api

    if told:
        comparison = api.compare_runs(*told)
        lines = [] if as_json else comparison.lines(everything=everything or len(told) == 1)
        click.echo(json.dumps(comparison.to_dict(), indent=1) if as_json else "\n".join(lines))
        return
    history = api.runs(pipeline, limit=limit)
    click.echo(json.dumps(history.to_dict(), indent=1) if as_json else "\n".join(history.lines()))
    if not as_json:
        for why in history.unreadable.values():
            click.echo(f"warning: {why}", err=True)


@click.command()
@click.argument("run")
@click.argument("step", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, and nothing else.")
def logs(run: str, step: str | None, as_json: bool) -> None:
    """What the steps of RUN, or STEP alone, printed and wrote, what went wrong, and where the executed notebooks are.

    Example: kaleyard logs latest train
    """
    from kaleyard import api

    found = api.logs(run, step)
    if as_json:
        click.echo(json.dumps([log.to_dict() for log in found], indent=1))
        return
    for log in found:
        _print(log)


def _print(log: StepLog) -> None:
    click.secho(f"== {log.step} ({log.state})", bold=True)
    # The kernel copies what its processes write into the notebook, so that most of it would be shown twice.
    parts = (log.printed, "" if log.text.strip() in log.printed else log.text)
    told = [part.rstrip("\n") for part in parts if part.strip()]
    click.echo("\n".join(told) or "(it wrote nothing)")
    if log.error:
        click.echo(log.error)
    if log.notebook:
        click.echo(f"notebook: {log.notebook}")
