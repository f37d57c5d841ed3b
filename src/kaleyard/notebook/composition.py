"""The notebooks that a notebook is composed of: what its `notebook:` cells refer to, and how.

A `notebook:NAME` cell has, in its metadata, `notebook_path` (relative to its notebook), and may have
`notebook_parameters` (values that this use of the notebook has fixed) and `notebook_outputs` (names under which
values that it makes are known outside: two uses of one notebook make the same names otherwise).

A line can say the same, and runs the other notebook where the whole is run from top to bottom:
`%kaleyard include PATH -p NAME=VALUE -o NAME=OUTSIDE`, or `%run PATH`. It stands in the cell, where it is enough by
itself; or, as Kale refuses code there, in a cell tagged `skip` below.
"""

from __future__ import annotations

import argparse
import json
import keyword
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from kaleyard.config import Project
from kaleyard.errors import Location, NotebookError, ParameterError, UsageError
from kaleyard.notebook.cell_syntax import parse_cell
from kaleyard.notebook.document import Notebook, NotebookCell, read_notebook
from kaleyard.notebook.magics import magic_calls
from kaleyard.notebook.parameters import read_parameters
from kaleyard.notebook.tags import is_ours
from kaleyard.parameter_values import parse_parameters
from kaleyard.pipeline import Parameter, Pipeline

__all__ = [
    "Include",
    "Reference",
    "as_line",
    "composed",
    "declared_parameters",
    "include_of",
    "includes",
    "is_include",
    "is_reference",
    "notebook_path",
    "parameter_cells",
    "parse_include",
    "reference",
    "refuse_circle",
    "runs_itself",
    "use_of",
    "written",
]

_WORD = "include"
_PARAMETERS = frozenset({"parameters", "pipeline-parameters"})


@dataclass(frozen=True, slots=True)
class Reference:
    """One use of another notebook: the cell it stands in, its name, the notebook's path, and how it is used."""

    cell: int
    name: str
    path: Path
    parameters: dict[str, Any] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Include:
    """A line that runs another notebook: the line, the path in it, the `NAME=VALUE` texts, and the names outside."""

    line: str
    path: str
    parameters: tuple[str, ...] = ()
    outputs: dict[str, str] = field(default_factory=dict)


def is_reference(cell: NotebookCell) -> bool:
    """Whether another notebook stands for the cell."""
    return any(t.startswith("notebook:") for t in cell.tags)


def notebook_path(cell: NotebookCell) -> str | None:
    """The path of the notebook that a `notebook:` cell refers to, as it is written; None where it is not told."""
    told = cell.metadata.get("notebook_path")
    if isinstance(told, str) and told:
        return told
    found = written(cell) if is_reference(cell) else []
    return found[0].path if found else None


def reference(cell: NotebookCell, notebook: Notebook) -> Reference:
    """What a `notebook:` cell refers to. Raises NotebookError if neither metadata nor a line says it properly."""
    name = next(t for t in cell.tags if t.startswith("notebook:")).partition(":")[2]
    place = Location(notebook.name, cell.number, name)
    lines = includes(cell.source, place)  # raises for a wrong one, which `notebook_path` passes over
    told = notebook_path(cell)
    if told is None:
        raise NotebookError(
            "the cell's metadata has no `notebook_path`, and no line of the cell runs a notebook",
            place=place,
            fix=f"Write `%kaleyard {_WORD} PATH`, or set `notebook_path`; paths are relative to this notebook.",
        )
    if len(lines) > 1:
        raise NotebookError(f"the cell runs {len(lines)} notebooks", place=place, fix="Make a cell for each.")
    path = notebook.path.resolve().parent / told
    if not path.is_file():
        raise NotebookError(
            f"there is no notebook {told}", place=place, fix="Mend `notebook_path`, or the line that runs it."
        )
    parameters = cell.metadata.get("notebook_parameters") or {}
    outputs = cell.metadata.get("notebook_outputs") or {}
    if not isinstance(parameters, dict) or not all(_is_name(n) for n in parameters):
        raise NotebookError("`notebook_parameters` is not a mapping of names to values", place=place)
    if not isinstance(outputs, dict) or not all(_is_name(n) for pair in outputs.items() for n in pair):
        raise NotebookError("`notebook_outputs` is not a mapping of names to names", place=place)
    told_here = Reference(cell.number, name, path, dict(parameters), dict(outputs))
    return _with_line(told_here, cell, lines[0], notebook, place) if lines else told_here


