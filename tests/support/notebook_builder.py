"""Notebooks for tests: `notebook(path, (source, tags), ...)` writes one, `read_cells` reads it as a pipeline."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kaleyard.analysis.notebook_analysis import NotebookAnalysis, read
from kaleyard.config import Project
from kaleyard.pipeline import Pipeline
from kaleyard.rules.checker import load_pipeline

__all__ = ["NotebookCells", "load", "markdown", "notebook", "notebook_bytes", "reading"]

# A source and its tags, one text with spaces between them or several texts; the tag `markdown` makes it prose,
# and `run:2` says that it ran as number 2.
NotebookCells = tuple[str, str | Sequence[str]]


def markdown(text: str) -> NotebookCells:
    """A Markdown cell."""
    return text, "markdown"


def notebook_bytes(*cells: NotebookCells, metadata: dict[str, Any] | None = None) -> bytes:
    """The notebook as a file holds it, each cell with its source, tags and no outputs."""
    made = []
    for source, told in cells:
        tags = told.split() if isinstance(told, str) else list(told)
        count = next((int(t.partition(":")[2]) for t in tags if t.startswith("run:")), None)
        tags = [t for t in tags if not t.startswith("run:")]
        kind = "markdown" if "markdown" in tags else "code"
        cell: dict[str, Any] = {
            "cell_type": kind,
            "metadata": {"tags": tags} if tags and kind == "code" else {},
            "source": source.splitlines(keepends=True),
        }
        made.append(cell | ({"execution_count": count, "outputs": []} if kind == "code" else {}))
    whole = {"cells": made, "metadata": metadata or {}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(whole).encode()


def notebook(path: Path, *cells: NotebookCells, metadata: dict[str, Any] | None = None) -> Path:
    """The path of the notebook, written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(notebook_bytes(*cells, metadata=metadata))
    return path


def reading(folder: Path, *cells: NotebookCells) -> NotebookAnalysis:
    """The cells as `reader.read` reads them, in `folder` as a project of its own."""
    return read(notebook(folder / "nb.ipynb", *cells), Project(folder.resolve()))


def load(folder: Path, *cells: NotebookCells) -> Pipeline:
    """The cells' pipeline; raises CheckError if a rule finds an error in them."""
    return load_pipeline(notebook(folder / "nb.ipynb", *cells), Project(folder.resolve()))
