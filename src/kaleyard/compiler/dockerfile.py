"""The step's Dockerfile, from `templates/step`."""

from __future__ import annotations

import re

from kaleyard.errors import Place, ProjectError
from kaleyard.pipeline import Step
from kaleyard.project import template_folder
from kaleyard.runtime.contract import STEP_FOLDER

__all__ = ["dockerfile"]

_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._\-/:@]*")


def dockerfile(step: Step, base_image: str) -> bytes:
    """The Dockerfile of the step's image. Raises ProjectError if `base_image` cannot be an image's name.

    It says nothing of content key, revision or source: these are build arguments, since the committed file may
    change only when the step does, and a content key cannot be in what it is made from.
    """
    import jinja2

    if not _IMAGE.fullmatch(base_image):
        raise ProjectError(
            f"{base_image!r} is not the name of an image",
            place=Place(step.notebook or None, step=step.name),
            fix="Set base-image in pyproject.toml, or the step's image: tag, to a name such as python:3.12-slim.",
        )
    source = (template_folder("step") / "Dockerfile.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)  # noqa: S701, no HTML
    template = environment.from_string(source)
    text = template.render(step=step.name, base_image=base_image, step_folder=STEP_FOLDER)
    return text.encode()
