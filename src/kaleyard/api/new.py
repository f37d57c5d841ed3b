"""Projects made from the template, and brought to a newer one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from kaleyard.api.check import PathLike

if TYPE_CHECKING:
    from kaleyard.project_template.project_update import Update

__all__ = ["new", "update"]


def new(folder: PathLike | None = None, answers: Mapping[str, str] | None = None, *, ask: bool = False) -> Path:
    """Make a project from the template, and return its folder.

    `folder` is where (default: here, in a folder of the project's name); `answers` are those to the template's
    questions, which have defaults; `ask` asks them on the terminal. Raises UsageError for a folder that exists and
    for answers that make no project, ExternalError if it cannot be written: nothing is left then.
    """
    from kaleyard.project_template.creation import make_project

    return make_project(Path(folder) if folder is not None else None, answers or {}, ask=ask)


def update(folder: PathLike = ".", *, source: str | None = None) -> Update:
    """Bring a project to the template of this Kaleyard, or of the git repository `source`, keeping what was changed.

    Raises ProjectError for a folder that is no such project, or has changes that are not committed; ExternalError if
    git or the disk fails.
    """
    from kaleyard.project_template.project_update import update_project

    return update_project(Path(folder), source)
