"""A notebook file as cells, before their tags are interpreted.

A notebook is a JSON file: reading it needs neither nbformat nor Kale, which take a second to import.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from kaleyard.errors import Location, NotebookError

__all__ = ["METADATA_KEY", "Notebook", "NotebookCell", "read_notebook"]

# Kale's block in the notebook's metadata: pipeline name, volumes, defaults of the steps.
METADATA_KEY = "kubeflow_notebook"
_NBFORMAT = 4


@dataclass(frozen=True, slots=True)
class NotebookCell:
    """One cell: its number (from 1, counting all cells), kind, source with LF line ends, tags, metadata, id."""

    number: int
    kind: Literal["code", "markdown", "raw"]
    source: str
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    execution_count: int | None = None
    has_outputs: bool = False
    id: str = ""


@dataclass(frozen=True, slots=True)
class Notebook:
    """A notebook's cells and metadata; `name` is its name in messages."""

    path: Path
    name: str
    cells: tuple[NotebookCell, ...]
    metadata: Mapping[str, Any]

    @property
    def settings(self) -> dict[str, Any]:
        """The `kubeflow_notebook` block, empty if there is none."""
        block = self.metadata.get(METADATA_KEY)
        return dict(block) if isinstance(block, dict) else {}

    @property
    def code_cells(self) -> tuple[NotebookCell, ...]:
        """The code cells, in order."""
        return tuple(c for c in self.cells if c.kind == "code")


def read_notebook(path: Path, name: str | None = None) -> Notebook:
    """The notebook at `path`. Raises NotebookError if it is not a Python notebook of format 4."""
    name = name or path.as_posix()
    data = _json(path, name)
    if not isinstance(data, dict) or not isinstance(data.get("cells"), list) or "nbformat" not in data:
        fix = "Save it as .ipynb from JupyterLab."
        if isinstance(data, dict) and "worksheets" in data:
            fix = "It uses the format from before 2015: convert it with `jupyter nbconvert --to notebook`."
        raise NotebookError("this file is not a notebook", place=Location(name), fix=fix)
    if data["nbformat"] != _NBFORMAT:
        raise NotebookError(
            f"notebook format {data['nbformat']} is not format {_NBFORMAT}",
            place=Location(name),
            fix="Convert it with `jupyter nbconvert --to notebook`.",
        )
    metadata = data.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    _refuse_other_languages(metadata, name)
    cells = tuple(_cell(number, cell, name) for number, cell in enumerate(data["cells"], 1))
    return Notebook(path, name, cells, metadata)


def _json(path: Path, name: str) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise NotebookError("there is no such file", place=Location(name), fix="Check the path.") from error
    except (IsADirectoryError, PermissionError) as error:
        raise NotebookError(f"the file cannot be read: {error.strerror}", place=Location(name)) from error
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotebookError(
            f"this file is not a notebook: {error}",
            place=Location(name),
            fix="A notebook is JSON in UTF-8; look for a merge conflict or an incomplete download.",
        ) from error


def _refuse_other_languages(metadata: Mapping[str, Any], name: str) -> None:
    blocks = [metadata.get("kernelspec"), metadata.get("language_info")]
    languages = [t.get(key) for t, key in zip(blocks, ("language", "name"), strict=True) if isinstance(t, dict)]
    language = next(
        (w for w in languages if isinstance(w, str) and w and not w.lower().startswith(("python", "ipython"))), None
    )
    if language:
        raise NotebookError(
            f"the notebook's language is {language}, not Python",
            place=Location(name),
            fix="Kaleyard reads Python notebooks only.",
        )


def _cell(number: int, data: Any, name: str) -> NotebookCell:
    location = Location(name, number)
    if not isinstance(data, dict) or data.get("cell_type") not in ("code", "markdown", "raw"):
        raise NotebookError("not a code, Markdown or raw cell", place=location, fix="Delete the cell.")
    source = data.get("source", "")
    source = "".join(source) if isinstance(source, list) and all(isinstance(s, str) for s in source) else source
    if not isinstance(source, str):
        raise NotebookError("the cell's source must be a string", place=location, fix="Delete the cell.")
    metadata = data.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    tags = metadata.get("tags", [])
    if not isinstance(tags, list) or not all(isinstance(t, str) for t in tags):
        raise NotebookError("tags must be a list of strings", place=location, fix="Set the cell's tags again.")
    count = data.get("execution_count")
    return NotebookCell(
        number=number,
        kind=data["cell_type"],
        source=source.replace("\r\n", "\n").replace("\r", "\n"),
        tags=tuple(tags),
        metadata=metadata,
        execution_count=count if isinstance(count, int) else None,
        has_outputs=bool(data.get("outputs")),
        id=str(data.get("id", "")),
    )
