"""Rules about values passed between steps, as far as the code shows their types."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from kaleyard.analysis.effects.code_fragments import CodeFragment
from kaleyard.analysis.notebook_analysis import NotebookAnalysis
from kaleyard.errors import Location
from kaleyard.rules.findings import Finding, Rule

__all__ = ["RULES"]

_LIST = "Convert it to a list first: `{name} = list({name})`."
_NEW = "Create a new one in the step that uses it, from values that can be saved."
_PATH = "Pass its path instead: a `pathlib.Path` is passed together with its file."
# Calls whose results cannot be passed to another step: what the result is, and what to do.
_UNSAVABLE: dict[str, tuple[str, str]] = {
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
        ("bound to this process", _NEW),
    ),
    **dict.fromkeys(
        ("sqlite3.connect", "psycopg.connect", "psycopg2.connect", "pymysql.connect", "duckdb.connect"),
        ("connected to something outside this process", "Open it in the step that uses it."),
    ),
}
_ITERTOOLS = "itertools."
_PICKLED = {"functools.partial": "a partial function", "re.compile": "a compiled pattern"}


class UnsavableValue(Rule[NotebookAnalysis]):
    """Create it in the step that uses it, or pass the values it is created from."""

    code = "KY502"
    title = "value that cannot be passed to another step"
    why = "Steps are separate processes: a value must be saved after one and loaded in the next."
    example = (("squares = (n * n for n in range(3))", "step:make"), ("print(sum(squares))", "step:show"))

    def check(self, subject: NotebookAnalysis) -> Iterable[Finding]:
        """Outputs that are generators, open files, locks, connections and the like."""
        for step, name, fragment, value in _outputs(subject):
            reason = self._reason(value, subject, step)
            if reason:
                message, advice = reason
                location = Location(subject.notebook.name, fragment.cell, step)
                yield self.finding(
                    location, f"`{name}` is {message}", advice=advice.format(name=name), line=fragment.line
                )

    @staticmethod
    def _reason(value: ast.expr, subject: NotebookAnalysis, step: str) -> tuple[str, str] | None:
        if isinstance(value, ast.GeneratorExp):
            return "a generator, which can be read only once", _LIST
        called = _called(value, subject, step)
        definition = _definition(called, subject, step)
        if definition is None and called.startswith(_ITERTOOLS):
            return "an iterator, which can be read only once", _LIST
        if definition is None and called in _UNSAVABLE:
            return _UNSAVABLE[called]
        if isinstance(definition, (ast.FunctionDef, ast.AsyncFunctionDef)) and not definition.decorator_list:
            if _yields(definition):
                return "a generator, which can be read only once", _LIST
            if isinstance(definition, ast.AsyncFunctionDef):
                return "a coroutine", "Await it in this step, and keep its result."
        return None


class PickledValue(Rule[NotebookAnalysis]):
    """Pass plain values, arrays, data frames or dataclasses."""

    code = "KY501"
    title = "value saved as a pickle"
    why = "A pickle can only be read with similar versions of the packages that wrote it, and by no other program."
    severity = "warning"
    example = (
        ("class Queue:\n    def __init__(self): self.items = []", "functions"),
        ("queue = Queue()", "step:make"),
        ("print(queue.items)", "step:show"),
    )

    def check(self, subject: NotebookAnalysis) -> Iterable[Finding]:
        """Outputs that are instances of the notebook's plain classes, partial functions, compiled patterns."""
        for step, name, fragment, value in _outputs(subject):
            called = _called(value, subject, step)
            kind = _PICKLED.get(called, "")
            definition = _definition(called, subject, step)
            if isinstance(definition, ast.ClassDef) and not _is_plain_data(definition):
                kind = f"an instance of {definition.name}, a class of the notebook"
            if kind:
                location = Location(subject.notebook.name, fragment.cell, step)
                yield self.finding(location, f"`{name}` is {kind}: it is saved as a pickle", line=fragment.line)


def _outputs(subject: NotebookAnalysis) -> Iterable[tuple[str, str, CodeFragment, ast.expr]]:
    """The outputs of steps that are bound by a plain assignment: step, name, fragment, and assigned expression."""
    for step in subject.steps:
        for name in step.outputs:
            fragments = [u for u in subject.code[step.name].units if name in u.names.makes | u.names.may_make]
            node = fragments[-1].nodes[-1] if fragments else None
            if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
                yield step.name, name, fragments[-1], node.value


def _called(value: ast.expr, subject: NotebookAnalysis, step: str) -> str:
    """The full name of what is called, resolved through imports: `threading.Lock` for `Lock()`."""
    if not isinstance(value, ast.Call):
        return ""
    text = ast.unparse(value.func) if isinstance(value.func, (ast.Name, ast.Attribute)) else ""
    root, dot, rest = text.partition(".")
    for fragment in (*subject.flows[step].carried, *subject.code[step].units):
        for node in fragment.nodes if root in fragment.names.imports else ():
            for alias in getattr(node, "names", ()):
                if (alias.asname or alias.name.partition(".")[0]) == root and isinstance(node, ast.Import):
                    return (alias.name if alias.asname else root) + dot + rest
                if (alias.asname or alias.name) == root and isinstance(node, ast.ImportFrom):
                    return f"{node.module}.{alias.name}{dot}{rest}"
    return text


def _definition(name: str, subject: NotebookAnalysis, step: str) -> ast.stmt | None:
    for fragment in reversed((*subject.flows[step].carried, *subject.code[step].units)):
        if name in fragment.names.definitions:
            return next((n for n in fragment.nodes if getattr(n, "name", None) == name), None)
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


def _is_plain_data(definition: ast.ClassDef) -> bool:
    """Whether values of the class have an open format: dataclasses, enums, named tuples."""
    text = " ".join(ast.unparse(n) for n in (*definition.decorator_list, *definition.bases))
    return any(word in text for word in ("dataclass", "Enum", "Flag", "NamedTuple", "namedtuple"))


RULES: tuple[type[Rule[NotebookAnalysis]], ...] = (PickledValue, UnsavableValue)
