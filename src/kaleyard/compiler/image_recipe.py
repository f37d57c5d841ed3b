"""What a step's image is made from, and what it is called."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from kaleyard.base_images import base_image, locked_digests, pinned
from kaleyard.compiler.content_key import content_key
from kaleyard.compiler.dockerfile import dockerfile, layer_script
from kaleyard.compiler.lockfile import Lock, step_layers, step_requirements
from kaleyard.compiler.step_notebook import step_notebook
from kaleyard.config import Project
from kaleyard.errors import Location
from kaleyard.pipeline import Pipeline, Step

__all__ = ["ImageRecipe", "pipeline_recipes"]

_TAG_LENGTH = 16


@dataclass(frozen=True, slots=True)
class ImageRecipe:
    """A step's image before it is built.

    `packages` are requirements by the layer they go into. `base_image` has its digest, if that is known. The image is
    `repository:tag`, and the tag is the beginning of `key`, the key of all that is in it.
    """

    step: Step
    notebook: bytes
    requirements: str
    packages: Mapping[str, str]
    dockerfile: bytes
    layer_script: bytes
    base_image: str
    key: str
    repository: str

    @property
    def tag(self) -> str:
        """The content key, shortened."""
        return self.key[:_TAG_LENGTH]

    @property
    def place(self) -> Location:
        """Where the step is, for messages."""
        return Location(self.step.notebook or None, step=self.step.name)

    @property
    def image(self) -> str:
        """The image's name by content: `<registry>/<pipeline>-<step>:<tag>`."""
        return f"{self.repository}:{self.tag}"


def pipeline_recipes(
    pipeline: Pipeline, project: Project, seen: Mapping[str, str] | None = None
) -> dict[str, ImageRecipe]:
    """The recipe of every step's image, by step name. Raises ProjectError if the lock lacks what a step imports.

    `seen` are digests of base images that `images.lock` does not have, by their names.
    """
    lock = Lock.read(project.root / project.lock)
    digests = {**(seen or {}), **locked_digests(project)}
    bases = {step.name: pinned(base_image(step, project), digests) for step in pipeline.steps}
    return {step.name: _recipe(pipeline, step, project, lock, bases[step.name]) for step in pipeline.steps}


def _recipe(pipeline: Pipeline, step: Step, project: Project, lock: Lock, base: str) -> ImageRecipe:
    layers = step_layers(step, lock)
    notebook, requirements, script = step_notebook(pipeline, step), step_requirements(step, lock), layer_script()
    text = dockerfile(step, base, layers)
    name = re.sub(r"[^a-z0-9]+", "-", f"{pipeline.name}-{step.name}".lower()).strip("-") or "step"
    return ImageRecipe(
        step=step,
        notebook=notebook,
        requirements=requirements,
        packages={layer: lock.lines(names) for layer, names in layers.items()},
        dockerfile=text,
        layer_script=script,
        base_image=base,
        key=content_key(step, notebook, requirements, text + script, project),
        repository=f"{project.registry}/{name}",
    )
