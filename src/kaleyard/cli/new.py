"""new and update: projects from the template."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path

import click

from kaleyard.errors import StaleError, UsageError

__all__ = ["new", "update"]


@click.command()
@click.argument("folder", required=False, metavar="[DIR]", type=click.Path(path_type=Path))
@click.argument("answers", nargs=-1, metavar="[QUESTION=ANSWER]...")
@click.option("--no-input", is_flag=True, help="Ask no questions: use the defaults for what is not answered here.")
def new(folder: Path | None, answers: tuple[str, ...], no_input: bool) -> None:
    """Create a project in DIR from the template (default: a folder named after the project).

    Questions: project_name, project_slug, description, author, license, python_version, registry, starter. On a
    terminal they are asked, with your answers as defaults. Example: kaleyard new house-prices license=MIT
    """
    import kaleyard

    arguments = list(answers)
    if folder is not None and "=" in folder.name:
        arguments, folder = [str(folder), *arguments], None
    project = kaleyard.new(folder, dict(map(_answer, arguments)), ask=not no_input and sys.stdin.isatty())
    shown = shlex.quote(os.path.relpath(project))
    click.echo(f"made {shown}\n")
    click.echo(f"  cd {shown}\n  git init && git add --all")
    click.echo("  make run      # the environment, then the pipeline\n  make test     # every check and test")


def _answer(text: str) -> tuple[str, str]:
    name, equals, answer = text.partition("=")
    if not equals:
        raise UsageError(f"{text!r} is no answer", fix="Write QUESTION=ANSWER, such as starter=blank.")
    return name, answer


@click.command()
@click.argument("folder", default=".", metavar="[DIR]", type=click.Path(path_type=Path))
@click.option("--from", "source", metavar="REPOSITORY", help="Use the template in this git repository.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON only.")
def update(folder: Path, source: str | None, as_json: bool) -> None:
    """Update the project in DIR (default: here) to the template of this Kaleyard, and keep your changes.

    Where you and the template changed the same lines, both stand in the file between <<<<<<< and >>>>>>>, git says
    so too, and the exit code is 3. Example: kaleyard update --from https://git.example.com/kaleyard
    """
    import kaleyard

    done = kaleyard.update(folder, source=source)
    if as_json:
        click.echo(json.dumps(done.to_dict(), indent=1))
    else:
        lines = [f"wrote {path}" for path in done.written if path not in done.conflicts]
        lines += [f"removed {path}" for path in done.removed]
        lines += [f"left out {path}: the template changed it, and you had dropped it" for path in done.kept_out]
        lines += [f"conflict in {path}: {what}" for path, what in done.conflicts.items()]
        click.echo("\n".join(lines or ["the project is up to date with this template"]))
        if done.written:
            click.echo("\nSee what changed with `git diff`; then `make compile` and `make test`.")
    if done.conflicts:
        sys.exit(StaleError.exit_code)
