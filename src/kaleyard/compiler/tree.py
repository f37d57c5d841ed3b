"""Everything `compile` writes, as {path: bytes}; and writing it, or telling how it differs from what is there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from kaleyard.compiler.component import component_yaml
from kaleyard.compiler.content import content_key
from kaleyard.compiler.dockerfile import dockerfile
from kaleyard.compiler.package import package_yaml
from kaleyard.compiler.requirements import Lock, step_requirements
from kaleyard.compiler.step_notebook import step_notebook
from kaleyard.errors import OutsideError
from kaleyard.pipeline import Pipeline, Step
from kaleyard.project import Project

__all__ = ["differences", "image_name", "pipeline_tree", "write_tree"]

_TAG_LENGTH = 16


def pipeline_tree(pipeline: Pipeline, project: Project) -> dict[str, bytes]:
    """The committed files of one pipeline by their path below the components folder.

    `<pipeline>/pipeline.yaml`, and per step `step.ipynb`, `Dockerfile`, `requirements.txt`, `component.yaml`.
    Raises ProjectError if the lock file does not hold what a step imports.
    """
    lock = Lock.read(project.root / project.lock)
    tree: dict[str, bytes] = {}
    images: dict[str, str] = {}
    for step in pipeline.steps:
        base = step.settings.image or project.base_image
        notebook, requirements = step_notebook(pipeline, step), step_requirements(step, lock)
        key = content_key(step, notebook, requirements, base, project)
        images[step.name] = image_name(pipeline, step, key, project)
        folder = f"{pipeline.name}/{step.name}"
        tree[f"{folder}/step.ipynb"] = notebook
        tree[f"{folder}/Dockerfile"] = dockerfile(step, base)
        tree[f"{folder}/requirements.txt"] = requirements.encode()
        tree[f"{folder}/component.yaml"] = component_yaml(pipeline, step, images[step.name])
    tree[f"{pipeline.name}/pipeline.yaml"] = package_yaml(pipeline, images)
    return tree


def image_name(pipeline: Pipeline, step: Step, key: str, project: Project) -> str:
    """What the step's image is called: `<registry>/<pipeline>-<step>:<content key, shortened>`."""
    name = re.sub(r"[^a-z0-9]+", "-", f"{pipeline.name}-{step.name}").strip("-")
    return f"{project.registry}/{name}:{key[:_TAG_LENGTH]}"


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

    Raises OutsideError if it cannot be written; each file is whole, the old one or the new one.
    """
    found = differences(tree, folder, pipeline)
    try:
        for name, state in found.items():
            path = folder / name
            if state == "left over":
                path.unlink()
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            spare = path.with_name(f".{path.name}.part")
            spare.write_bytes(tree[name])
            spare.replace(path)
        _remove_empty(folder / pipeline)
    except OSError as error:
        raise OutsideError(f"{folder} cannot be written: {error}", fix="Make the folder writable.") from error
    return found


def _left_over(tree: Mapping[str, bytes], folder: Path, pipeline: str) -> list[str]:
    """Files of steps that are no more; the folder is generated, so nothing else lives there."""
    every = (p for p in (folder / pipeline).rglob("*") if p.is_file())
    return sorted(n for n in (p.relative_to(folder).as_posix() for p in every) if n not in tree)


def _remove_empty(folder: Path) -> None:
    for path in sorted((p for p in folder.rglob("*") if p.is_dir()), reverse=True):
        if not any(path.iterdir()):
            path.rmdir()
