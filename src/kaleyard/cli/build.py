"""build: the images of the steps."""

from __future__ import annotations

import json
from pathlib import Path

import click

from kaleyard.cli.argument_types import NOTEBOOK

__all__ = ["build"]


@click.command()
@click.argument("notebooks", nargs=-1, type=NOTEBOOK)
@click.option("--builder", help="docker, podman or buildah (default: the first one that works).")
@click.option("--registry", help="Registry to push to (default: `registry` in pyproject.toml).")
@click.option("--platform", default="", metavar="OS/PROCESSOR", help="Target platform, such as linux/amd64.")
@click.option("--push/--no-push", default=True, show_default=True, help="Push the images, or keep them in the engine.")
@click.option("--dry-run", is_flag=True, help="Only list the images that the registry lacks.")
@click.option(
    "--jobs", "-j", type=click.IntRange(min=1), help="Maximum parallel builds (default: depends on the builder)."
)
@click.option(
    "--secret",
    "secrets",
    multiple=True,
    envvar="KALEYARD_BUILD_SECRETS",
    metavar="id=ID,src=FILE",
    help="For the build alone: ca or pipconf (default: KALEYARD_BUILD_SECRETS, with blanks between).",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON only.")
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
    """Build and push the images of NOTEBOOKS' steps, and write build/PIPELINE/pipeline.yaml (default: all notebooks).

    Only images that the registry does not have are built. Example: kaleyard build --registry localhost:5000
    """
    import kaleyard
    from kaleyard.reporting.build_console import make_build_reporter

    built = kaleyard.build(
        *notebooks,
        builder=builder,
        registry=registry,
        platform=platform,
        push=push,
        dry_run=dry_run,
        jobs=jobs,
        secrets=dict(map(_secret, secrets)),
        reporter=make_build_reporter(json=as_json),
    )
    if as_json:
        click.echo(json.dumps([b.to_dict() for b in built], indent=1))


def _secret(text: str) -> tuple[str, str]:
    """The name and the file in `id=NAME,src=FILE`."""
    from kaleyard.errors import UsageError

    name, comma, path = text.removeprefix("id=").partition(",src=")
    if not text.startswith("id=") or not comma or not name or not path:
        raise UsageError(f"{text!r} is no secret", fix="Write --secret id=ca,src=FILE.")
    return name, path
