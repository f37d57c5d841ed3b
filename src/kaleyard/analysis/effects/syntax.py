"""Facts that a statement's syntax alone shows: what it evaluates at once, always binds, or exits."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from kaleyard.analysis.effects.mutation import bound_names, called_name, changed_roots, is_display

__all__ = [
    "Function",
    "always_bound",
    "annotations_of",
    "arguments_of",
    "blocks",
    "changes_class",
    "default_values",
    "definition_parts",
    "header",
    "kept_default",
    "leaves",
    "local_names",
    "makes_class",
    "names_in",
    "own_expressions",
    "runs_once",
    "stored",
    "stored_in",
]

_CONTAINER_TYPES = frozenset({"list", "dict", "set", "defaultdict", "collections.defaultdict", "Counter", "deque"})
Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda

# Calls that return a class, or a type for annotations.
_CLASS_MAKERS = frozenset(
    "namedtuple NamedTuple Enum IntEnum StrEnum Flag IntFlag make_dataclass TypedDict NewType TypeVar ParamSpec".split()
)


def changes_class(node: ast.ClassDef) -> bool:
    """Whether using the class may change its own data: by `cls`, `type(self)`, or a list shared by its instances."""
    shared = {
        name
        for statement in node.body
        if isinstance(statement, (ast.Assign, ast.AnnAssign)) and _makes_object(statement.value)
        for target in (statement.targets if isinstance(statement, ast.Assign) else [statement.target])
        for name in bound_names(target)
    }
    own = {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store)}
    for part in ast.walk(node):
        changed = set(changed_roots(part))
        chain = ast.unparse(part) if isinstance(part, (ast.Attribute, ast.Subscript, ast.Call)) else ""
        stored = isinstance(getattr(part, "ctx", None), (ast.Store, ast.Del))
        if "cls" in changed or (stored and ("type(self)." in chain or ".__class__." in chain)):
            return True
        if "self" in changed and any(chain.startswith((f"self.{n}.", f"self.{n}[")) for n in shared - own):
            return True
    return False


def _makes_object(value: ast.expr | None) -> bool:
    return value is not None and (isinstance(value, ast.Call) or is_display(value))


def makes_class(value: ast.expr | None) -> bool:
    """Whether an expression makes a class by a call, as `namedtuple("P", "x y")` and `type("P", (), {})` do."""
    if not isinstance(value, ast.Call):
        return False
    func = value.func
    word = called_name(func)
    if word == "type":
        return isinstance(func, ast.Name) and len(value.args) == 3  # noqa: PLR2004 - name, bases, dict
    # `Enum("red")` of a notebook class has one argument; these have a name and members.
    return word in _CLASS_MAKERS and bool(value.args) and isinstance(value.args[0], ast.Constant)


def always_bound(statement: ast.stmt) -> Iterable[str]:
    """The names that the statement always binds when it completes."""
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield statement.name
    elif isinstance(statement, (ast.Import, ast.ImportFrom)):
        yield from ((a.asname or a.name.partition(".")[0]) for a in statement.names)
    elif isinstance(statement, ast.Assign):
        yield from (name for target in statement.targets for name in bound_names(target))
    elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
        yield from bound_names(statement.target)
    elif isinstance(statement, (ast.With, ast.AsyncWith)):
        yield from (name for item in statement.items if item.optional_vars for name in bound_names(item.optional_vars))
        yield from (name for inner in statement.body for name in always_bound(inner))


def default_values(node: Function) -> list[ast.expr]:
    """The default values of a function's parameters, which are evaluated at the definition."""
    return [d for d in [*node.args.defaults, *node.args.kw_defaults] if d is not None]


