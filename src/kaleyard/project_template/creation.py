"""A new project, whole or not at all."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from kaleyard.config import template_folder
from kaleyard.errors import ExternalError, UsageError
from kaleyard.project_template.template_rendering import render

__all__ = ["make_project"]


def make_project(folder: Path | None, answers: Mapping[str, str], *, ask: bool = False) -> Path:
    """The new project's folder: `folder`, or one in the current folder with the project's own name.

    Nothing that is there is touched: raises UsageError for a folder that exists, or for answers that make no project,
    and ExternalError if it cannot be written; then there is no new folder.
    """
    if folder is not None:
        _refuse_existing(folder)
        answers = {"project_name": folder.resolve().name, **answers}
    place = folder.resolve().parent if folder is not None else Path.cwd()
    try:
        place.mkdir(parents=True, exist_ok=True)
        # Beside where it will be: a rename then puts the whole project there at once.
        with tempfile.TemporaryDirectory(prefix=".kaleyard-new-", dir=place) as spare:
            made = render(template_folder("project"), answers, Path(spare), ask=ask)
            target = folder if folder is not None else place / made.name
            _refuse_existing(target)
            made.rename(target)
    except OSError as error:
        where = folder if folder is not None else place
        raise ExternalError(
            f"{where} cannot be made: {error.strerror or error}", fix="Choose another place."
        ) from error
    return target


def _refuse_existing(folder: Path) -> None:
    if folder.is_symlink() or folder.exists():
        raise UsageError(f"{folder} exists already", fix="Choose another folder, or another project_slug.")
