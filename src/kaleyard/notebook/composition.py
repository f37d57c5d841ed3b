"""The notebooks that a notebook is composed of: which ones its `notebook:` cells refer to, and how.

The metadata of a `notebook:NAME` cell has `notebook_path` (relative to its notebook), and may have
`notebook_parameters` (fixed values for this use of the notebook) and `notebook_outputs` (other names for its values
in this notebook, as two uses of one notebook would define the same names).

A line can replace the metadata, and also runs the other notebook in Jupyter:
`%kaleyard include PATH -p NAME=VALUE -o NAME=OUTSIDE`, or `%run PATH`. It is either in the `notebook:` cell itself,
which then needs no metadata, or, as Kale rejects code there, in a cell tagged `skip` below.
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

_INCLUDE = "include"
_PARAMETERS = frozenset({"parameters", "pipeline-parameters"})


@dataclass(frozen=True, slots=True)
class Reference:
    """One use of another notebook: its cell and name, the notebook's path, parameter values and output names."""

    cell: int
    name: str
    path: Path
    parameters: dict[str, Any] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Include:
    """A line that runs another notebook: the line, its path, its `NAME=VALUE` arguments, and its output names."""

    line: str
    path: str
    parameters: tuple[str, ...] = ()
    outputs: dict[str, str] = field(default_factory=dict)


def is_reference(cell: NotebookCell) -> bool:
    """Whether the cell is tagged `notebook:`, so that another notebook takes its place."""
    return any(t.startswith("notebook:") for t in cell.tags)


def notebook_path(cell: NotebookCell) -> str | None:
    """The path of the notebook that a `notebook:` cell refers to, as written; None if there is none."""
    path = cell.metadata.get("notebook_path")
    if isinstance(path, str) and path:
        return path
    lines = written(cell) if is_reference(cell) else []
    return lines[0].path if lines else None


def reference(cell: NotebookCell, notebook: Notebook) -> Reference:
    """The notebook that a `notebook:` cell refers to. Raises NotebookError if metadata and line are not valid."""
    name = next(t for t in cell.tags if t.startswith("notebook:")).partition(":")[2]
    location = Location(notebook.name, cell.number, name)
    lines = includes(cell.source, location)  # raises for an invalid line, which `notebook_path` ignores
    path_text = notebook_path(cell)
    if path_text is None:
        raise NotebookError(
            "the cell has no `notebook_path` in its metadata, and no line that runs a notebook",
            place=location,
            fix=f"Write `%kaleyard {_INCLUDE} PATH`, or set `notebook_path`; paths are relative to this notebook.",
        )
    if len(lines) > 1:
        raise NotebookError(f"the cell runs {len(lines)} notebooks", place=location, fix="Use one cell for each.")
    path = notebook.path.resolve().parent / path_text
    if not path.is_file():
        fix = "Fix `notebook_path`, or the line that runs the notebook."
        raise NotebookError(f"there is no notebook {path_text}", place=location, fix=fix)
    parameters = cell.metadata.get("notebook_parameters") or {}
    outputs = cell.metadata.get("notebook_outputs") or {}
    if not isinstance(parameters, dict) or not all(_is_name(n) for n in parameters):
        raise NotebookError("`notebook_parameters` is not a mapping of names to values", place=location)
    if not isinstance(outputs, dict) or not all(_is_name(n) for pair in outputs.items() for n in pair):
        raise NotebookError("`notebook_outputs` is not a mapping of names to names", place=location)
    use = Reference(cell.number, name, path, dict(parameters), dict(outputs))
    return _with_line(use, cell, lines[0], notebook, location) if lines else use


def _with_line(use: Reference, cell: NotebookCell, line: Include, notebook: Notebook, location: Location) -> Reference:
    """The reference with the values of the cell's line. Raises NotebookError if the metadata differs."""
    line_use = use_of(line, notebook, location)
    pairs = (
        ("notebook_path", use.path.resolve(), line_use.path.resolve()),
        ("notebook_parameters", use.parameters, line_use.parameters),
        ("notebook_outputs", use.outputs, line_use.outputs),
    )
    for key, in_metadata, in_line in pairs:
        if key in cell.metadata and in_metadata != in_line:
            shown = json.dumps(cell.metadata[key])
            raise NotebookError(
                f"`{key}` in the cell's metadata is {shown}, but its line differs: `{line.line}`",
                place=location,
                fix="Make both the same, so that the pipeline and Jupyter run the same notebook.",
            )
    return Reference(use.cell, use.name, use.path, line_use.parameters, line_use.outputs)


def use_of(line: Include, notebook: Notebook, location: Location) -> Reference:
    """The notebook that a line refers to, with typed values. Raises NotebookError, at `location`, if it is invalid."""
    path = notebook.path.resolve().parent / line.path
    if not path.is_file():
        raise NotebookError(f"there is no notebook {line.path}", place=location, fix=f"Fix the line `{line.line}`.")
    values: dict[str, Any] = {}
    if line.parameters:
        parameters = declared_parameters(read_notebook(path, line.path))
        try:
            values = parse_parameters(Pipeline(path.stem, line.path, (), parameters=tuple(parameters)), line.parameters)
        except ParameterError as error:
            message = error.what.replace(f"pipeline {path.stem} has", f"{line.path} has")
            raise NotebookError(message, place=location, fix=error.fix) from error
    return Reference(location.cell or 0, location.step or path.stem, path, values, dict(line.outputs))


