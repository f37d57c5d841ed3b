"""A cell's source as Python syntax, magics included, and cut into statements that can travel on their own."""

from __future__ import annotations

import ast
import copy
import re
import textwrap
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

from kaleyard.errors import NotebookError, Place
from kaleyard.notebook.known import Known, Names
from kaleyard.notebook.magics import magic_calls, with_magics
from kaleyard.notebook.paths import trace
from kaleyard.notebook.syntax import makes_class

__all__ = ["Unit", "parse_cell", "units"]

# Cell magics that run their body once, in the notebook's own namespace.
_BODY_MAGIC = re.compile(r"%%(?:time|capture|prun)\b[^\n]*\n")

# Line magics that are often written without `%`.
_AUTOMAGIC = frozenset("pip conda mamba uv cd ls ll cat cp mv rm mkdir rmdir man matplotlib run load_ext".split()) | {
    *("time", "timeit", "autoreload", "config", "env", "pylab"),
}


@dataclass(frozen=True, eq=False)
class Unit:
    """Top-level statements of a cell that stand on lines of their own, with what they do with names."""

    cell: int
    source: str
    nodes: tuple[ast.stmt, ...]
    names: Names

    @property
    def line(self) -> int:
        """The line of the cell it starts in."""
        return _first_line(self.nodes[0])

    @cached_property
    def modules(self) -> frozenset[str]:
        """The top-level modules that it imports."""
        found: set[str] = set()
        for node in (n for top in self.nodes for n in ast.walk(top)):
            if isinstance(node, ast.Import):
                found.update(a.name.partition(".")[0] for a in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
        return frozenset(found)

    @cached_property
    def magic_packages(self) -> frozenset[str]:
        """The packages without which a magic of it fails: matplotlib for `%matplotlib inline`."""
        names = {told[0] for node in self.nodes for _, told in magic_calls(node) if told}
        return frozenset({"matplotlib"} if names & {"matplotlib", "pylab"} else ())

    @cached_property
    def is_definition(self) -> bool:
        """Whether running it elsewhere gives the same: imports, functions, classes, guarded imports."""
        return all(_defines(n) for n in self.nodes)

    @cached_property
    def is_effect(self) -> bool:
        """Whether it is run for what it does, such as `pd.set_option(...)`, and binds nothing anew."""
        return not self.names.makes and not self.names.may_make and not self.names.star


def parse_cell(source: str, place: Place) -> ast.Module:
    """The syntax tree of a cell as IPython would run it. Raises NotebookError, with the line, for bad syntax."""
    try:
        return _parsed(source)[0]
    except SyntaxError as error:
        raise NotebookError(
            f"this is no valid Python (line {error.lineno or 1}): {error.msg}",
            place=place,
            fix="Mend or skip the cell.",
        ) from error


@lru_cache(maxsize=16_384)
def _parsed(source: str) -> tuple[ast.Module, bool]:
    """The syntax tree, and whether its lines are the source's."""
    # What Python warns of in a cell, it will tell when the cell runs.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _parsed_quietly(source)


def _parsed_quietly(source: str) -> tuple[ast.Module, bool]:
    try:
        tree = _parse(source)
        _compile(tree)
    except SyntaxError:
        text = _transformed(_with_percent(source))
        same = text.count("\n") == source.rstrip("\n").count("\n") + 1 and not re.search(r"(?m)^\s*%%", source)
        if _BODY_MAGIC.match(source):
            # The body stands below the magic's line as it would stand in a cell of its own.
            same = _parsed(source.partition("\n")[2])[1]
        tree = _parse(text)
        _compile(tree)
        return with_magics(tree, lambda inner: copy.deepcopy(_parsed(inner)[0])), same
    return tree, True


def units(cell: int, source: str, place: Place, known: Known | None = None) -> tuple[Unit, ...]:
    """The cell's top-level statements, each with the comments above it; the whole cell where magics span lines.

    `known` is what was defined and imported before the cell.
    """
    known = known or Known()
    found = []
    for text, group in _pieces(source, parse_cell(source, place), same_lines=_parsed(source)[1]):
        names = trace([(cell, ast.Module(group, []))], known)
        known = known.then(names)
        found.append(Unit(cell, text, tuple(group), names))
    return tuple(found)


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
    start = 1 if _BODY_MAGIC.match(source) else 0
    for group in groups:
        end = group[-1].end_lineno or len(lines)
        yield textwrap.dedent("\n".join(lines[start:end]).strip("\n")), group
        start = end


def _with_percent(source: str) -> str:
    """The source with the `%` that IPython's automagic adds where a cell is one line and no Python."""
    line = source.strip()
    return f"%{line}" if "\n" not in line and line.partition(" ")[0] in _AUTOMAGIC else source


def _parse(source: str) -> ast.Module:
    flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    tree = compile(source, "<cell>", "exec", flags, dont_inherit=True)
    assert isinstance(tree, ast.Module)
    return tree


def _compile(tree: ast.Module) -> None:
    """Raises SyntaxError for what parses and still cannot run, such as a `return` outside of a function."""
    compile(tree, "<cell>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)


def _transformed(source: str) -> str:
    # IPython costs 0.2 s to import, and only cells with magics need it.
    from IPython.core.inputtransformer2 import TransformerManager

    return str(TransformerManager().transform_cell(source))


def _first_line(node: ast.stmt) -> int:
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(d.lineno for d in decorators)])


def _defines(node: ast.stmt) -> bool:
    if isinstance(node, (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return True
    if isinstance(node, ast.Assign):
        made = isinstance(node.value, ast.Lambda) or makes_class(node.value)
        return made and all(isinstance(t, ast.Name) for t in node.targets)
    if isinstance(node, ast.Try):
        return any(isinstance(n, (ast.Import, ast.ImportFrom)) for n in node.body)
    return False
