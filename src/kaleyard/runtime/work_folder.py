"""The new folder that a step runs in, with only the project files that it declares."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from kaleyard.errors import ExternalError, StepError

__all__ = ["LEVELS", "scratch", "work_folder", "work_root"]

# Folder levels above the project's root that also belong to the step, so that `../output` works from the root.
LEVELS = 2


@contextmanager
def scratch() -> Iterator[Path]:
    """A private temporary folder, removed at the end. Its path is short because the kernel's sockets are in it."""
    try:
        folder = Path(tempfile.mkdtemp(prefix="ky-"))
    except OSError as error:
        raise ExternalError(
            f"cannot create a temporary folder: {error.strerror}", fix="Make /tmp writable, or set TMPDIR."
        ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def work_root(parent: Path) -> Path:
    """The folder below `parent` that is the project's root for the step."""
    return parent / "up" / "up" / "work"


def work_folder(parent: Path, project: Path, names: Sequence[str], notebook: str) -> Path:
    """The folder below `parent` that the notebook's code runs in, with the project's files in place.

    `names` are relative to `project`; relative paths in the code start from the folder of `notebook`.
    Raises StepError if a declared file is missing.
    """
    root = work_root(parent)
    root.mkdir(parents=True)
    for name in names:
        source, target = project / name, root / PurePosixPath(name)
        if not source.is_file():
            raise StepError(f"the project file {name} is missing", fix="Restore it, or compile the notebook again.")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        if os.access(source, os.X_OK):
            target.chmod(0o755)
    folder = root if PurePosixPath(notebook).is_absolute() else root / PurePosixPath(notebook).parent
    folder.mkdir(parents=True, exist_ok=True)
    return folder
