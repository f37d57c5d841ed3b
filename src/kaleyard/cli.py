"""The command line: one command per verb. It parses, calls, prints, and turns errors into exit codes."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

import click

from kaleyard.errors import KaleyardError
from kaleyard.runtime.imports import skip_iri_grammar

if TYPE_CHECKING:
    from kaleyard.notebook.findings import Finding

__all__ = ["main"]

_NOTEBOOK = click.Path(path_type=Path)
_INTERRUPTED = 130


class _Commands(click.Group):
    """The verbs in the order they were written, which is the order of work."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(self.commands)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="kaleyard")
def cli() -> None:
    """Annotated notebooks as Kubeflow pipelines: they run here, and on any cluster unchanged."""


@cli.command()
@click.argument("notebook", type=_NOTEBOOK)
@click.option("--format", "form", default="text", help="text, svg, html or json.", show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write to this file.")
def show(notebook: Path, form: str, output: Path | None) -> None:
    """The pipeline of NOTEBOOK as a graph.

    Example: kaleyard show notebooks/housing.ipynb --format svg -o housing.svg
    """
    from kaleyard import api

    text = api.show(notebook, form)
    if output is None:
        click.echo(text)
    else:
        _write(output, text)


@cli.command()
@click.argument("notebooks", nargs=-1, type=_NOTEBOOK)
@click.option("--json", "as_json", is_flag=True, help="The findings as JSON.")
@click.option("--sarif", "as_sarif", is_flag=True, help="The findings as SARIF 2.1.0, for code scanning.")
def check(notebooks: tuple[Path, ...], as_json: bool, as_sarif: bool) -> None:
    """Every rule over NOTEBOOKS (all pipeline notebooks by default). No kernel starts.

    Exits 3 if there is an error among the findings. Example: kaleyard check notebooks/housing.ipynb
    """
    from kaleyard import api
    from kaleyard.notebook.sarif import sarif

    findings = api.check(*notebooks)
    if as_sarif:
        click.echo(json.dumps(sarif(findings), indent=1))
    elif as_json:
        click.echo(json.dumps([f.to_dict() for f in findings], indent=1))
    else:
        for finding in findings:
            click.echo(f"{'disabled' if finding.disabled else finding.severity}: {finding}")
        click.echo(_counted(findings))
    sys.exit(3 if any(f.is_error for f in findings) else 0)


@cli.command()
@click.argument("notebook", type=_NOTEBOOK, required=False)
@click.option("-p", "parameters", multiple=True, metavar="NAME=VALUE", help="A parameter's value; may be repeated.")
@click.option("--jobs", "-j", type=click.IntRange(min=1), help="Steps at once (default: what has room).")
@click.option("--no-cache", is_flag=True, help="Run every step, whatever is cached.")
@click.option("--from", "from_step", metavar="STEP", help="Run STEP and all after it, even if cached.")
@click.option("--only", metavar="STEP", help="Run STEP alone, with what it needs.")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="For each step.")
@click.option("--run-timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="For the run.")
@click.option("--runner", default="process", show_default=True, help="How steps run: process, or container.")
@click.option("--cold", is_flag=True, help="Start every kernel as a new process.")
@click.option("--profile", "profiled", is_flag=True, help="Print where each step's time went.")
@click.option("--json", "as_json", is_flag=True, help="Print the run as JSON at its end, and nothing else.")
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
    profiled: bool,
    as_json: bool,
) -> None:
    """Run the pipeline of NOTEBOOK here (all pipeline notebooks by default).

    Writes runs/PIPELINE/RUN/index.html. Example: kaleyard run notebooks/housing.ipynb -p SEED=7
    """
    from kaleyard import api
    from kaleyard.local.profile import profile_table
    from kaleyard.local.reporter import make_reporter
    from kaleyard.project import find_project

    paths = [notebook] if notebook else api.pipeline_notebooks(find_project())
    failed = not paths
    for path in paths:
        done = api.run(
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
            reporter=make_reporter(json=as_json),
        )
        failed = failed or done.state != "done"
        if as_json:
            click.echo(json.dumps(done.to_dict() | {"folder": str(done.folder)}, indent=1))
        elif profiled:
            click.echo("\n".join(profile_table(done)))
    sys.exit(1 if failed else 0)


