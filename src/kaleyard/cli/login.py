"""login: sign in to the registry."""

from __future__ import annotations

import os
import sys

import click

__all__ = ["login"]


@click.command()
@click.option("--registry", help="Registry to sign in to (default: `registry` in pyproject.toml).")
@click.option("--username", help="User name (default: REGISTRY_USER).")
@click.option("--password-stdin", is_flag=True, help="Read the token from standard input, not from REGISTRY_TOKEN.")
@click.option("--builder", help="docker, podman or buildah (default: the first one that works).")
def login(registry: str | None, username: str | None, password_stdin: bool, builder: str | None) -> None:
    """Sign Docker, Podman or buildah in to the registry, as REGISTRY_USER with REGISTRY_TOKEN.

    If your cloud issues short-lived tokens, use its credential helper instead; then no login is needed.
    Example: kaleyard login --registry registry.example.com/team
    """
    import kaleyard

    user = username or os.environ.get("REGISTRY_USER", "")
    token = sys.stdin.read().rstrip("\r\n") if password_stdin else os.environ.get("REGISTRY_TOKEN", "")
    done = kaleyard.login(user, token, registry=registry, builder=builder)
    click.echo(f"{done.builder} is signed in to {done.host} as {done.user}")
