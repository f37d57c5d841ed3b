"""Everything `compile` writes, as {path: bytes}; and writing it, or telling how it differs from what is there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kaleyard.compiler.component import component_yaml
from kaleyard.compiler.image_recipe import pipeline_recipes
from kaleyard.compiler.pipeline_package import package_yaml
from kaleyard.config import Project
from kaleyard.errors import ExternalError
from kaleyard.pipeline import Pipeline
from kaleyard.runtime.executor_io import atomic_write

__all__ = ["differences", "pipeline_tree", "write_tree"]


def pipeline_tree(pipeline: Pipeline, project: Project) -> dict[str, bytes]:
    """The committed files of one pipeline by their path below the components folder.

    `<pipeline>/pipeline.yaml`, and per step `step.ipynb`, `Dockerfile`, `requirements.txt`, `component.yaml`.
    Raises ProjectError if the lock file does not hold what a step imports.
    """
    tree: dict[str, bytes] = {}
    recipes = pipeline_recipes(pipeline, project)
    for name, recipe in recipes.items():
        folder = f"{pipeline.name}/{name}"
        tree[f"{folder}/step.ipynb"] = recipe.notebook
        tree[f"{folder}/Dockerfile"] = recipe.dockerfile
        tree[f"{folder}/requirements.txt"] = recipe.requirements.encode()
        tree[f"{folder}/component.yaml"] = component_yaml(pipeline, recipe.step, recipe.image)
    images = {name: recipe.image for name, recipe in recipes.items()}
    tree[f"{pipeline.name}/pipeline.yaml"] = package_yaml(pipeline, images)
    return tree


def differences(tree: Mapping[str, bytes], folder: Path, pipeline: str) -> dict[str, str]:
    """The paths at which `folder` is not as `tree` has it, each with "missing", "changed" or "left over"."""
    found: dict[str, str] = {}
    for name, data in tree.items():
        path = folder / name
        if not path.is_file():
            found[name] = "missing"
        elif path.read_bytes() != data:
            found[name] = "changed"
    return found | dict.fromkeys(_left_over(tree, folder, pipeline), "left over")


def write_tree(tree: Mapping[str, bytes], folder: Path, pipeline: str) -> dict[str, str]:
    """Bring `folder` to what `tree` has, touching only what differs; what was done by path.

    Raises ExternalError if it cannot be written; each file is whole, the old one or the new one.
    """
    found = differences(tree, folder, pipeline)
    try:
        for name, state in found.items():
            path = folder / name
            if state == "left over":
                path.unlink()
                continue
            atomic_write(path, tree[name])
        _remove_empty(folder / pipeline)
    except OSError as error:
        raise ExternalError(f"{folder} cannot be written: {error}", fix="Make the folder writable.") from error
    return found


def _left_over(tree: Mapping[str, bytes], folder: Path, pipeline: str) -> list[str]:
    """Files of steps that are no more; the folder is generated, so nothing else lives there."""
    every = (p for p in (folder / pipeline).rglob("*") if p.is_file())
    return sorted(n for n in (p.relative_to(folder).as_posix() for p in every) if n not in tree)


def _remove_empty(folder: Path) -> None:
    for path in sorted((p for p in folder.rglob("*") if p.is_dir()), reverse=True):
        if not any(path.iterdir()):
            path.rmdir()