def _with_line(use: Reference, cell: NotebookCell, line: Include, notebook: Notebook, place: Location) -> Reference:
    """The use as the cell's line says it. Raises NotebookError where the metadata says otherwise."""
    said = use_of(line, notebook, place)
    pairs = (
        ("notebook_path", use.path.resolve(), said.path.resolve()),
        ("notebook_parameters", use.parameters, said.parameters),
        ("notebook_outputs", use.outputs, said.outputs),
    )
    for key, there, here in pairs:
        if key in cell.metadata and there != here:
            shown = json.dumps(cell.metadata[key])
            raise NotebookError(
                f"`{key}` in the cell's metadata is {shown}, and its line says otherwise: `{line.line}`",
                place=place,
                fix="Make the two the same: the pipeline would go by the one, and Jupyter by the other.",
            )
    return Reference(use.cell, use.name, use.path, said.parameters, said.outputs)


def use_of(line: Include, notebook: Notebook, place: Location) -> Reference:
    """What a line of the notebook refers to, values typed. Raises NotebookError, at `place`, for what it cannot be."""
    path = notebook.path.resolve().parent / line.path
    if not path.is_file():
        raise NotebookError(f"there is no notebook {line.path}", place=place, fix=f"Mend the line `{line.line}`.")
    values: dict[str, Any] = {}
    if line.parameters:
        known = declared_parameters(read_notebook(path, line.path))
        try:
            values = parse_parameters(Pipeline(path.stem, line.path, (), parameters=tuple(known)), line.parameters)
        except ParameterError as error:
            what = error.what.replace(f"pipeline {path.stem} has", f"{line.path} has")
            raise NotebookError(what, place=place, fix=error.fix) from error
    return Reference(place.cell or 0, place.step or path.stem, path, values, dict(line.outputs))


def includes(source: str, place: Location) -> list[Include]:
    """The lines of a cell that run other notebooks. Raises NotebookError for one that is not well formed."""
    if _WORD not in source and "%run" not in source:
        return []  # most cells, which are spared the parsing
    try:
        found = (include_of(*told) for _, told in magic_calls(parse_cell(source, place)) if told)
        return [one for one in found if one]
    except NotebookError:
        raise
    except UsageError as error:
        raise NotebookError(error.what, place=place, fix=error.fix) from error


def written(cell: NotebookCell) -> list[Include]:
    """The lines of a cell that run other notebooks; none where it cannot be read."""
    try:
        return includes(cell.source, Location())
    except NotebookError:
        return []


def runs_itself(notebook: Notebook) -> bool:
    """Whether a notebook can be run from top to bottom: it is composed of no other, or lines of it run those."""
    return not any(map(is_reference, notebook.code_cells)) or any(map(written, notebook.code_cells))


def is_include(name: str, line: str = "", *_: str) -> bool:
    """Whether a magic of this name and line runs another notebook."""
    words = line.split()
    return (name == "kaleyard" and words[:1] == [_WORD]) or (name == "run" and words[-1:] != [] and _is_file(words[-1]))


def include_of(name: str, line: str = "", *_: str) -> Include | None:
    """What a magic's name and line include, None where that is nothing. Raises UsageError for a wrong line."""
    if not is_include(name, line):
        return None
    if name == "run":
        return Include(f"%run {line.strip()}", shlex.split(line)[-1])
    return parse_include(line.strip().removeprefix(_WORD))


