"""Project files that parameter values name in a run, such as `-p DATA=data/other.csv`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from kaleyard.analysis.dependencies import texts_in
from kaleyard.config import Project
from kaleyard.pipeline import Step

__all__ = ["parameter_files"]


def parameter_files(step: Step, values: Mapping[str, Any], project: Project) -> list[str]:
    """The files, relative to the project's root, that the step's parameters name and that it does not already have."""
    folder = project.root / PurePosixPath(step.notebook).parent
    root = project.root.resolve()
    files = set()
    for text in texts_in(list(values.values())):
        path = Path(folder, text) if text and len(text) < 255 and "\0" not in text else root  # noqa: PLR2004
        try:
            resolved = path.resolve()
            if path.is_file() and resolved.is_relative_to(root):
                files.add(resolved.relative_to(root).as_posix())
        except OSError:
            continue  # the path cannot be read: not a project file
    return sorted(files - {*step.files, *step.modules})
