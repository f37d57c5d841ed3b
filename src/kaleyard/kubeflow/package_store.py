"""`build/<pipeline>/`: the pipeline package with every image by digest, what the images are, and what is in them."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from kaleyard.compiler import component
from kaleyard.compiler import pipeline_package as package
from kaleyard.compiler.content_key import key_of
from kaleyard.compiler.lockfile import Lock
from kaleyard.config import Project
from kaleyard.errors import ExternalError
from kaleyard.images.sbom import sbom
from kaleyard.installed_packages import versions
from kaleyard.pipeline import Pipeline
from kaleyard.records.image_record import BuiltPipeline
from kaleyard.runtime.executor_io import atomic_write

__all__ = ["FOLDER", "IMAGES", "PACKAGE", "package_bytes", "publish", "remembered_digests"]

FOLDER = "build"
IMAGES, PACKAGE = "images.json", "pipeline.yaml"


def publish(pipeline: Pipeline, project: Project, built: BuiltPipeline) -> Path:
    """Write the folder, once the registry has every image; the path of the pipeline package.

    Each file is whole, the old one or the new one, and the package comes last. Raises ExternalError if it cannot be
    written.
    """
    assert built.complete
    lock = Lock.read(project.root / project.lock)
    images = {
        n: {"image": i.name, "digest": i.digest, "key": i.key, "base": built.recipes[n].base_image}
        for n, i in built.steps.items()
    }
    files = {f"sbom/{n}.cdx.json": sbom(r, lock, built.steps[n].digest) for n, r in built.recipes.items()}
    files[IMAGES] = json.dumps(images, indent=1).encode() + b"\n"
    folder = project.root / FOLDER / pipeline.name
    files[PACKAGE] = package_bytes(pipeline, project, {n: i.pinned for n, i in built.steps.items()}, folder / PACKAGE)
    try:
        _write(folder, files)
    except OSError as error:
        raise ExternalError(f"{folder} cannot be written: {error}", fix="Make the folder writable.") from error
    return folder / PACKAGE


def remembered_digests(pipeline: Pipeline, project: Project) -> dict[str, str]:
    """The digests that the last build of the pipeline noted, by the image's name; none if it left nothing."""
    try:
        record = json.loads((project.root / FOLDER / pipeline.name / IMAGES).read_text(encoding="utf-8"))
        return {str(i["image"]): str(i["digest"]) for i in record.values()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def package_bytes(pipeline: Pipeline, project: Project, images: Mapping[str, str], path: Path) -> bytes:
    """The pipeline package: what `path` has, if that was made from the same.

    Importing KFP takes longer than all the rest of a build with nothing to do.
    """
    code = [Path(inspect.getfile(module)).read_bytes() for module in (component, package)]
    key = key_of(json.dumps([pipeline.to_dict(), images, versions().get("kfp", "")]), *code)
    stamp = project.root / ".kaleyard" / FOLDER / f"{pipeline.name}.json"
    with suppress(OSError, ValueError):
        data = path.read_bytes()
        if json.loads(stamp.read_text(encoding="utf-8")) == {"key": key, "sha256": _sha256(data)}:
            return data
    data = package.package_yaml(pipeline, images)
    with suppress(OSError):  # it costs time and nothing else
        atomic_write(stamp, json.dumps({"key": key, "sha256": _sha256(data)}))
    return data


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        path = folder / name
        if path.is_file() and path.read_bytes() == data:
            continue
        atomic_write(path, data)
    for path in (folder / "sbom").iterdir():
        if f"sbom/{path.name}" not in files:  # of a step that is no more
            path.unlink()
