"""login: the builder signed in to the registry."""

from __future__ import annotations

import os
import sys

import click

__all__ = ["login"]


@click.command()
@click.option("--registry", help="The registry (default: registry in pyproject.toml).")
@click.option("--username", help="Who signs in (default: the variable REGISTRY_USER).")
@click.option("--password-stdin", is_flag=True, help="Read the token from standard input, not from REGISTRY_TOKEN.")
@click.option("--builder", help="docker, podman or buildah (default: the first that works here).")
def login(registry: str | None, username: str | None, password_stdin: bool, builder: str | None) -> None:
    """Docker, Podman or buildah signed in to the registry, as REGISTRY_USER by REGISTRY_TOKEN.

    Where a cloud makes tokens that last for hours, use its credential helper instead: then nobody has to sign in.
    Example: kaleyard login --registry registry.example.com/team
    """
    import kaleyard

    user = username or os.environ.get("REGISTRY_USER", "")
    token = sys.stdin.read().rstrip("\r\n") if password_stdin else os.environ.get("REGISTRY_TOKEN", "")
    done = kaleyard.login(user, token, registry=registry, builder=builder)
    click.echo(f"{done.builder} is signed in to {done.host} as {done.user}")
