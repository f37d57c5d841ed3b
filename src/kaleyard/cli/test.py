"""test: the notebooks against their stored outputs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from kaleyard.cli.argument_types import NOTEBOOK

__all__ = ["test"]


@click.command()
@click.argument("notebooks", nargs=-1, type=NOTEBOOK)
@click.option(
    "--update", is_flag=True, help="Store the new outputs, and name the cells whose output differs on each run."
)
@click.option(
    "--jobs", "-j", type=click.IntRange(min=1), help="Maximum parallel notebooks (default: one per processor)."
)
@click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="Time limit for each cell."
)
@click.option(
    "--junit", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write a JUnit XML report to FILE."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result of each cell as JSON only.")
def test(
    notebooks: tuple[Path, ...],
    update: bool,
    jobs: int | None,
    timeout: float | None,
    junit: Path | None,
    as_json: bool,
) -> None:
    """Run NOTEBOOKS and compare their outputs with the stored ones (default: all notebooks; folders work too).

    Text must be the same, numbers within the tolerance that the notebook or [tool.kaleyard] states; pictures are not
    compared. Exit codes: 1 something differs, raised, or is not stored; 11 a cell took too long; 12 out of memory; 13 a
    kernel died. Example: kaleyard test notebooks/housing.ipynb
    """
    from kaleyard.api import test as testing

    if not update:
        tested = testing.test(*notebooks, jobs=jobs, timeout=timeout, junit=junit, silent=as_json)
        if as_json:
            click.echo(json.dumps(tested.to_dict(), indent=1))
        sys.exit(tested.exit_code)
    updated = testing.update_outputs(*notebooks, jobs=jobs, timeout=timeout)
    if as_json:
        click.echo(json.dumps([one.to_dict() for one in updated], indent=1))
        return
    for one in updated:
        cells = ", ".join(map(str, one.cells))
        click.echo(f"{one.notebook}: " + (f"new outputs in cell {cells}" if one.cells else "as it was"))
        for cell in one.unstable:
            click.echo(f"{one.notebook}: {cell}")
