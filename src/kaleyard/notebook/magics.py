"""The Python code in IPython's magics and shell lines, added to the syntax tree so that its names are analyzed."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator

__all__ = ["NOWHERE", "magic_calls", "uses_extension", "with_magics"]

# The name of the function that holds what a magic may read; no code can call it.
NOWHERE = "<magic>"

# Magics whose body or line is Python that runs in the notebook's namespace.
_RUNS_PYTHON = frozenset({"time", "timeit", "prun", "capture", "memit", "mprun", "lprun"})
# Magics that may bind any name.
_BINDS_ANY_NAME = frozenset({"run", "pylab", "load", "store", "cython"})
# Common magics that need no extension.
_BUILTIN_MAGICS = frozenset(
    "time timeit prun capture run pylab load matplotlib load_ext reload_ext unload_ext config env set_env pip conda "
    "precision cd pwd ls ll cat cp mv rm mkdir rmdir pushd popd dirs pfile psource pycat man more less who who_ls whos "
    "history magic lsmagic quickref pinfo pinfo2 pdoc xmode pdb debug save edit macro reset del alias automagic pprint "
    "page notebook colors bash sh script system sx writefile file html HTML svg SVG latex markdown javascript js "
    "python python3 python2 perl ruby".split()
)
_MAGIC = re.compile(r"(?m)^\s*%%?([A-Za-z_]\w*)")
_OPTIONS = re.compile(r"^(?:\s*-\w+(?:\s*\d+)?\b)+")
_SAVES = re.compile(r"--(?:out|err|proc)[ =]\s*(\w+)")
_READS = re.compile(r"\{([^{}]+)\}|\$\$?([A-Za-z_]\w*)")

Parse = Callable[[str], ast.Module]


def with_magics(tree: ast.Module, parse: Parse) -> ast.Module:
    """The tree with the Python code of its magics as statements; `parse` parses the body of a cell magic."""
    changed = _Magics(parse).visit(tree)
    assert isinstance(changed, ast.Module)
    return ast.fix_missing_locations(changed)


def magic_calls(tree: ast.AST) -> Iterator[tuple[str, list[str]]]:
    """Every magic or shell line: IPython's method (`system`, `run_line_magic`, ...) and its string arguments."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            magic = _magic(node)
            if magic:
                yield magic


def uses_extension(source: str) -> bool:
    """Whether a magic in a cell's source needs an extension (`%load_ext`)."""
    return any(name not in _BUILTIN_MAGICS for name in _MAGIC.findall(source))


def _magic(call: ast.expr) -> tuple[str, list[str]] | None:
    methods = ("system", "getoutput", "run_line_magic", "run_cell_magic")
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in methods):
        return None
    shell = call.func.value
    if not (isinstance(shell, ast.Call) and isinstance(shell.func, ast.Name) and shell.func.id == "get_ipython"):
        return None
    return call.func.attr, [a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]


class _Magics(ast.NodeTransformer):
    def __init__(self, parse: Parse) -> None:
        self.parse = parse

    def visit_Expr(self, node: ast.Expr) -> ast.stmt | list[ast.stmt]:
        magic = _magic(node.value)
        return (self._inside(*magic, node) or node) if magic else node

    def visit_Assign(self, node: ast.Assign) -> ast.stmt | list[ast.stmt]:
        magic = _magic(node.value)
        return [*self._inside(*magic, node), node] if magic else node

    def _inside(self, method: str, texts: list[str], node: ast.stmt) -> list[ast.stmt]:
        """The statements that a magic stands for, with the magic itself unless it only runs Python code."""
        if method in ("system", "getoutput"):
            return [*_optional_reads(" ".join(texts), node), *_own_statement(node)]
        name, line = texts[0], texts[1] if len(texts) > 1 else ""
        if name in _BINDS_ANY_NAME:
            return [_located(node, ast.ImportFrom("", [ast.alias("*")], 0)), *_own_statement(node)]
        if name not in _RUNS_PYTHON:
            saved = [_binding(n, node) for n in _SAVES.findall(line)] if method == "run_cell_magic" else []
            return [*_optional_reads(line, node), *_own_statement(node), *saved]
        if method == "run_cell_magic":
            body = self.parse(texts[2] if len(texts) > 2 else "")  # noqa: PLR2004 - magic, line, body
            ast.increment_lineno(body, 1)
            if name == "timeit":
                # It runs in a function of its own: its variables are local.
                return [_located(node, _function(body.body or [ast.Pass()])), *_own_statement(node)]
            saved = [_binding(n, node) for n in line.split() if n.isidentifier()] if name == "capture" else []
            return [*saved[:1], *body.body]
        try:
            statements = ast.parse(_OPTIONS.sub("", line).strip())
        except SyntaxError:
            return _own_statement(node)
        ast.increment_lineno(statements, node.lineno - 1)
        return statements.body


def _own_statement(node: ast.stmt) -> list[ast.stmt]:
    return [node] if isinstance(node, ast.Expr) else []


def _optional_reads(text: str, node: ast.stmt) -> Iterator[ast.stmt]:
    """Reads of `{expression}` and `$name` in a shell line, which IPython replaces if they have a value."""
    for inside, plain in _READS.findall(text):
        try:
            expression = ast.parse((inside or plain).strip(), mode="eval").body
        except SyntaxError:
            continue
        for part in ast.walk(expression):
            if isinstance(part, ast.Name):
                yield _located(node, _function([ast.Expr(ast.Name(part.id, ast.Load()))]))


def _function(body: list[ast.stmt]) -> ast.stmt:
    """A function that is never called: its names may be read, and need not be defined."""
    empty = ast.arguments([], [], None, [], [], None, [])
    return ast.FunctionDef(NOWHERE, empty, body, [])


def _binding(name: str, source: ast.stmt) -> ast.stmt:
    return _located(source, ast.Assign([ast.Name(name, ast.Store())], ast.Constant(None)))


def _located(source: ast.stmt, statement: ast.stmt) -> ast.stmt:
    for part in ast.walk(statement):
        if not hasattr(part, "lineno"):
            ast.copy_location(part, source)
    return statement
