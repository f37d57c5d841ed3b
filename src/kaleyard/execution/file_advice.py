"""What to do about a file that a step's code did not find."""

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
    """What makes the file that the cell did not find one that the step has; "" if the error is another."""
    named = _NO_FILE.search(error.evalue) if error.ename == "FileNotFoundError" else None
    if named is None:
        return ""
    path = posixpath.normpath(posixpath.join(PurePosixPath(step.notebook).parent.as_posix(), named[1]))
    makers = [s.name for s in run.steps.values() if any(f.path == path for f in s.files)]
    if makers:
        return (
            f"Step {makers[-1]} wrote {path}, and the code does not show that this step reads it: name it by a literal "
            "path in both steps, or hand it on as a value: `path = Path(...)`."
        )
    if (project.root / path).is_file():
        return (
            f"The project has {path}, and the code does not show that this step reads it: name it by a literal path, "
            f'or declare it: files = ["{path}"] in [tool.kaleyard].'
        )
    return ""