def _is_file(word: str) -> bool:
    return word.strip("'\"").endswith(".ipynb")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def parse_include(arguments: str) -> Include:
    """What stands behind `%kaleyard include`. Raises UsageError for what cannot be meant."""
    parser = _Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("notebook")
    parser.add_argument("-p", action="append", default=[])
    parser.add_argument("-o", action="append", default=[])
    line = f"%kaleyard {_WORD} {arguments.strip()}".strip()
    try:
        told = parser.parse_args(shlex.split(arguments))
    except ValueError as error:  # of shlex too, for a quote that is not closed
        fix = f"It is of the form: %kaleyard {_WORD} PATH -p NAME=VALUE -o NAME=OUTSIDE"
        raise UsageError(f"`{line}`: {error}", fix=fix) from error
    outputs = _pairs(told.o, line, "-o", "-o rmse=linear_rmse")
    _pairs(told.p, line, "-p", "-p SEED=7")
    if not all(_is_name(outside) for outside in outputs.values()):
        raise UsageError(f"`{line}`: what follows -o is not NAME=OUTSIDE", fix="For example: -o rmse=linear_rmse")
    return Include(line, told.notebook, tuple(told.p), outputs)


def _pairs(texts: Sequence[str], line: str, option: str, example: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not _is_name(name) or name in found:
            what = f"tells {name} twice" if name in found else f"has {text!r}, which is not NAME=VALUE"
            raise UsageError(f"`{line}`: {option} {what}", fix=f"For example: {example}")
        found[name] = value
    return found


def as_line(use: Reference, path: str) -> str:
    """The line that runs a notebook as this use of it, `path` as it is to be written."""
    words = ["%kaleyard", _WORD, shlex.quote(path)]
    for name, value in use.parameters.items():
        words += ["-p", shlex.quote(f"{name}={value if isinstance(value, str) else json.dumps(value)}")]
    for name, outside in use.outputs.items():
        words += ["-o", f"{name}={outside}"]
    return " ".join(words)


def parameter_cells(notebook: Notebook) -> tuple[int, ...]:
    """The numbers of the cells that declare parameters: tagged so, or untagged below such a one, as Kale has it."""
    has_steps = any(t.startswith(("step:", "notebook:")) for c in notebook.code_cells for t in c.tags)
    found: list[int] = []
    inside = False
    for cell in notebook.code_cells:
        if "skip" in cell.tags:
            continue
        tagged = bool(_PARAMETERS & set(cell.tags))
        inside = tagged or (inside and has_steps and not any(map(is_ours, cell.tags)))
        found += [cell.number] if inside else []
    return tuple(found)


def declared_parameters(notebook: Notebook) -> list[Parameter]:
    """The parameters that a notebook declares itself."""
    numbers = set(parameter_cells(notebook))
    cells = ((c.number, c.source) for c in notebook.code_cells if c.number in numbers)
    return read_parameters(cells, notebook.name).parameters


def composed(notebook: Notebook, project: Project, above: tuple[Path, ...] = ()) -> Iterator[Notebook]:
    """The notebook and all it is composed of, each once for every use. Raises NotebookError for a circle."""
    yield notebook
    path = notebook.path.resolve()
    for cell in filter(is_reference, notebook.code_cells):
        other = reference(cell, notebook)
        refuse_circle(other, notebook, (*above, path))
        yield from composed(read_notebook(other.path, project.relative(other.path)), project, (*above, path))


def refuse_circle(other: Reference, notebook: Notebook, above: tuple[Path, ...]) -> None:
    """Raise NotebookError if `other` is one of the notebooks `above` it."""
    if other.path.resolve() in above:
        way = " -> ".join(p.name for p in (*above, other.path.resolve()))
        raise NotebookError(
            f"the notebooks are composed of each other: {way}",
            place=Location(notebook.name, other.cell, other.name),
            fix="Remove one of the cells.",
        )


def _is_name(value: object) -> bool:
    return isinstance(value, str) and value.isidentifier() and not keyword.iskeyword(value)
