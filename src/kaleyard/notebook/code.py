"""A cell's source as Python syntax, magics included, and cut into statements that can travel on their own."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from kaleyard.errors import NotebookError, Place
from kaleyard.notebook.names import Known, Names
from kaleyard.notebook.paths import trace

__all__ = ["Unit", "parse_cell", "units"]

# Magics whose body or line is Python that runs in the notebook's namespace.
_PYTHON_MAGICS = frozenset({"time", "timeit", "prun", "capture", "memit", "mprun", "lprun"})
_OPTIONS = re.compile(r"^(?:\s*-\w+(?:\s*\d+)?\b)+")


@dataclass(frozen=True)
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

    @property
    def is_definition(self) -> bool:
        """Whether running it elsewhere gives the same: imports, functions, classes, guarded imports."""
        return all(_defines(n) for n in self.nodes)

    @property
    def is_effect(self) -> bool:
        """Whether it is run for what it does, such as `pd.set_option(...)`, and binds nothing anew."""
        return not self.names.makes and not self.names.may_make and not self.names.star


def parse_cell(source: str, place: Place) -> ast.Module:
    """The syntax tree of a cell as IPython would run it. Raises NotebookError, with the line, for bad syntax."""
    try:
        return _parsed(source)
    except SyntaxError as error:
        raise NotebookError(
            f"this is no valid Python (line {error.lineno}): {error.msg}", place=place, fix="Mend or skip the cell."
        ) from error


@lru_cache(maxsize=16_384)
def _parsed(source: str) -> ast.Module:
    try:
        return _parse(source)
    except SyntaxError:
        return _with_magics(_parse(_transformed(source)))


def units(cell: int, source: str, place: Place, known: Known | None = None) -> tuple[Unit, ...]:
    """The cell's top-level statements, each with the comments above it; the whole cell where magics span lines.

    `known` is what was defined and imported before the cell.
    """
    known = known or Known()
    found = []
    for text, group in _pieces(source, parse_cell(source, place)):
        names = trace([(cell, ast.Module(group, []))], known)
        known = known.then(names)
        found.append(Unit(cell, text, tuple(group), names))
    return tuple(found)


def _pieces(source: str, tree: ast.Module) -> Iterator[tuple[str, list[ast.stmt]]]:
    lines = source.split("\n")
    if not tree.body:
        return
    if max(n.end_lineno or 0 for n in tree.body) > len(lines) or re.search(r"(?m)^\s*%%", source):
        yield source, tree.body
        return
    groups: list[list[ast.stmt]] = []
    for node in tree.body:
        if groups and _first_line(node) <= (groups[-1][-1].end_lineno or 0):
            groups[-1].append(node)
        else:
            groups.append([node])
    start = 0
    for group in groups:
        end = group[-1].end_lineno or len(lines)
        yield textwrap.dedent("\n".join(lines[start:end]).strip("\n")), group
        start = end


def _parse(source: str) -> ast.Module:
    flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    tree = compile(source, "<cell>", "exec", flags, dont_inherit=True)
    assert isinstance(tree, ast.Module)
    return tree


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
        return isinstance(node.value, ast.Lambda) and all(isinstance(t, ast.Name) for t in node.targets)
    if isinstance(node, ast.Try):
        return any(isinstance(n, (ast.Import, ast.ImportFrom)) for n in node.body)
    return False


class _Magics(ast.NodeTransformer):
    """Puts the Python inside magics in their place, so that its names count."""

    def visit_Expr(self, node: ast.Expr) -> ast.stmt | list[ast.stmt]:
        call = node.value
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)):
            return node
        texts = [a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        if call.func.attr == "run_cell_magic" and len(texts) == 3 and texts[0] in _PYTHON_MAGICS:  # noqa: PLR2004
            extra = _captured(texts[1], node) if texts[0] == "capture" else []
            body = _with_magics(_parse(_transformed(texts[2])))
            ast.increment_lineno(body, 1)
            return [*extra, *body.body] or node
        if call.func.attr == "run_line_magic" and len(texts) == 2 and texts[0] in _PYTHON_MAGICS:  # noqa: PLR2004
            return self._line(texts[1], node)
        if call.func.attr in ("system", "getoutput", "run_line_magic", "run_cell_magic"):
            return self._interpolated(" ".join(texts[1:] if call.func.attr.startswith("run") else texts), node)
        return node

    @staticmethod
    def _line(text: str, node: ast.Expr) -> ast.stmt | list[ast.stmt]:
        try:
            body = _parse(_OPTIONS.sub("", text).strip())
        except SyntaxError:
            return node
        ast.increment_lineno(body, node.lineno - 1)
        return body.body or node

    @staticmethod
    def _interpolated(text: str, node: ast.Expr) -> ast.stmt | list[ast.stmt]:
        """`{name}` in a shell line: IPython puts the value in if there is one, so the name may be read."""
        reads: list[ast.stmt] = []
        for inner in re.findall(r"\{([^{}]+)\}", text):
            try:
                expression = ast.parse(inner.strip(), mode="eval").body
            except SyntaxError:
                continue
            for part in ast.walk(expression):
                if isinstance(part, ast.Name):
                    reads.append(_soft_read(part.id, node))  # noqa: PERF401 - nested loops read better
        return [*reads, node]


def _soft_read(name: str, at: ast.stmt) -> ast.stmt:
    """`def _(): name`, never called: a name that may be read and is not missed if nothing makes it."""
    load = ast.Expr(ast.Name(name, ast.Load()))
    empty = ast.arguments([], [], None, [], [], None, [])
    made = ast.FunctionDef("_", empty, [load], [])
    for part in ast.walk(made):
        ast.copy_location(part, at)
    return made


def _captured(line: str, at: ast.stmt) -> list[ast.stmt]:
    name = next((w for w in line.split() if w.isidentifier()), None)
    if name is None:
        return []
    made = ast.Assign([ast.Name(name, ast.Store())], ast.Constant(None))
    for part in ast.walk(made):
        ast.copy_location(part, at)
    return [made]


def _with_magics(tree: ast.Module) -> ast.Module:
    changed = _Magics().visit(tree)
    assert isinstance(changed, ast.Module)
    return changed
