"""doctor: what is missing here."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING

import click

from kaleyard.errors import ExternalError

if TYPE_CHECKING:
    from kaleyard.diagnosis.probe import ProbeResult
    from kaleyard.diagnosis.purposes import Diagnosis

__all__ = ["doctor"]

_GOOD, _OPTIONAL, _BAD = "green", "yellow", "red"


@click.command()
@click.option(
    "--for",
    "purpose",
    default="local",
    show_default=True,
    metavar="PURPOSE",
    help="local, containers, kind, minikube, k3d, microk8s, cluster (one that is there) or submit.",
)
@click.option("--value", "keys", multiple=True, metavar="KEY", help="Print one value of the compatibility table.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON only.")
def doctor(purpose: str, keys: tuple[str, ...], as_json: bool) -> None:
    """Check what is missing, too old or too small on this machine for a purpose, and how to fix it.

    Exits with 4 if something that the purpose needs is not usable. Example: kaleyard doctor --for kind
    """
    import kaleyard

    if keys:
        from kaleyard.compatibility import value

        click.echo("\n".join(map(value, keys)))
        return
    diagnosis = kaleyard.doctor(purpose)
    if as_json:
        click.echo(json.dumps(diagnosis.to_dict(), indent=1))
    else:
        _print(diagnosis)
    if diagnosis.stops:
        sys.exit(ExternalError.exit_code)


def _print(diagnosis: Diagnosis) -> None:
    needed = [f for f in diagnosis.findings if f.needed]
    others = [f for f in diagnosis.findings if not f.needed]
    width = max(len(f.name) for f in diagnosis.findings)
    click.echo(f"needed for {diagnosis.purpose}:")
    for finding in needed:
        _print_one(finding, width)
    click.echo("not needed for it:")
    for finding in others:
        _print_one(finding, width)
    stops = len(diagnosis.stops)
    what = f"{stops} to mend" if stops else "all that is needed is here"
    click.echo(click.style(f"{diagnosis.purpose}: {what}", fg=_BAD if stops else _GOOD, bold=True))


def _print_one(finding: ProbeResult, width: int) -> None:
    colour = _BAD if finding.stops else _OPTIONAL if not finding.will_do or finding.state == "tight" else _GOOD
    state = click.style(f"{finding.state:<8}", fg=colour)
    lines = _wrapped(finding.what, width)
    # What nobody asked for needs no fix: a list of everything one could install would hide what matters.
    if finding.fix and (finding.needed or finding.state not in {"missing", "unset"}):
        lines += _wrapped(finding.fix, width)
    click.echo(f"  {state} {finding.name:<{width}}  {lines[0]}")
    for line in lines[1:]:
        click.echo(f"  {'':<8} {'':<{width}}  {line}")


def _wrapped(text: str, width: int) -> list[str]:
    """The text in lines as wide as the terminal leaves; one line where nobody looks at it."""
    if not sys.stdout.isatty():
        return [text]
    room = max(40, shutil.get_terminal_size().columns - width - 14)
    return textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False) or [""]
