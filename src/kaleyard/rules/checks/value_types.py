"""Rules about values that go from step to step, as far as the code that makes them tells their type."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from kaleyard.analysis.effects.code_fragments import CodeFragment
from kaleyard.analysis.notebook_analysis import NotebookAnalysis
from kaleyard.errors import Location
from kaleyard.rules.findings import Finding, Rule

__all__ = ["RULES"]

_LIST = "Make a list of it first: `{name} = list({name})`."
_ANEW = "Make a new one in the step that uses it, from values that can be saved."
_PATH = "Hand on its path instead: a `pathlib.Path` travels with its file."
# What calls of these give cannot travel: what it is, and what to do.
_CANNOT: dict[str, tuple[str, str]] = {
    "open": ("an open file", _PATH),
    **dict.fromkeys(
        ("map", "filter", "zip", "enumerate", "iter", "reversed"), ("an iterator, which can be read only once", _LIST)
    ),
    "memoryview": ("a view of memory", "Keep a copy: `{name} = bytes({name})`."),
    **dict.fromkeys(
        (
            *(f"threading.{n}" for n in ("Lock", "RLock", "Event", "Condition", "Semaphore", "Thread", "Timer")),
            *("socket.socket", "socket.create_connection", "subprocess.Popen"),
            *("concurrent.futures.ThreadPoolExecutor", "concurrent.futures.ProcessPoolExecutor"),
            *("multiprocessing.Pool", "multiprocessing.Queue", "queue.Queue"),
        ),
        ("bound to this process", _ANEW),
    ),
    **dict.fromkeys(
        ("sqlite3.connect", "psycopg.connect", "psycopg2.connect", "pymysql.connect", "duckdb.connect"),
        ("connected to something outside this process", "Open it in the step that uses it."),
    ),
}
_ITERTOOLS = "itertools."
_PICKLED = {"functools.partial": "a partial function", "re.compile": "a compiled pattern"}


class CannotTravel(Rule[NotebookAnalysis]):
    """Make it in the step that uses it, or hand on what it is made from."""

    code = "KY502"
    title = "value that cannot go to another step"
    example = (("squares = (n * n for n in range(3))", "step:make"), ("print(sum(squares))", "step:show"))

    def check(self, subject: NotebookAnalysis) -> Iterable[Finding]:
        """Outputs made by a generator expression, an open file, a lock, a connection."""
        for step, name, unit, value in _outputs(subject):
            found = self._why(value, subject, step)
            if found:
                what, advice = found
                place = Location(subject.notebook.name, unit.cell, step)
                yield self.found(place, f"`{name}` is {what}", advice=advice.format(name=name), line=unit.line)

    @staticmethod
    def _why(value: ast.expr, subject: NotebookAnalysis, step: str) -> tuple[str, str] | None:
        if isinstance(value, ast.GeneratorExp):
            return "a generator, which can be read only once", _LIST
        called = _called(value, subject, step)
        made = _definition(called, subject, step)
        if made is None and called.startswith(_ITERTOOLS):
            return "an iterator, which can be read only once", _LIST
        if made is None and called in _CANNOT:
            return _CANNOT[called]
        if isinstance(made, (ast.FunctionDef, ast.AsyncFunctionDef)) and not made.decorator_list:
            if _yields(made):
                return "a generator, which can be read only once", _LIST
            if isinstance(made, ast.AsyncFunctionDef):
                return "a coroutine", "Await it in this step, and keep its result."
        return None


class NoOpenFormat(Rule[NotebookAnalysis]):
    """Hand on plain values, arrays, frames or a dataclass. A pickle needs like versions of packages to be read."""

    code = "KY501"
    title = "value without an open format"
    severity = "warning"
    example = (
        ("class Queue:\n    def __init__(self): self.items = []", "functions"),
        ("queue = Queue()", "step:make"),
        ("print(queue.items)", "step:show"),
    )

    def check(self, subject: NotebookAnalysis) -> Iterable[Finding]:
        """Outputs that are instances of the notebook's plain classes, partial functions, compiled patterns."""
        for step, name, unit, value in _outputs(subject):
            called = _called(value, subject, step)
            what = _PICKLED.get(called, "")
            made = _definition(called, subject, step)
            if isinstance(made, ast.ClassDef) and not _is_plain_data(made):
                what = f"a {made.name}, a class of the notebook"
            if what:
                place = Location(subject.notebook.name, unit.cell, step)
                yield self.found(place, f"`{name}` is {what}: it travels as a pickle", line=unit.line)


def _outputs(subject: NotebookAnalysis) -> Iterable[tuple[str, str, CodeFragment, ast.expr]]:
    """The values that steps hand on and bind by a plain assignment: step, name, where, and the expression."""
    for step in subject.steps:
        for name in step.outputs:
            units = [u for u in subject.code[step.name].units if name in u.names.makes | u.names.may_make]
            node = units[-1].nodes[-1] if units else None
            if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
                yield step.name, name, units[-1], node.value


def _called(value: ast.expr, subject: NotebookAnalysis, step: str) -> str:
    """What a call calls, by its full name where an import tells it: `threading.Lock` for `Lock()`."""
    if not isinstance(value, ast.Call):
        return ""
    text = ast.unparse(value.func) if isinstance(value.func, (ast.Name, ast.Attribute)) else ""
    root, dot, rest = text.partition(".")
    for unit in (*subject.flows[step].carried, *subject.code[step].units):
        for node in unit.nodes if root in unit.names.imports else ():
            for alias in getattr(node, "names", ()):
                if (alias.asname or alias.name.partition(".")[0]) == root and isinstance(node, ast.Import):
                    return (alias.name if alias.asname else root) + dot + rest
                if (alias.asname or alias.name) == root and isinstance(node, ast.ImportFrom):
                    return f"{node.module}.{alias.name}{dot}{rest}"
    return text


def _definition(name: str, subject: NotebookAnalysis, step: str) -> ast.stmt | None:
    for unit in reversed((*subject.flows[step].carried, *subject.code[step].units)):
        if name in unit.names.definitions:
            return next((n for n in unit.nodes if getattr(n, "name", None) == name), None)
    return None


def _yields(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    todo: list[ast.AST] = list(function.body)
    while todo:
        node = todo.pop()
        if isinstance(node, (ast.Yield, ast.YieldFrom)):
            return True
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)):
            todo += ast.iter_child_nodes(node)
    return False


def _is_plain_data(made: ast.ClassDef) -> bool:
    """Whether the class is of a kind that has an open format: dataclasses, enums, named tuples."""
    told = " ".join(ast.unparse(n) for n in (*made.decorator_list, *made.bases))
    return any(word in told for word in ("dataclass", "Enum", "Flag", "NamedTuple", "namedtuple"))


RULES: tuple[type[Rule[NotebookAnalysis]], ...] = (NoOpenFormat, CannotTravel)
