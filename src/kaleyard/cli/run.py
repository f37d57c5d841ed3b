"""run: the pipeline here."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from kaleyard.cli.argument_types import NOTEBOOK
from kaleyard.cli.screen import screen

__all__ = ["run"]


@click.command()
@click.argument("notebook", type=NOTEBOOK, required=False)
@click.option("-p", "parameters", multiple=True, metavar="NAME=VALUE", help="Set a parameter; may be repeated.")
@click.option("--jobs", "-j", type=click.IntRange(min=1), help="Maximum parallel steps (default: by CPU and memory).")
@click.option("--no-cache", is_flag=True, help="Run every step, even if it is cached.")
@click.option("--from", "from_step", metavar="STEP", help="Run STEP and all steps that depend on it, even if cached.")
@click.option("--only", metavar="STEP", help="Run STEP and the steps that it depends on.")
@click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="Time limit for each step."
)
@click.option(
    "--run-timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Time limit for the whole run.",
)
@click.option("--runner", default="process", show_default=True, help="Run steps as processes or containers.")
@click.option("--cold", is_flag=True, help="Start every kernel as a new process.")
@click.option(
    "--write-files/--no-write-files",
    default=None,
    help="Also copy the files that steps write into the project; never overwrites your files.",
)
@click.option("--profile", "profiled", is_flag=True, help="Print where each step's time went.")
@click.option("--json", "as_json", is_flag=True, help="Print the finished run as JSON only.")
def run(
    notebook: Path | None,
    parameters: tuple[str, ...],
    jobs: int | None,
    no_cache: bool,
    from_step: str | None,
    only: str | None,
    timeout: float | None,
    run_timeout: float | None,
    runner: str,
    cold: bool,
    write_files: bool | None,
    profiled: bool,
    as_json: bool,
) -> None:
    """Run the pipeline of NOTEBOOK on this machine (default: all pipeline notebooks).

    Writes runs/PIPELINE/RUN/index.html. Example: kaleyard run notebooks/housing.ipynb -p SEED=7
    """
    import kaleyard
    from kaleyard.api.check import pipeline_notebooks
    from kaleyard.config import find_project
    from kaleyard.reporting.console import SilentReporter
    from kaleyard.reporting.profile import profile_table

    paths = [notebook] if notebook else pipeline_notebooks(find_project())
    failed = not paths
    for path in paths:
        done = kaleyard.run(
            path,
            list(parameters),
            jobs=jobs,
            cache=not no_cache,
            from_step=from_step,
            only=only,
            timeout=timeout,
            run_timeout=run_timeout,
            runner=runner,
            cold=cold,
            write_files=write_files,
            reporter=SilentReporter() if as_json else screen().reporter(),
        )
        failed = failed or done.state != "done"
        if as_json:
            places = {path: str(place) for path, place in done.files.items()}
            click.echo(json.dumps(done.to_dict() | {"folder": str(done.folder), "files": places}, indent=1))
        elif profiled:
            click.echo("\n".join(profile_table(done)))
    sys.exit(1 if failed else 0)
