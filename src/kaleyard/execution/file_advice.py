"""Advice for a step whose code did not find a file."""

from __future__ import annotations

import posixpath
import re
from pathlib import PurePosixPath

from kaleyard.config import Project
from kaleyard.errors import CellError
from kaleyard.pipeline import Step
from kaleyard.records.run_record import Run

__all__ = ["missing_file_advice"]

_NO_FILE = re.compile(r"No such file or directory: '([^']+)'")


def missing_file_advice(error: CellError, step: Step, run: Run, project: Project) -> str:
    """How to give the step the file that its cell did not find; "" if the error is about something else."""
    match = _NO_FILE.search(error.evalue) if error.ename == "FileNotFoundError" else None
    if match is None:
        return ""
    path = posixpath.normpath(posixpath.join(PurePosixPath(step.notebook).parent.as_posix(), match[1]))
    writers = [s.name for s in run.steps.values() if any(f.path == path for f in s.files)]
    if writers:
        return (
            f"Step {writers[-1]} wrote {path}, but the code does not show that this step reads it. Use a literal path "
            "in both steps, or pass the path as a value: `path = Path(...)`."
        )
    if (project.root / path).is_file():
        return (
            f"The project has {path}, but the code does not show that this step reads it. Use a literal path, "
            f'or declare the file: `files = ["{path}"]` in [tool.kaleyard].'
        )
    return ""
