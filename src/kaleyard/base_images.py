"""The base images that steps are built on, and their digests in `images.lock`, the file beside the packages' lock."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

from kaleyard.config import Project
from kaleyard.errors import ExternalError, ProjectError
from kaleyard.pipeline import Step
from kaleyard.runtime.executor_io import atomic_write

__all__ = ["base_image", "base_images", "images_lock", "locked_digests", "pinned", "write_digests"]

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_HEAD = """\
# The base images of the steps, each with the digest that its registry had when `kaleyard lock` last asked.
"""


def base_image(step: Step, project: Project) -> str:
    """The base image of the step: that of its `image:` tag, else the project's."""
    return step.settings.image or project.base_image


def base_images(steps: Iterable[Step], project: Project) -> list[str]:
    """The names of the base images of these steps, and the project's own, sorted."""
    return sorted({project.base_image, *(base_image(step, project) for step in steps)})


def images_lock(project: Project) -> Path:
    """The path of the file with the digests."""
    return (project.root / project.lock).with_name("images.lock")


def locked_digests(project: Project) -> dict[str, str]:
    """The locked digests by image name; none without the file. Raises ProjectError if the file is invalid."""
    path = images_lock(project)
    try:
        digests = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ProjectError(f"{path} cannot be read: {error}", fix="Remove it, and run `kaleyard lock`.") from error
    for name, digest in digests.items():
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            raise ProjectError(
                f"{path}: {digest!r} is not the digest of {name}", fix="Remove the line, and run `kaleyard lock`."
            )
    return digests


def write_digests(digests: Mapping[str, str], project: Project) -> None:
    """Write `images.lock`. Raises ExternalError if it cannot be written."""
    path = images_lock(project)
    text = _HEAD + "".join(f'"{name}" = "{digest}"\n' for name, digest in sorted(digests.items()))
    try:
        atomic_write(path, text)
    except OSError as error:
        raise ExternalError(f"{path} cannot be written: {error.strerror}", fix="Make it writable.") from error


def pinned(image: str, digests: Mapping[str, str]) -> str:
    """The image's name with its digest, `python:3.12-slim@sha256:...`; the plain name if the digest is unknown."""
    digest = "" if "@" in image else digests.get(image, "")
    return f"{image}@{digest}" if digest else image
