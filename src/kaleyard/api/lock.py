"""Lock the digests of base images in `images.lock`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kaleyard.api.check import pipeline_notebooks
from kaleyard.config import Project, find_project
from kaleyard.errors import ExternalError, NotebookError
from kaleyard.pipeline import Step

__all__ = ["LockedImages", "lock"]


@dataclass(frozen=True, slots=True)
class LockedImages:
    """The digests in `images.lock` now and before, and by image the reason why its registry gave none."""

    path: Path
    digests: Mapping[str, str]
    before: Mapping[str, str]
    silent: Mapping[str, str]


def lock() -> LockedImages:
    """Write the current digests of the base images of the project's pipelines; return what was written.

    If a registry does not answer, the digest in the file stays. Images that no pipeline uses are removed. Raises
    ProjectError if `images.lock` is invalid, ExternalError if it cannot be written.
    """
    from kaleyard.base_images import base_images, images_lock, locked_digests, write_digests
    from kaleyard.images.image_origin import registry_digest

    project = find_project()
    before = locked_digests(project)
    told = [_steps(path, project) for path in pipeline_notebooks(project)]
    names = base_images([step for steps in told for step in steps or ()], project)
    # A notebook that cannot be read may use any of them.
    found = {name: before[name] for name in before if name in names or None in told}
    silent: dict[str, str] = {}
    for name in (n for n in names if "@" not in n):
        try:
            found[name] = registry_digest(name)
        except ExternalError as error:
            silent[name] = error.what
    if found != before:
        write_digests(found, project)
    return LockedImages(images_lock(project), found, before, silent)


def _steps(path: Path, project: Project) -> tuple[Step, ...] | None:
    """The steps of a notebook; None if its findings keep it from being a pipeline."""
    from kaleyard.rules.checker import check

    try:
        reading = check(path, project)[1]
    except NotebookError:
        return None
    return reading.pipeline.steps if reading else None
