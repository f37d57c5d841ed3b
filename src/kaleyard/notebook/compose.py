"""The notebooks that a notebook is composed of: what its `notebook:` cells refer to, and how.

A `notebook:NAME` cell has, in its metadata, `notebook_path` (relative to its notebook), and may have
`notebook_parameters` (values that this use of the notebook has fixed) and `notebook_outputs` (names under which
values that it makes are known outside: two uses of one notebook make the same names otherwise).
"""

from __future__ import annotations

import keyword
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kaleyard.errors import NotebookError, Place
from kaleyard.notebook.source import Notebook, NotebookCell, read_notebook
from kaleyard.project import Project

__all__ = ["Reference", "composed", "reference"]


@dataclass(frozen=True, slots=True)
class Reference:
    """One use of another notebook: the cell it stands in, its name, the notebook's path, and how it is used."""

    cell: int
    name: str
    path: Path
    parameters: dict[str, Any] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)


def reference(cell: NotebookCell, notebook: Notebook) -> Reference:
    """What a `notebook:` cell refers to. Raises NotebookError if its metadata does not say it properly."""
    name = next(t for t in cell.tags if t.startswith("notebook:")).partition(":")[2]
    place = Place(notebook.name, cell.number, name)
    told = cell.metadata.get("notebook_path")
    if not isinstance(told, str) or not told:
        raise NotebookError(
            "the cell's metadata has no `notebook_path`",
            place=place,
            fix="Set it to the notebook's path, relative to this notebook.",
        )
    path = notebook.path.resolve().parent / told
    if not path.is_file():
        raise NotebookError(f"there is no notebook {told}", place=place, fix="Mend `notebook_path`.")
    parameters = cell.metadata.get("notebook_parameters") or {}
    outputs = cell.metadata.get("notebook_outputs") or {}
    if not isinstance(parameters, dict) or not all(_is_name(n) for n in parameters):
        raise NotebookError("`notebook_parameters` is not a mapping of names to values", place=place)
    if not isinstance(outputs, dict) or not all(_is_name(n) for pair in outputs.items() for n in pair):
        raise NotebookError("`notebook_outputs` is not a mapping of names to names", place=place)
    return Reference(cell.number, name, path, dict(parameters), dict(outputs))


def composed(notebook: Notebook, project: Project, above: tuple[Path, ...] = ()) -> Iterator[Notebook]:
    """The notebook and all it is composed of, each once for every use. Raises NotebookError for a circle."""
    yield notebook
    path = notebook.path.resolve()
    for cell in notebook.code_cells:
        if any(t.startswith("notebook:") for t in cell.tags):
            other = reference(cell, notebook)
            refuse_circle(other, notebook, (*above, path))
            yield from composed(read_notebook(other.path, project.relative(other.path)), project, (*above, path))


def refuse_circle(other: Reference, notebook: Notebook, above: tuple[Path, ...]) -> None:
    """Raise NotebookError if `other` is one of the notebooks `above` it."""
    if other.path.resolve() in above:
        way = " -> ".join(p.name for p in (*above, other.path.resolve()))
        raise NotebookError(
            f"the notebooks are composed of each other: {way}",
            place=Place(notebook.name, other.cell, other.name),
            fix="Remove one of the cells.",
        )


def _is_name(value: object) -> bool:
    return isinstance(value, str) and value.isidentifier() and not keyword.iskeyword(value)
