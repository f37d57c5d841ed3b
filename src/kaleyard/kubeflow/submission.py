"""What is submitted: a pipeline package with every image by digest, as `build` left it and the notebook says now."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from kaleyard.compiler.image_recipe import pipeline_recipes
from kaleyard.config import Project
from kaleyard.errors import ExternalError, StaleError, UsageError
from kaleyard.kubeflow.package_store import FOLDER, IMAGES, PACKAGE, package_bytes
from kaleyard.pipeline import Pipeline
from kaleyard.runtime.contract import artifact_name

__all__ = ["Submission", "read_submission"]

_API = "pipelines.kubeflow.org/v2beta1"
_SHOWN = 16  # characters of a digest that are enough to tell versions apart


@dataclass(frozen=True)
class Submission:
    """A package that may be submitted: the pipeline it is of, its bytes, and whether its steps may be cached."""

    pipeline: Pipeline
    content: bytes

    @cached_property
    def version(self) -> str:
        """The name of the pipeline version: equal content has equal names."""
        return f"{self.name}-{hashlib.sha256(self.content).hexdigest()[:_SHOWN]}"

    @property
    def name(self) -> str:
        """The pipeline's name on the server."""
        return self.pipeline.name

    @cached_property
    def documents(self) -> list[dict[str, Any]]:
        """The package as data: the pipeline's specification, and what only Kubernetes is told, if anything."""
        import yaml

        return [document for document in yaml.safe_load_all(self.content) if document]

    def without_cache(self) -> Submission:
        """The same, but every step runs even if it ran before."""
        import yaml

        documents: list[dict[str, Any]] = json.loads(json.dumps(self.documents))
        for task in _tasks(documents[0]):
            task.get("cachingOptions", {}).pop("enableCache", None)
        text = yaml.safe_dump_all(documents, sort_keys=True)
        return Submission(self.pipeline, text.encode())

    def parameters(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Parameters' values by the names that the package has for them."""
        return {artifact_name(name): value for name, value in values.items()}

    def manifest(self, namespace: str) -> bytes:
        """The objects of Kubernetes' own API that stand for this pipeline and this version, as YAML.

        Source: kfp's compiler, which writes the same two with `kubernetes_manifest_format`.
        """
        import yaml

        place = {"namespace": namespace} if namespace else {}
        about = {"description": self.pipeline.description} if self.pipeline.description else {}
        spec, *platform = self.documents
        version = {"displayName": self.version, "pipelineName": self.name, "pipelineSpec": spec, **about}
        version |= {"platformSpec": platform[0]} if platform else {}
        objects = [
            {
                "apiVersion": _API,
                "kind": "Pipeline",
                "metadata": {"name": self.name, **place},
                "spec": {"displayName": self.name, **about},
            },
            {
                "apiVersion": _API,
                "kind": "PipelineVersion",
                "metadata": {"name": self.version, **place},
                "spec": version,
            },
        ]
        return yaml.safe_dump_all(objects, sort_keys=True).encode()


def read_submission(pipeline: Pipeline, project: Project) -> Submission:
    """The package that `build` wrote for the pipeline.

    Raises UsageError if there is none, StaleError if the notebook, its files or a lock have changed since.
    """
    folder = project.root / FOLDER / pipeline.name
    fix = "Make it: kaleyard build."
    try:
        images = json.loads((folder / IMAGES).read_text(encoding="utf-8"))
        content = (folder / PACKAGE).read_bytes()
        keys = {n: str(i["key"]) for n, i in images.items()}
        pinned = {n: f"{_repository(str(i['image']))}@{i['digest']}" for n, i in images.items()}
        bases = (str(i.get("base", "")).partition("@") for i in images.values())
        seen = {name: digest for name, _, digest in bases if digest}
    except FileNotFoundError as error:
        raise UsageError(f"there is no package of {pipeline.name} under {folder}", fix=fix) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ExternalError(f"the package of {pipeline.name} cannot be read: {error!r}", fix=fix) from error
    changed = sorted(n for n, r in pipeline_recipes(pipeline, project, seen).items() if keys.get(n) != r.key)
    if not changed and content != package_bytes(pipeline, project, pinned, Path(folder / PACKAGE)):
        changed = ["the pipeline itself"]
    if changed:
        raise StaleError(
            f"the package of {pipeline.name} is not what the notebook says now: {', '.join(changed)} changed",
            fix="Build it again: kaleyard build.",
        )
    return Submission(pipeline, content)


def _repository(image: str) -> str:
    """An image's name without its tag."""
    return image.rpartition(":")[0] if ":" in image.rpartition("/")[2] else image


def _tasks(spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every task of the pipeline's specification."""
    graphs = [spec.get("root", {}), *spec.get("components", {}).values()]
    return [task for graph in graphs for task in graph.get("dag", {}).get("tasks", {}).values()]
