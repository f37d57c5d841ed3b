"""Splits a cell into statements that can run on their own, each with its effects on names."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from kaleyard.analysis.effects.name_effects import NameEffects, Scope
from kaleyard.analysis.effects.statements import trace
from kaleyard.analysis.effects.syntax import makes_class
from kaleyard.errors import Location
from kaleyard.notebook.cell_syntax import BODY_MAGIC, parse_cell, parse_with_lines
from kaleyard.notebook.magics import magic_calls

__all__ = ["CodeFragment", "units"]


@dataclass(frozen=True, eq=False)
class CodeFragment:
    """Top-level statements on lines of their own, with their effects on names."""

    cell: int
    source: str
    nodes: tuple[ast.stmt, ...]
    names: NameEffects

    @property
    def line(self) -> int:
        """The first line, counted from the start of the cell."""
        return _first_line(self.nodes[0])

    @cached_property
    def modules(self) -> frozenset[str]:
        """The top-level modules it imports."""
        modules: set[str] = set()
        for node in (n for top in self.nodes for n in ast.walk(top)):
            if isinstance(node, ast.Import):
                modules.update(a.name.partition(".")[0] for a in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules.add(node.module.partition(".")[0])
        return frozenset(modules)

    @cached_property
    def magic_packages(self) -> frozenset[str]:
        """The packages its magics need: matplotlib for `%matplotlib inline`."""
        magics = {texts[0] for node in self.nodes for _, texts in magic_calls(node) if texts}
        return frozenset({"matplotlib"} if magics & {"matplotlib", "pylab"} else ())

    @cached_property
    def is_definition(self) -> bool:
        """Whether it defines the same thing wherever it runs: imports, functions, classes, guarded imports."""
        return all(_defines(n) for n in self.nodes)

    @cached_property
    def is_effect(self) -> bool:
        """Whether it runs for its effect alone, like `pd.set_option(...)`, and binds no name."""
        return not self.names.makes and not self.names.may_make and not self.names.star


def units(cell: int, source: str, location: Location, scope: Scope | None = None) -> tuple[CodeFragment, ...]:
    """The cell's top-level statements, each with the comments above it; the whole cell if a magic spans lines.

    `scope` holds what was defined and imported before the cell.
    """
    scope = scope or Scope()
    fragments = []
    for text, group in _pieces(source, parse_cell(source, location), same_lines=parse_with_lines(source)[1]):
        names = trace([(cell, ast.Module(group, []))], scope)
        scope = scope.then(names)
        fragments.append(CodeFragment(cell, text, tuple(group), names))
    return tuple(fragments)


def _pieces(source: str, tree: ast.Module, *, same_lines: bool) -> Iterator[tuple[str, list[ast.stmt]]]:
    lines = source.split("\n")
    if not tree.body:
        return
    if not same_lines:
        yield source, tree.body
        return
    groups: list[list[ast.stmt]] = []
    for node in tree.body:
        if groups and _first_line(node) <= (groups[-1][-1].end_lineno or 0):
            groups[-1].append(node)
        else:
            groups.append([node])
    start = 1 if BODY_MAGIC.match(source) else 0
    for group in groups:
        end = group[-1].end_lineno or len(lines)
        yield textwrap.dedent("\n".join(lines[start:end]).strip("\n")), group
        start = end


def _first_line(node: ast.stmt) -> int:
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(d.lineno for d in decorators)])


def _defines(node: ast.stmt) -> bool:
    if isinstance(node, (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return True
    if isinstance(node, ast.Assign):
        is_definition = isinstance(node.value, ast.Lambda) or makes_class(node.value)
        return is_definition and all(isinstance(t, ast.Name) for t in node.targets)
    if isinstance(node, ast.Try):
        return any(isinstance(n, (ast.Import, ast.ImportFrom)) for n in node.body)
    return False
