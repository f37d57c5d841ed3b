"""The step's Dockerfile, and the script that its stages run, from `templates/step`."""

from __future__ import annotations

import re
from collections.abc import Collection

from kaleyard.compiler.image_layers import OTHERS, RUNNER_LAYER
from kaleyard.config import template_folder
from kaleyard.errors import Location, ProjectError
from kaleyard.pipeline import Step
from kaleyard.runtime.contract import STEP_FOLDER

__all__ = ["dockerfile", "layer_script"]

_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._\-/:@]*")


def dockerfile(step: Step, base_image: str, layers: Collection[str] = ()) -> bytes:
    """The Dockerfile of the step's image. Raises ProjectError if `base_image` cannot be an image's name.

    `layers` are the names of the layers of packages (`image_layers.step_layers`). Content key, revision and source are
    build arguments: the committed file may change only when the step does, and a content key cannot be in what it is
    made from.
    """
    import jinja2

    if not _IMAGE.fullmatch(base_image):
        raise ProjectError(
            f"{base_image!r} is not the name of an image",
            place=Location(step.notebook or None, step=step.name),
            fix="Set base-image in pyproject.toml, or the step's image: tag, to a name such as python:3.12-slim.",
        )
    source = (template_folder("step") / "Dockerfile.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(  # noqa: S701, no HTML
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True, trim_blocks=True
    )
    template = environment.from_string(source)
    name, _, digest = base_image.partition("@")
    large = [layer for layer in layers if layer not in (RUNNER_LAYER, OTHERS)]
    text = template.render(
        step=step.name,
        base_image=base_image,
        base_name=name,
        base_digest=digest,
        step_folder=STEP_FOLDER,
        large=large,
        # A small package more does not install the large ones again.
        stages=({"large": "large/"} if large else {}) | ({OTHERS: f"{OTHERS}.txt"} if OTHERS in layers else {}),
    )
    return text.encode()


def layer_script() -> bytes:
    """The script `layer.py` that the Dockerfile's stages run."""
    return (template_folder("step") / "layer.py").read_bytes()
