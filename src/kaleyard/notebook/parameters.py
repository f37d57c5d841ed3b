"""The pipeline's parameters and metrics, as their cells declare them."""

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
    """A line of a cell that declares nothing: cell, line, and why."""

    cell: int
    line: int
    what: str


@dataclass(slots=True)
class Declared:
    """Declared parameters and metrics, and the lines that declare nothing."""

    parameters: list[Parameter] = field(default_factory=list)
    metrics: dict[str, int] = field(default_factory=dict)
    problems: list[CellProblem] = field(default_factory=list)


def read_parameters(cells: Iterable[tuple[int, str]], notebook: str) -> Declared:
    """The parameters of `NAME = literal` lines, typed by their defaults; other lines are problems.

    `cells` are numbers and sources. Types: bool, int, float, str, list, dict (of plain literals).
    """
    declared = Declared()
    parameters: dict[str, Parameter] = {}
    for number, source in cells:
        for node in parse_cell(source, Location(notebook, number)).body:
            parameter = _parameter(node, number)
            if isinstance(parameter, str):
                declared.problems.append(CellProblem(number, node.lineno, parameter))
            elif parameter is not None:
                parameters.pop(parameter.name, None)  # the last declaration decides value and position
                parameters[parameter.name] = parameter
    declared.parameters.extend(parameters.values())
    return declared


def read_metrics(cells: Iterable[tuple[int, str]], notebook: str) -> Declared:
    """The metrics' names, with their cells, from `print(name)` lines or bare names; other lines are problems."""
    declared = Declared()
    for number, source in cells:
        for node in parse_cell(source, Location(notebook, number)).body:
            value = node.value if isinstance(node, ast.Expr) else None
            if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "print":
                names = [a.id for a in value.args if isinstance(a, ast.Name)]
                valid = len(names) == len(value.args) == 1 and not value.keywords
            else:
                names = [value.id] if isinstance(value, ast.Name) else []
                valid = bool(names)
            if not valid:
                message = f"`{ast.unparse(node)}` is not of the form `print(name)`"
                declared.problems.append(CellProblem(number, node.lineno, message))
            for name in names if valid else ():
                declared.metrics.setdefault(name, number)
    return declared


def _parameter(node: ast.stmt, cell: int) -> Parameter | str | None:
    """The parameter that a statement declares; why it declares none; or None for a string as a comment."""
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
    annotation = node.annotation if isinstance(node, ast.AnnAssign) else None
    if isinstance(annotation, ast.Name) and annotation.id in _TYPES and annotation.id != kind:
        return f"{target.id} is annotated as {annotation.id}, but its default {default!r} is not"
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
