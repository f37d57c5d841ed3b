"""Where an image comes from: the project's revision and source, and the digest of its base image."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from kaleyard.errors import ExternalError, KaleyardError
from kaleyard.images.builders import Builder
from kaleyard.images.oci_registry import Registry, split_repository

__all__ = ["origin", "registry_digest", "seen_digests"]

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


def registry_digest(image: str) -> str:
    """The digest of the image in its registry. Raises ExternalError if that cannot be asked, or has none."""
    host, path, tag = _registry_name(image)
    digest = Registry(host).digest(path, tag)
    if digest is None:
        raise ExternalError(f"the registry {host} has no image {path}:{tag}", fix="Name one that it has.")
    return digest


def seen_digests(images: Iterable[str], builder: Callable[[], Builder], *, engine_first: bool) -> dict[str, str]:
    """The digests that registries have for the names of these base images, or that the builder's engine knows.

    A name without a digest at both is left out: what it means is then the builder's alone to say.
    """

    def from_engine(image: str) -> str:
        return builder().digest(image)

    ways = (from_engine, registry_digest) if engine_first else (registry_digest, from_engine)
    found: dict[str, str] = {}
    for image in images:
        for way in ways:
            with suppress(KaleyardError):
                found[image] = found.get(image) or way(image)
    return {image: digest for image, digest in found.items() if digest}


def _registry_name(image: str) -> tuple[str, str, str]:
    """Host, path and tag of an image. A name that begins with no host is one of Docker Hub."""
    folder, slash, last = image.rpartition("/")
    last, _, tag = last.partition(":")
    first = folder.partition("/")[0]
    if not slash:
        folder = "docker.io/library"
    elif first != "localhost" and not {".", ":"} & {*first}:
        folder = f"docker.io/{folder}"
    return *split_repository(f"{folder}/{last}"), tag or "latest"


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
