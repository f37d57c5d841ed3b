"""What became of a pipeline's images, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kaleyard.compiler.image_recipe import ImageRecipe

__all__ = ["BuiltPipeline", "StepImage"]


@dataclass(slots=True)
class StepImage:
    """A step's image: its name by content, its digest once the registry has it, and what happens to it.

    `state` is "waiting", "building", "pushing", and in the end "there" (nothing had to be done), "built" or "pushed".
    """

    step: str
    repository: str
    tag: str
    key: str
    digest: str = ""
    state: str = "waiting"
    built: bool = False
    pushed: bool = False
    seconds: float = 0.0

    @property
    def name(self) -> str:
        """Its name by content: `repository:tag`."""
        return f"{self.repository}:{self.tag}"

    @property
    def pinned(self) -> str:
        """Its name by digest, which is always the same image: `repository@sha256:...`."""
        return f"{self.repository}@{self.digest}"


@dataclass(slots=True)
class BuiltPipeline:
    """What `build` did for a pipeline: its images by step, and the pipeline package, if all are in the registry."""

    pipeline: str
    recipes: Mapping[str, ImageRecipe]
    steps: dict[str, StepImage]
    package: Path | None = None
    seconds: float = 0.0

    @property
    def complete(self) -> bool:
        """Whether the registry has every image."""
        return all(image.digest for image in self.steps.values())

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON values."""
        images = {
            name: {
                "image": image.name,
                "digest": image.digest or None,
                "key": image.key,
                "state": "missing" if image.state == "waiting" else image.state,
                "seconds": round(image.seconds, 3),
            }
            for name, image in self.steps.items()
        }
        return {
            "pipeline": self.pipeline,
            "package": str(self.package) if self.package else None,
            "built": sum(image.built for image in self.steps.values()),
            "pushed": sum(image.pushed for image in self.steps.values()),
            "images": images,
            "seconds": round(self.seconds, 3),
        }