def includes(source: str, location: Location) -> list[Include]:
    """The lines of a cell that run other notebooks. Raises NotebookError for an invalid line."""
    if _INCLUDE not in source and "%run" not in source:
        return []  # saves parsing most cells
    try:
        lines = (include_of(*words) for _, words in magic_calls(parse_cell(source, location)) if words)
        return [line for line in lines if line]
    except NotebookError:
        raise
    except UsageError as error:
        raise NotebookError(error.what, place=location, fix=error.fix) from error


def written(cell: NotebookCell) -> list[Include]:
    """The lines of a cell that run other notebooks; none if the cell cannot be parsed."""
    try:
        return includes(cell.source, Location())
    except NotebookError:
        return []


def runs_itself(notebook: Notebook) -> bool:
    """Whether a notebook runs from top to bottom: without `notebook:` cells, or with lines that run notebooks."""
    return not any(map(is_reference, notebook.code_cells)) or any(map(written, notebook.code_cells))


def is_include(name: str, line: str = "", *_: str) -> bool:
    """Whether a magic of this name and line runs another notebook."""
    words = line.split()
    if name == "run":
        return bool(words) and words[-1].strip("'\"").endswith(".ipynb")
    return name == "kaleyard" and words[:1] == [_INCLUDE]


def include_of(name: str, line: str = "", *_: str) -> Include | None:
    """The notebook that a magic includes, or None. Raises UsageError for an invalid line."""
    if not is_include(name, line):
        return None
    if name == "run":
        return Include(f"%run {line.strip()}", shlex.split(line)[-1])
    return parse_include(line.strip().removeprefix(_INCLUDE))


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def parse_include(arguments: str) -> Include:
    """The parsed arguments of `%kaleyard include`. Raises UsageError if they are invalid."""
    parser = _Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("notebook")
    parser.add_argument("-p", action="append", default=[])
    parser.add_argument("-o", action="append", default=[])
    line = f"%kaleyard {_INCLUDE} {arguments.strip()}".strip()
    try:
        options = parser.parse_args(shlex.split(arguments))
    except ValueError as error:  # also raised by shlex, for an unclosed quote
        fix = f"Write it as: %kaleyard {_INCLUDE} PATH -p NAME=VALUE -o NAME=OUTSIDE"
        raise UsageError(f"`{line}`: {error}", fix=fix) from error
    outputs = _pairs(options.o, line, "-o", "-o rmse=linear_rmse")
    _pairs(options.p, line, "-p", "-p SEED=7")
    if not all(_is_name(outside) for outside in outputs.values()):
        raise UsageError(f"`{line}`: what follows -o is not NAME=OUTSIDE", fix="For example: -o rmse=linear_rmse")
    return Include(line, options.notebook, tuple(options.p), outputs)


def _pairs(texts: Sequence[str], line: str, option: str, example: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not _is_name(name) or name in pairs:
            problem = f"names {name} twice" if name in pairs else f"has {text!r}, which is not NAME=VALUE"
            raise UsageError(f"`{line}`: {option} {problem}", fix=f"For example: {example}")
        pairs[name] = value
    return pairs


def as_line(use: Reference, path: str) -> str:
    """The line that runs the notebook of a reference with its values, with `path` as its path."""
    words = ["%kaleyard", _INCLUDE, shlex.quote(path)]
    for name, value in use.parameters.items():
        words += ["-p", shlex.quote(f"{name}={value if isinstance(value, str) else json.dumps(value)}")]
    for name, outside in use.outputs.items():
        words += ["-o", f"{name}={outside}"]
    return " ".join(words)


def parameter_cells(notebook: Notebook) -> tuple[int, ...]:
    """The numbers of the parameter cells: those with the tag, and untagged cells right below, as in Kale."""
    has_steps = any(t.startswith(("step:", "notebook:")) for c in notebook.code_cells for t in c.tags)
    numbers: list[int] = []
    inside = False
    for cell in notebook.code_cells:
        if "skip" in cell.tags:
            continue
        tagged = bool(_PARAMETERS & set(cell.tags))
        inside = tagged or (inside and has_steps and not any(map(is_ours, cell.tags)))
        numbers += [cell.number] if inside else []
    return tuple(numbers)


def declared_parameters(notebook: Notebook) -> list[Parameter]:
    """The parameters that a notebook itself declares."""
    numbers = set(parameter_cells(notebook))
    cells = ((c.number, c.source) for c in notebook.code_cells if c.number in numbers)
    return read_parameters(cells, notebook.name).parameters


def composed(notebook: Notebook, project: Project, above: tuple[Path, ...] = ()) -> Iterator[Notebook]:
    """The notebook and all notebooks it uses, once per use. Raises NotebookError for a cycle."""
    yield notebook
    path = notebook.path.resolve()
    for cell in filter(is_reference, notebook.code_cells):
        use = reference(cell, notebook)
        refuse_circle(use, notebook, (*above, path))
        yield from composed(read_notebook(use.path, project.relative(use.path)), project, (*above, path))


def refuse_circle(use: Reference, notebook: Notebook, above: tuple[Path, ...]) -> None:
    """Raise NotebookError if `use` refers to one of the notebooks `above` it, which would be a cycle."""
    if use.path.resolve() in above:
        chain = " -> ".join(p.name for p in (*above, use.path.resolve()))
        raise NotebookError(
            f"the notebooks are composed of each other: {chain}",
            place=Location(notebook.name, use.cell, use.name),
            fix="Remove one of the cells.",
        )


def _is_name(value: object) -> bool:
    return isinstance(value, str) and value.isidentifier() and not keyword.iskeyword(value)
