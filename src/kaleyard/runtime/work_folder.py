"""The fresh folder a step runs in: the project's files it declared, at their own places, and nothing else."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from kaleyard.errors import ExternalError, StepError

__all__ = ["LEVELS", "scratch", "work_folder", "work_root"]

# Folders above the project's root that are a step's own, so that `../output` of a notebook in the root is its own too.
LEVELS = 2


@contextmanager
def scratch() -> Iterator[Path]:
    """A private temporary folder, removed at the end. Its path is short: sockets of the kernel lie in it."""
    try:
        folder = Path(tempfile.mkdtemp(prefix="ky-"))
    except OSError as error:
        raise ExternalError(
            f"no temporary folder can be made: {error.strerror}", fix="Make /tmp writable, or set TMPDIR."
        ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def work_root(parent: Path) -> Path:
    """The folder below `parent` that stands for the project's root."""
    return parent / "up" / "up" / "work"


def work_folder(parent: Path, project: Path, names: Sequence[str], notebook: str) -> Path:
    """The folder the notebook's code runs in, below `parent`, with the project's files in place.

    `names` are relative to `project`; `notebook` tells which folder relative paths start from.
    Raises StepError if a declared file is not there.
    """
    root = work_root(parent)
    root.mkdir(parents=True)
    for name in names:
        source, target = project / name, root / PurePosixPath(name)
        if not source.is_file():
            raise StepError(f"the project's file {name} is not there", fix="Restore it, or compile again.")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        if os.access(source, os.X_OK):
            target.chmod(0o755)
    folder = root if PurePosixPath(notebook).is_absolute() else root / PurePosixPath(notebook).parent
    folder.mkdir(parents=True, exist_ok=True)
    return folder
