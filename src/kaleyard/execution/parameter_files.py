"""Files of the project that the values of parameters name in this run, such as `-p DATA=data/other.csv`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from kaleyard.analysis.dependencies import texts_in
from kaleyard.config import Project
from kaleyard.pipeline import Step

__all__ = ["parameter_files"]


def parameter_files(step: Step, values: Mapping[str, Any], project: Project) -> list[str]:
    """The paths, from the project's root, of files that the step's parameters name and that it does not have anyway."""
    folder = project.root / PurePosixPath(step.notebook).parent
    root = project.root.resolve()
    found = set()
    for text in texts_in(list(values.values())):
        path = Path(folder, text) if text and len(text) < 255 and "\0" not in text else root  # noqa: PLR2004
        try:
            resolved = path.resolve()
            if path.is_file() and resolved.is_relative_to(root):
                found.add(resolved.relative_to(root).as_posix())
        except OSError:
            continue  # what cannot be looked at is no file of the project
    return sorted(found - {*step.files, *step.modules})
