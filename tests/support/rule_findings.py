"""What `check` finds in a notebook of these cells."""

from __future__ import annotations

from pathlib import Path

from kaleyard.config import Project
from kaleyard.rules.checker import check
from kaleyard.rules.findings import Finding
from notebook_builder import NotebookCells, notebook


def found(folder: Path, *cells: NotebookCells, disable: tuple[str, ...] = ()) -> list[Finding]:
    return check(notebook(folder / "nb.ipynb", *cells), Project(folder.resolve(), disable=disable))[0]


def codes(folder: Path, *cells: NotebookCells) -> list[str]:
    return [f.code for f in found(folder, *cells) if not f.disabled]