def definition_parts(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> list[ast.expr]:
    """What a definition evaluates at once, besides annotations: decorators, default values, bases."""
    if isinstance(node, ast.ClassDef):
        return [*node.decorator_list, *node.bases, *(k.value for k in node.keywords)]
    return [*node.decorator_list, *default_values(node)]


def annotations_of(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> list[ast.expr]:
    """The annotations that a definition evaluates without `from __future__ import annotations`."""
    if isinstance(node, ast.ClassDef):
        fields = [s.annotation for s in node.body if isinstance(s, ast.AnnAssign)]
        inner = [s for s in node.body if isinstance(s, (ast.FunctionDef, ast.AsyncFunctionDef))]
        return fields + [annotation for method in inner for annotation in annotations_of(method)]
    return [a.annotation for a in arguments_of(node) if a.annotation] + ([node.returns] if node.returns else [])


def arguments_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.arg]:
    """All arguments of a function, `*args` and `**kwargs` included."""
    args = function.args
    return [a for a in (*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg) if a]


def local_names(function: ast.FunctionDef | ast.AsyncFunctionDef, nodes: Iterable[ast.AST]) -> set[str]:
    """The function's arguments, and the names that these nodes of its body store to."""
    stores = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return stores | {a.arg for a in arguments_of(function)}


def names_in(annotation: ast.expr) -> set[str]:
    """The names in an annotation, without those in its strings (`"list[Item]"`)."""
    return {n.id for n in ast.walk(annotation) if isinstance(n, ast.Name)}


def stored_in(body: Iterable[ast.stmt]) -> Iterator[str]:
    """The names that the statements store to."""
    for statement in body:
        yield from stored(statement)


def stored(statement: ast.stmt) -> Iterator[str]:
    """The names that a statement and its blocks store to."""
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield statement.name
        return
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def runs_once(node: ast.For | ast.AsyncFor) -> bool:
    """Whether the loop's body always completes at least once: over `range(3)` or `[a, b]`, with no early exit."""
    iterable, not_empty = node.iter, False
    if isinstance(iterable, (ast.List, ast.Tuple)):
        not_empty = any(not isinstance(item, ast.Starred) for item in iterable.elts)
    elif isinstance(iterable, ast.Call) and isinstance(iterable.func, ast.Name) and iterable.func.id == "range":
        numbers = [a.value for a in iterable.args if isinstance(a, ast.Constant) and isinstance(a.value, int)]
        not_empty = len(numbers) == len(iterable.args) and bool(numbers) and bool(range(*numbers[:3]))
    exits = (ast.Break, ast.Continue, ast.Return)
    return not_empty and not any(isinstance(n, exits) for inner in node.body for n in ast.walk(inner))


def leaves(body: Iterable[ast.stmt]) -> bool:
    """Whether the code always exits its block: by raise, return, continue or break."""
    return any(isinstance(s, (ast.Raise, ast.Return, ast.Continue, ast.Break)) for s in body)


def own_expressions(node: ast.stmt) -> Iterator[ast.expr]:
    """The expressions of a statement outside its blocks."""
    for name, value in ast.iter_fields(node):
        if name in ("body", "orelse", "finalbody", "handlers"):
            continue
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, ast.expr):
                yield item
            elif isinstance(item, ast.withitem):
                yield item.context_expr


def header(node: ast.stmt) -> ast.stmt | None:
    """The statement without its blocks; None if its header binds nothing."""
    if isinstance(node, (ast.With, ast.AsyncWith, ast.For, ast.AsyncFor)):
        fields: Mapping[str, Any] = dict(ast.iter_fields(node))
        more: dict[str, Any] = {"orelse": []} if isinstance(node, (ast.For, ast.AsyncFor)) else {}
        return ast.copy_location(type(node)(**{**fields, "body": [], **more}), node)
    return None


def blocks(node: ast.stmt) -> Iterator[list[ast.stmt]]:
    """The blocks of a compound statement."""
    for name in ("body", "orelse", "finalbody"):
        yield getattr(node, name, [])
    for handler in getattr(node, "handlers", []):
        yield handler.body


def kept_default(function: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """The parameter whose default is a list, dict or set that the body changes; else ""."""
    args = function.args
    positional = [*args.posonlyargs, *args.args]
    pairs = [*zip(positional[len(positional) - len(args.defaults) :], args.defaults, strict=True)]
    pairs += [(a, d) for a, d in zip(args.kwonlyargs, args.kw_defaults, strict=True) if d is not None]
    mutable = {
        a.arg
        for a, d in pairs
        if is_display(d) or (isinstance(d, ast.Call) and not d.args and ast.unparse(d.func) in _CONTAINER_TYPES)
    }
    changed = (name for top in function.body for node in ast.walk(top) for name in changed_roots(node))
    return next((name for name in changed if name in mutable), "")
