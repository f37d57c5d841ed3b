"""The command line: one command per verb. It parses, calls, prints, and turns errors into exit codes."""

from __future__ import annotations

import signal
import sys
from importlib import import_module
from types import FrameType
from typing import Any, NoReturn

import click

from kaleyard.errors import KaleyardError
from kaleyard.runtime.import_shortcuts import skip_iri_grammar

__all__ = ["cli", "main"]

_INTERRUPTED = 130

# The verbs in the order of work, each with the file beside this one that holds it, and its name there.
_VERBS = {
    "new": ("new", "new"),
    "update": ("new", "update"),
    "show": ("check", "show"),
    "check": ("check", "check"),
    "test": ("test", "test"),
    "run": ("run", "run"),
    "compile": ("check", "compile_"),
    "lock": ("lock", "lock"),
    "login": ("login", "login"),
    "build": ("build", "build"),
    "submit": ("submit", "submit"),
    "runs": ("runs", "runs"),
    "logs": ("runs", "logs"),
    "doctor": ("doctor", "doctor"),
}


class _Verbs(click.Group):
    """The verbs of the table, each imported when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in _VERBS:
            return None
        file, name = _VERBS[cmd_name]
        command: click.Command = getattr(import_module(f"{__name__}.{file}"), name)
        return command


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="kaleyard")
def cli() -> None:
    """Run annotated notebooks as pipelines, on this machine or on Kubeflow."""


def main() -> None:
    """Run the command line and exit: 0 done, 1 a step failed, 2 wrong use, 3 findings, 4 outside, 130 interrupted."""
    signal.signal(signal.SIGTERM, _terminate)
    skip_iri_grammar()
    try:
        cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        _interrupted()
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except KaleyardError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        _interrupted()
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)


def _interrupted() -> NoReturn:
    click.echo("interrupted: what was under way was stopped", err=True)
    sys.exit(_INTERRUPTED)


def _terminate(_signal: int, _frame: FrameType | None) -> Any:
    """SIGTERM ends a run as Ctrl-C does: no step is left behind."""
    raise KeyboardInterrupt
