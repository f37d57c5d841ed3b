"""A cell's source as a Python syntax tree, magics included."""

from __future__ import annotations

import ast
import copy
import re
import warnings
from functools import lru_cache

from kaleyard.errors import Location, NotebookError
from kaleyard.notebook.magics import with_magics

__all__ = ["BODY_MAGIC", "parse_cell", "parse_with_lines"]

# Cell magics that run their body once, in the notebook's namespace.
BODY_MAGIC = re.compile(r"%%(?:time|capture|prun)\b[^\n]*\n")

# Line magics that are often written without `%` (IPython's automagic).
_AUTOMAGIC = frozenset("pip conda mamba uv cd ls ll cat cp mv rm mkdir rmdir man matplotlib run load_ext".split()) | {
    *("time", "timeit", "autoreload", "config", "env", "pylab"),
}


def parse_cell(source: str, location: Location) -> ast.Module:
    """The syntax tree of a cell as IPython would run it. Raises NotebookError, with the line, for bad syntax."""
    try:
        return parse_with_lines(source)[0]
    except SyntaxError as error:
        raise NotebookError(
            f"invalid Python syntax (line {error.lineno or 1}): {error.msg}",
            place=location,
            fix="Fix it, or tag the cell `skip`.",
        ) from error


@lru_cache(maxsize=16_384)
def parse_with_lines(source: str) -> tuple[ast.Module, bool]:
    """The syntax tree, and whether its line numbers are those of the source."""
    # Python shows the warnings of a cell when the cell runs.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _parse_without_warnings(source)


def _parse_without_warnings(source: str) -> tuple[ast.Module, bool]:
    try:
        tree = _parse(source)
        _compile(tree)
    except SyntaxError:
        text = _transformed(_with_percent(source))
        same_lines = text.count("\n") == source.rstrip("\n").count("\n") + 1 and not re.search(r"(?m)^\s*%%", source)
        if BODY_MAGIC.match(source):
            # IPython runs the body, below the magic's line, like a cell of its own.
            same_lines = parse_with_lines(source.partition("\n")[2])[1]
        tree = _parse(text)
        _compile(tree)
        return with_magics(tree, lambda inner: copy.deepcopy(parse_with_lines(inner)[0])), same_lines
    return tree, True


def _with_percent(source: str) -> str:
    """The source with the `%` that IPython's automagic adds to a cell of one line that is not Python."""
    line = source.strip()
    return f"%{line}" if "\n" not in line and line.partition(" ")[0] in _AUTOMAGIC else source


def _parse(source: str) -> ast.Module:
    flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    tree = compile(source, "<cell>", "exec", flags, dont_inherit=True)
    assert isinstance(tree, ast.Module)
    return tree


def _compile(tree: ast.Module) -> None:
    """Raises SyntaxError for code that parses but cannot be compiled, such as a `return` outside a function."""
    compile(tree, "<cell>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)


def _transformed(source: str) -> str:
    # Importing IPython takes 0.2 s, and only cells with magics need it.
    from IPython.core.inputtransformer2 import TransformerManager

    return str(TransformerManager().transform_cell(source))
