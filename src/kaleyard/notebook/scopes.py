"""What calling a function or class would read, set and change among the notebook's names.

Python resolves the names of a function's body when it is called, so they belong to whoever calls it. Rules of
scoping: https://docs.python.org/3/reference/executionmodel.html#resolution-of-names
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass, field

__all__ = ["Deferred", "bound_names", "changed_roots", "deferred", "root_name"]

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp

# Methods that change the object they are called on, of the libraries people use in notebooks. A change this
# table does not know is found when the step runs: an input that a later step also takes is compared at its end.
_CHANGING_METHODS = frozenset(
    "append appendleft extend extendleft insert remove pop popleft popitem clear sort reverse rotate update "
    "setdefault add discard difference_update intersection_update symmetric_difference_update subtract "
    "move_to_end fit partial_fit fit_transform fit_predict set_params fill resize setflags partition "
    "load_state_dict add_module register_buffer load_weights compile".split()
)
# Functions that change their first argument.
_CHANGING_FUNCTIONS = frozenset(
    "shuffle heappush heappop heapify heapreplace heappushpop insort insort_left insort_right fill_diagonal "
    "copyto place putmask setattr delattr".split()
)


@dataclass(slots=True)
class Deferred:
    """What a call does to the names around it: which it reads (with line), sets, and changes in place.

    `parameters` are the function's own, in order; `changed_parameters` those whose values it changes in place.
    """

    reads: dict[str, int] = field(default_factory=dict)
    sets: set[str] = field(default_factory=set)
    changes: set[str] = field(default_factory=set)
    parameters: tuple[str, ...] = ()

    @property
    def changed_parameters(self) -> frozenset[str]:
        """The parameters whose values a call changes in place."""
        return frozenset(self.parameters) & self._changed

    _changed: set[str] = field(default_factory=set)


def root_name(node: ast.expr) -> str | None:
    """The variable an attribute or subscript chain starts from (`df` of `df.loc[x].y`), None if it is no name."""
    while isinstance(node, (ast.Attribute, ast.Subscript, ast.Starred)):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


def bound_names(target: ast.expr) -> Iterable[str]:
    """The names an assignment target binds (not those whose items or attributes it sets)."""
    for node in ast.walk(target):
        if isinstance(node, ast.Name) and isinstance(node.ctx, (ast.Store, ast.Del)):
            yield node.id


def changed_roots(node: ast.AST) -> Iterable[str]:
    """The variables that this one node changes in place: item or attribute set or deleted, or a changing call."""
    if isinstance(node, (ast.Attribute, ast.Subscript)) and isinstance(node.ctx, (ast.Store, ast.Del)):
        name = root_name(node)
        if name:
            yield name
    elif isinstance(node, ast.Call):
        yield from _changed_by_call(node)


def _changed_by_call(call: ast.Call) -> Iterable[str]:
    func = call.func
    first = root_name(call.args[0]) if call.args else None
    word = func.attr if isinstance(func, ast.Attribute) else func.id if isinstance(func, ast.Name) else ""
    if word in _CHANGING_FUNCTIONS and first:
        yield first
        return
    root = root_name(func) if isinstance(func, ast.Attribute) else None
    inplace = any(
        k.arg == "inplace" and not (isinstance(k.value, ast.Constant) and k.value.value is False) for k in call.keywords
    )
    if root and (inplace or word in _CHANGING_METHODS):
        yield root


def deferred(node: Function | ast.ClassDef) -> Deferred:
    """What calling the function, or using the class, does to the names around it."""
    if isinstance(node, ast.ClassDef):
        body = _Scope(is_class=True)
        body.block(node.body)
        return body.result()
    scope = _Scope()
    args = node.args
    every = [*args.posonlyargs, *args.args, *args.kwonlyargs]
    every += [a for a in (args.vararg, args.kwarg) if a]
    scope.bound.update(a.arg for a in every)
    scope.block(node.body if isinstance(node.body, list) else [ast.Expr(node.body)])
    found = scope.result()
    found.parameters = tuple(a.arg for a in every)
    found._changed = scope.changes & set(found.parameters)  # noqa: SLF001 - made here
    return found


class _Scope(ast.NodeVisitor):
    """One function's or class's own scope; nested scopes hand their free names up."""

    def __init__(self, *, is_class: bool = False) -> None:
        self.is_class = is_class
        self.bound: set[str] = set()
        self.loads: dict[str, int] = {}
        self.outer: set[str] = set()
        self.changes: set[str] = set()
        self.nested_sets: set[str] = set()

    def block(self, body: Iterable[ast.AST]) -> None:
        for node in body:
            self.visit(node)

    def result(self) -> Deferred:
        # A class's own names are attributes: its methods do not see them, so they hide nothing.
        local = set() if self.is_class else self.bound - self.outer
        reads = {n: line for n, line in self.loads.items() if n not in local}
        return Deferred(reads, (self.bound & self.outer) | self.nested_sets, self.changes - local)

    def load(self, name: str, line: int) -> None:
        if not (self.is_class and name in self.bound):
            self.loads.setdefault(name, line)

    def nested(self, found: Deferred) -> None:
        for name, line in found.reads.items():
            self.loads.setdefault(name, line)
        self.nested_sets |= found.sets
        self.changes |= found.changes

    def visit(self, node: ast.AST) -> None:
        self.changes.update(changed_roots(node))
        super().visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self.load(node.id, node.lineno)
        else:
            self.bound.add(node.id)

    def visit_Global(self, node: ast.Global) -> None:
        self.outer.update(node.names)

    def visit_Import(self, node: ast.Import) -> None:
        self.bound.update((a.asname or a.name.partition(".")[0]) for a in node.names)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        self.bound.update((a.asname or a.name) for a in node.names)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name:
            self.bound.add(node.name)
        self.generic_visit(node)

    def visit_MatchAs(self, node: ast.MatchAs) -> None:
        if node.name:
            self.bound.add(node.name)
        self.generic_visit(node)

    def visit_MatchStar(self, node: ast.MatchStar) -> None:
        if node.name:
            self.bound.add(node.name)

    def visit_MatchMapping(self, node: ast.MatchMapping) -> None:
        if node.rest:
            self.bound.add(node.rest)
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        self.visit(node.value)
        self.block(node.targets)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        # The annotation of a local variable is never evaluated.
        if node.value is not None:
            self.visit(node.value)
        self.visit(node.target)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self.load(node.target.id, node.lineno)
        self.generic_visit(node)

    def _definition(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> None:
        self.bound.add(node.name)
        self.block(definition_parts(node))
        self.nested(deferred(node))

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._definition(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._definition(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._definition(node)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self.block(default_values(node))
        self.nested(deferred(node))

    def _comprehension(self, node: Comprehension) -> None:
        inner = _Scope()
        for generator in node.generators:
            inner.bound.update(bound_names(generator.target))
        for part in ast.walk(node):
            if isinstance(part, ast.NamedExpr):
                self.bound.add(part.target.id)
        targets = set(inner.bound)
        inner.block(ast.iter_child_nodes(node))
        inner.bound = targets
        self.nested(inner.result())

    def visit_ListComp(self, node: ast.ListComp) -> None:
        self._comprehension(node)

    def visit_SetComp(self, node: ast.SetComp) -> None:
        self._comprehension(node)

    def visit_DictComp(self, node: ast.DictComp) -> None:
        self._comprehension(node)

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> None:
        self._comprehension(node)


def default_values(node: Function) -> list[ast.expr]:
    """The default values of a function's parameters: read where it is defined, not where it is called."""
    return [d for d in [*node.args.defaults, *node.args.kw_defaults] if d is not None]


def definition_parts(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> list[ast.AST]:
    """What defining evaluates at once: decorators, default values, annotations, bases."""
    parts: list[ast.AST] = list(node.decorator_list)
    if isinstance(node, ast.ClassDef):
        return parts + list(node.bases) + [k.value for k in node.keywords]
    args = node.args
    every = [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg]
    notes = [a.annotation for a in every if a is not None and a.annotation is not None]
    return parts + default_values(node) + notes + ([node.returns] if node.returns else [])
