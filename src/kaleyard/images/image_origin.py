"""Where an image comes from, for its labels: the project's revision and source, and its base image's digest."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from kaleyard.errors import ExternalError, ProjectError
from kaleyard.images.builders import Builder
from kaleyard.images.oci_registry import Registry, split_repository

__all__ = ["base_digest", "origin"]

_SECONDS = 30


def origin(root: Path) -> dict[str, str]:
    """The build arguments REVISION and SOURCE, as far as git knows them.

    The revision says so if there are changes that are not committed. A source that is a folder of this machine says
    nothing elsewhere and is left out, as is whatever signs in to it.
    """
    revision = _git(root, "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*")
    source = re.sub(r"^([a-z+]+://)[^/@]*@", r"\1", _git(root, "config", "--get", "remote.origin.url"))
    if not re.match(r"(https?|ssh|git)://|[\w.-]+@[\w.-]+:", source):
        source = ""
    return {name: value for name, value in (("REVISION", revision), ("SOURCE", source)) if value}


def base_digest(image: str, builder: Builder) -> str:
    """The digest of a base image: as its name says, else as the engine or the registry it names knows it; or "".

    It is for people to read: what an image is built on is decided by the name alone, so that the same project always
    means the same images. To follow a base image's updates, name it by digest.
    """
    name, _, digest = image.partition("@")
    digest = digest or builder.digest(image)
    if digest:
        return digest
    try:
        host, path = split_repository(name.rpartition(":")[0] or name)
        return Registry(host).digest(path, name.rpartition(":")[2]) or ""
    except (ProjectError, ExternalError):
        return ""


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments],  # noqa: S607 - the user's own git
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
