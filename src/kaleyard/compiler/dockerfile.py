"""The step's Dockerfile, and the script that its stages run, from `templates/step`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from kaleyard.config import template_folder
from kaleyard.errors import Location, ProjectError
from kaleyard.pipeline import Step
from kaleyard.runtime.contract import STEP_FOLDER

__all__ = ["PRUNED_PATHS", "dockerfile", "layer_script"]

_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._\-/:@]*")

# Folders that no step can need, by distribution, as patterns below site-packages: 80 MB of scikit-learn's image. Only
# tests that the package itself imports nowhere (tests/test_dockerfile.py looks), never whatever is called so: the
# `tests` of astropy and others are part of what they do. Of jedi, the stubs that tab completion reads.
PRUNED_PATHS: Mapping[str, tuple[str, ...]] = {
    "jedi": ("jedi/third_party",),
    "numpy": ("numpy/**/tests",),
    "pandas": ("pandas/tests",),
    "pyarrow": ("pyarrow/tests",),
    "scikit-learn": ("sklearn/**/tests",),
    "scipy": ("scipy/**/tests",),
}


def dockerfile(step: Step, base_image: str, packages: Mapping[str, Iterable[str]] | None = None) -> bytes:
    """The Dockerfile of the step's image. Raises ProjectError if `base_image` cannot be an image's name.

    `packages` are the layers of packages, each with the names of its distributions (`requirements.step_layers`).
    It says nothing of content key, revision or source: these are build arguments, since the committed file may
    change only when the step does, and a content key cannot be in what it is made from.
    """
    import jinja2

    if not _IMAGE.fullmatch(base_image):
        raise ProjectError(
            f"{base_image!r} is not the name of an image",
            place=Location(step.notebook or None, step=step.name),
            fix="Set base-image in pyproject.toml, or the step's image: tag, to a name such as python:3.12-slim.",
        )
    layers = {
        layer: "".join(f" --without '{pattern}'" for name in names for pattern in PRUNED_PATHS.get(name, ()))
        for layer, names in (packages or {}).items()
    }
    source = (template_folder("step") / "Dockerfile.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(  # noqa: S701, no HTML
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True, trim_blocks=True
    )
    template = environment.from_string(source)
    name, _, digest = base_image.partition("@")
    text = template.render(
        step=step.name,
        base_image=base_image,
        base_name=name,
        base_digest=digest,
        step_folder=STEP_FOLDER,
        packages=layers,
    )
    return text.encode()


def layer_script() -> bytes:
    """The script `layer.py` that the Dockerfile's stages run."""
    return (template_folder("step") / "layer.py").read_bytes()
