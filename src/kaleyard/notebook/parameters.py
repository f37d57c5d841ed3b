"""The pipeline's parameters and metrics, as their cells say them."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, get_args

from kaleyard.errors import Location
from kaleyard.notebook.cell_syntax import parse_cell
from kaleyard.pipeline import Parameter, ParameterType

__all__ = ["CellProblem", "Declared", "read_metrics", "read_parameters"]

_TYPES = frozenset(get_args(ParameterType))


@dataclass(frozen=True, slots=True)
class CellProblem:
    """Something in a cell that cannot be used: cell, line, and what it is in a sentence."""

    cell: int
    line: int
    what: str


@dataclass(slots=True)
class Declared:
    """What was declared, and what could not be understood."""

    parameters: list[Parameter] = field(default_factory=list)
    metrics: dict[str, int] = field(default_factory=dict)
    problems: list[CellProblem] = field(default_factory=list)


def read_parameters(cells: Iterable[tuple[int, str]], notebook: str) -> Declared:
    """The parameters of `NAME = literal` lines, typed by their defaults; other lines are problems.

    `cells` are numbers and sources. Types: bool, int, float, str, list, dict (of plain literals).
    """
    found = Declared()
    seen: dict[str, int] = {}
    for number, source in cells:
        for node in parse_cell(source, Location(notebook, number)).body:
            parameter = _parameter(node, number)
            if isinstance(parameter, str):
                found.problems.append(CellProblem(number, node.lineno, parameter))
            elif parameter is not None:
                if parameter.name in seen:
                    del found.parameters[seen[parameter.name]]
                    seen = {p.name: i for i, p in enumerate(found.parameters)}
                seen[parameter.name] = len(found.parameters)
                found.parameters.append(parameter)
    return found


def read_metrics(cells: Iterable[tuple[int, str]], notebook: str) -> Declared:
    """The metrics' names, with their cells, from `print(name)` lines or bare names; other lines are problems."""
    found = Declared()
    for number, source in cells:
        for node in parse_cell(source, Location(notebook, number)).body:
            value = node.value if isinstance(node, ast.Expr) else None
            if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "print":
                names = [a.id for a in value.args if isinstance(a, ast.Name)]
                whole = len(names) == len(value.args) == 1 and not value.keywords
            else:
                names = [value.id] if isinstance(value, ast.Name) else []
                whole = bool(names)
            if not whole:
                what = f"`{ast.unparse(node)}` is not of the form `print(name)`"
                found.problems.append(CellProblem(number, node.lineno, what))
            for name in names if whole else ():
                found.metrics.setdefault(name, number)
    return found


def _parameter(node: ast.stmt, cell: int) -> Parameter | str | None:
    """The parameter a statement declares; a sentence if it cannot; None for a comment in a string."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return None
    if isinstance(node, ast.AnnAssign):
        target: ast.expr = node.target
        value = node.value
    elif isinstance(node, ast.Assign) and len(node.targets) == 1:
        target, value = node.targets[0], node.value
    else:
        return f"`{ast.unparse(node)}` is not of the form `NAME = literal`"
    if not isinstance(target, ast.Name) or value is None:
        return f"`{ast.unparse(node)}` is not of the form `NAME = literal`"
    try:
        default: Any = ast.literal_eval(value)
    except ValueError:
        return f"the default of {target.id} is computed, not a plain literal"
    kind = type(default).__name__
    note = node.annotation if isinstance(node, ast.AnnAssign) else None
    if isinstance(note, ast.Name) and note.id in _TYPES and note.id != kind:
        return f"{target.id} is said to be of type {note.id}, and its default {default!r} is not"
    if default is None:
        return f"the default of {target.id} is None, which has no type"
    if kind not in _TYPES or not _plain(default):
        return f"the default of {target.id} is a {kind}; parameters are bool, int, float, str, list or dict"
    return Parameter(target.id, kind, default, cell)  # type: ignore[arg-type]


def _plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(_plain(v) for v in value)
    if isinstance(value, dict):
        return all(isinstance(k, str) and _plain(v) for k, v in value.items())
    return value is None or type(value) in (bool, int, float, str)