@cli.command(name="compile")
@click.argument("notebooks", nargs=-1, type=_NOTEBOOK)
@click.option("--check", "only_check", is_flag=True, help="Write nothing; exit 3 if components are stale.")
def compile_(notebooks: tuple[Path, ...], only_check: bool) -> None:
    """NOTEBOOKS (all pipeline notebooks by default) as KFP components, under components/.

    Example: kaleyard compile --check
    """
    from kaleyard import api
    from kaleyard.errors import StaleError

    result = api.compile(*notebooks, check=only_check)
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


@cli.command()
@click.argument("notebooks", nargs=-1, type=_NOTEBOOK)
@click.option("--builder", help="docker, podman or buildah (default: the first that works here).")
@click.option("--registry", help="Where images go (default: registry in pyproject.toml).")
@click.option("--platform", default="", metavar="OS/PROCESSOR", help="Build for this, such as linux/amd64.")
@click.option("--push/--no-push", default=True, show_default=True, help="Push, or keep the images in the engine.")
@click.option("--dry-run", is_flag=True, help="Only tell which images the registry lacks.")
@click.option("--jobs", "-j", type=click.IntRange(min=1), help="Builds at once (default: what suits the builder).")
@click.option(
    "--secret", "secrets", multiple=True, metavar="id=ID,src=FILE", help="For the build alone: ca or pipconf."
)
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON, and nothing else.")
def build(
    notebooks: tuple[Path, ...],
    builder: str | None,
    registry: str | None,
    platform: str,
    push: bool,
    dry_run: bool,
    jobs: int | None,
    secrets: tuple[str, ...],
    as_json: bool,
) -> None:
    """The images of NOTEBOOKS' steps (all pipeline notebooks by default), and build/PIPELINE/pipeline.yaml.

    Builds and pushes only what the registry does not have. Example: kaleyard build --registry localhost:5000
    """
    from kaleyard import api
    from kaleyard.cluster.progress import make_reporter

    built = api.build(
        *notebooks,
        builder=builder,
        registry=registry,
        platform=platform,
        push=push,
        dry_run=dry_run,
        jobs=jobs,
        secrets=dict(map(_secret, secrets)),
        reporter=make_reporter(json=as_json),
    )
    if as_json:
        click.echo(json.dumps([b.to_dict() for b in built], indent=1))


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


def _secret(told: str) -> tuple[str, str]:
    """The name and the file in `id=NAME,src=FILE`."""
    from kaleyard.errors import UsageError

    name, comma, path = told.removeprefix("id=").partition(",src=")
    if not told.startswith("id=") or not comma or not name or not path:
        raise UsageError(f"{told!r} is no secret", fix="Write --secret id=ca,src=FILE.")
    return name, path


def _counted(findings: Sequence[Finding]) -> str:
    """How many findings of each kind there are, in words."""
    counts = {"error": 0, "warning": 0, "disabled": 0}
    for finding in findings:
        counts["disabled" if finding.disabled else finding.severity] += 1
    told = [f"{n} {word}{'s' * (n != 1 and word != 'disabled')}" for word, n in counts.items() if n]
    return ", ".join(told) or "no findings"


def _interrupted() -> NoReturn:
    click.echo("interrupted: every step was stopped", err=True)
    sys.exit(_INTERRUPTED)


def _terminate(_signal: int, _frame: FrameType | None) -> Any:
    """SIGTERM ends a run as Ctrl-C does: no step is left behind."""
    raise KeyboardInterrupt


def _write(path: Path, text: str) -> None:
    from kaleyard.errors import OutsideError

    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutsideError(f"{path} cannot be written: {error.strerror}") from error
