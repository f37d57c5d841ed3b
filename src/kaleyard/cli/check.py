"""show, check, compile: what notebooks say, and what is made of them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click
from click.core import ParameterSource

from kaleyard.cli.argument_types import NOTEBOOK
from kaleyard.cli.screen import screen

__all__ = ["check", "compile_", "show"]


@click.command()
@click.argument("notebook", type=NOTEBOOK)
@click.option("--format", "form", default="text", help="text, svg, html or json.", show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write to this file instead of standard output.")
def show(notebook: Path, form: str, output: Path | None) -> None:
    """Show the pipeline of NOTEBOOK as a graph.

    Example: kaleyard show notebooks/housing.ipynb --format svg -o housing.svg
    """
    import kaleyard

    asked = click.get_current_context().get_parameter_source("form") != ParameterSource.DEFAULT
    if output is None and not asked:
        screen().graph(kaleyard.read(notebook))
        return
    text = kaleyard.show(notebook, form)
    if output is None:
        click.echo(text)
    else:
        _write(output, text)


@click.command()
@click.argument("notebooks", nargs=-1, type=NOTEBOOK)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@click.option("--sarif", "as_sarif", is_flag=True, help="Print the findings as SARIF 2.1.0, for code scanning.")
def check(notebooks: tuple[Path, ...], as_json: bool, as_sarif: bool) -> None:
    """Check NOTEBOOKS against every rule (default: all pipeline notebooks). No kernel starts.

    Exits with 3 if a finding is an error. Example: kaleyard check notebooks/housing.ipynb
    """
    import kaleyard
    from kaleyard.rules.sarif import sarif

    findings = kaleyard.check(*notebooks)
    if as_sarif:
        click.echo(json.dumps(sarif(findings), indent=1))
    elif as_json:
        click.echo(json.dumps([f.to_dict() for f in findings], indent=1))
    else:
        screen().findings(findings)
    sys.exit(3 if any(f.is_error for f in findings) else 0)


@click.command(name="compile")
@click.argument("notebooks", nargs=-1, type=NOTEBOOK)
@click.option("--check", "only_check", is_flag=True, help="Write nothing; exit with 3 if components are out of date.")
def compile_(notebooks: tuple[Path, ...], only_check: bool) -> None:
    """Compile NOTEBOOKS to KFP components in components/ (default: all pipeline notebooks).

    Example: kaleyard compile --check
    """
    import kaleyard
    from kaleyard.errors import StaleError

    result = kaleyard.compile(*notebooks, check=only_check)
    names = ", ".join(result.pipelines)
    if only_check and result.changes:
        lines = "\n".join(f"  {state}: {result.folder / name}" for name, state in sorted(result.changes.items()))
        raise StaleError(f"the components of {names} are stale\n{lines}", fix="Run `kaleyard compile` and commit.")
    if only_check:
        click.echo(f"the components of {names} are up to date")
        return
    for name, state in sorted(result.changes.items()):
        click.echo(f"{'removed' if state == 'left over' else 'wrote'} {result.folder / name}")
    if not result.changes:
        click.echo(f"the components of {names} were up to date")


def _write(path: Path, text: str) -> None:
    from kaleyard.errors import ExternalError

    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ExternalError(f"{path} cannot be written: {error.strerror}") from error
