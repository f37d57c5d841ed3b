"""A step's content: everything that decides what it does, as one key.

Code counts, prose does not: better Markdown re-runs nothing. Parameter values and inputs are no part of it.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from kaleyard.compiler.step_notebook import code_only
from kaleyard.config import Project
from kaleyard.errors import ExternalError, Location
from kaleyard.pipeline import Step

__all__ = ["content_key", "file_digest", "key_of", "project_files", "runner_files", "runner_key"]

_PACKAGE = Path(__file__).parents[1]


def content_key(step: Step, notebook: bytes, requirements: str, build: bytes, project: Project) -> str:
    """The key of a step's content, 64 hex digits: its notebook's code, packages, project files, runner, and `build`.

    The last is how the image is made of these. It names the base image with its digest.
    """
    files = [f"{name} {digest}" for name, digest in project_files(step, project)]
    return key_of(code_only(notebook), requirements, *files, runner_key(), build)


def project_files(step: Step, project: Project) -> list[tuple[str, str]]:
    """The project's modules and files that travel with the step, each with its digest."""
    return [(name, file_digest(project.root / name, step)) for name in sorted({*step.modules, *step.files})]


def file_digest(path: Path, step: Step) -> str:
    """The SHA-256 of a file. Raises ExternalError, naming the step that needs it, if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ExternalError(
            f"{path} cannot be read: {error.strerror}", place=Location(step.notebook, step=step.name)
        ) from error


def key_of(*parts: str | bytes) -> str:
    """One key of several parts, each told apart from its neighbours."""
    found = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else part.encode()
        found.update(str(len(data)).encode() + b"\0" + data)
    return found.hexdigest()


def runner_files() -> dict[str, Path]:
    """The files of the step runner, by the path they have in an image: all that enters it of this package."""
    paths = [_PACKAGE / "errors.py"]
    paths += [p for p in (_PACKAGE / "runtime").rglob("*") if p.is_file() and p.suffix != ".pyc"]
    files = {f"kaleyard/{p.relative_to(_PACKAGE).as_posix()}": p for p in sorted(paths)}
    # The package's own front names the verbs, which no image has: a new verb changes no step's content.
    return {"kaleyard/__init__.py": _PACKAGE / "runtime" / "__init__.py"} | files


@cache
def runner_key() -> str:
    """The key of the step runner's own code."""
    return key_of(*(part for name, path in runner_files().items() for part in (name, path.read_bytes())))
