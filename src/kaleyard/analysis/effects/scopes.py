"""What calling a function or class would read, set and change among the notebook's names.

Python resolves the names of a function's body when it is called, so they belong to whoever calls it. Rules of
scoping: https://docs.python.org/3/reference/executionmodel.html#resolution-of-names
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass, field

from kaleyard.analysis.effects.branches import Branches
from kaleyard.analysis.effects.mutation import (
    aliases,
    arguments,
    bound_names,
    changed_roots,
    is_display,
    iterated_roots,
    root_name,
)
from kaleyard.analysis.effects.syntax import (
    Function,
    annotations_of,
    changes_class,
    default_values,
    definition_parts,
    kept_default,
    leaves,
    names_in,
    surely_bound,
)

__all__ = ["CallEffects", "call_effects"]


Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


@dataclass(slots=True)
class CallEffects:
    """What a call does to the names around it: which it reads (with line), sets, and changes in place.

    `parameters` are the function's own, in order; `changed` those whose values it changes in place. `passes` are
    the variables it hands to functions (which, to which position or keyword, the variable); `asks` the methods it
    calls on variables (the variable, the method). `methods` are those of a class that change the instance. `notes`
    are read in annotations alone, which are not evaluated everywhere. `loose` are those of `reads` that stand only
    where a call may never come: in a branch, in the words of a `raise`, below a `return`.
    """

    reads: dict[str, int] = field(default_factory=dict)
    sets: set[str] = field(default_factory=set)
    changes: set[str] = field(default_factory=set)
    parameters: tuple[str, ...] = ()
    changed: frozenset[str] = frozenset()
    passes: frozenset[tuple[str, int | str, str]] = frozenset()
    asks: frozenset[tuple[str, str]] = frozenset()
    methods: frozenset[str] = frozenset()
    notes: frozenset[str] = frozenset()
    loose: frozenset[str] = frozenset()

    def parameter(self, where: int | str) -> str | None:
        """The parameter that takes the argument given by this position or keyword."""
        if isinstance(where, str):
            return where
        return self.parameters[where] if where < len(self.parameters) else None


def call_effects(node: Function | ast.ClassDef) -> CallEffects:
    """What calling the function, or using the class, does to the names around it."""
    if isinstance(node, ast.ClassDef):
        body = _Scope(is_class=True)
        body.block(node.body)
        found = body.result()
        found.methods = _changing_methods(node)
        # What its bases and its metaclass do, it does: when it is used, and when it is a base itself.
        above = (*node.bases, *(k.value for k in node.keywords if k.arg == "metaclass"))
        found.reads |= {b.id: b.lineno for b in above if isinstance(b, ast.Name)}
        if changes_class(node):
            found.changes = found.changes | {node.name}
        return found
    scope = _Scope()
    args = node.args
    every = [*args.posonlyargs, *args.args, *args.kwonlyargs]
    every += [a for a in (args.vararg, args.kwarg) if a]
    scope.parameters.update(a.arg for a in every)
    scope.bound |= scope.parameters
    scope.body(node.body if isinstance(node.body, list) else [ast.Expr(node.body)])
    found = scope.result()
    found.parameters = tuple(a.arg for a in every)
    found.changed = frozenset(scope.changes.intersection(found.parameters))
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and kept_default(node):
        # A default that its calls change is a part of the function.
        found.changes = found.changes | {node.name}
    return found


def _changing_methods(node: ast.ClassDef) -> frozenset[str]:
    """The methods that change the instance they are called on, themselves or through each other."""
    changing: set[str] = set()
    asked: dict[str, set[str]] = {}
    for method in node.body:
        if not isinstance(method, (ast.FunctionDef, ast.AsyncFunctionDef)) or method.name == "__init__":
            continue
        found = call_effects(method)
        if not found.parameters:
            continue
        me = found.parameters[0]
        if me in found.changed:
            changing.add(method.name)
        asked[method.name] = {name for root, name in found.asks if root == me}
    while more := {m for m, others in asked.items() if m not in changing and others & changing}:
        changing |= more
    return frozenset(changing)


class _Scope(Branches):
    """One function's or class's own scope; nested scopes hand their free names up."""

    def __init__(self, *, is_class: bool = False) -> None:
        super().__init__()
        self.is_class = is_class
        self.parameters: set[str] = set()
        self.loads: dict[str, int] = {}
        self.firm: set[str] = set()  # what is read wherever a call goes
        self.notes: set[str] = set()
        self.outer: set[str] = set()
        self.changes: set[str] = set()
        self.nested_sets: set[str] = set()
        self.alias: dict[str, set[str]] = {}
        self.passes: set[tuple[str, int | str, str]] = set()
        self.asks: set[tuple[str, str]] = set()
        # Globals that the function has bound for sure: what it reads of them then is its own.
        self.settled: set[str] = set()

    def body(self, statements: Iterable[ast.stmt]) -> None:
        """The statements of a function, in the order they run."""
        for statement in statements:
            self.visit(statement)
            self.settled |= self.outer & set(surely_bound(statement))
            self.perhaps += leaves([statement])  # what stands below never runs

    def result(self) -> CallEffects:
        # A class's own names are attributes: its methods do not see them, so they hide nothing.
        local = set() if self.is_class else self.bound - self.outer
        reads = {n: line for n, line in self.loads.items() if n not in local}
        self.changes = self._with_aliases(self.changes)
        found = CallEffects(reads, (self.bound & self.outer) | self.nested_sets, self.changes - local)
        found.notes = frozenset(self.notes - set(reads) - local)
        found.loose = frozenset(reads.keys() - self.firm)
        # Variables of its own are nobody else's, but what its parameters are is its caller's.
        own = local - self.parameters
        found.passes = frozenset((f, p, r) for f, p, n in self.passes for r in self._with_aliases({n}) - own)
        found.asks = frozenset((r, m) for n, m in self.asks for r in self._with_aliases({n}) - own)
        return found

    def _with_aliases(self, names: set[str]) -> set[str]:
        found, todo = set[str](), list(names)
        while todo:
            name = todo.pop()
            if name not in found:
                found.add(name)
                todo.extend(self.alias.get(name, ()))
        return found

    def _alias(self, pairs: Iterable[tuple[str, set[str]]]) -> None:
        for name, roots in pairs:
            if roots:
                self.alias.setdefault(name, set()).update(roots)

    def load(self, name: str, line: int) -> None:
        if not (self.is_class and name in self.bound) and name not in self.settled:
            self.loads.setdefault(name, line)
            if not self.perhaps:
                self.firm.add(name)

    def nested(self, found: CallEffects) -> None:
        for name, line in found.reads.items():
            if name not in self.settled:
                self.loads.setdefault(name, line)
                if not self.perhaps and name not in found.loose:
                    self.firm.add(name)
        self.notes |= found.notes
        self.nested_sets |= found.sets
        self.changes |= found.changes
        own = set(found.parameters)
        self.passes.update(p for p in found.passes if p[2] not in own)
        self.asks.update(a for a in found.asks if a[0] not in own)

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

    def visit_Assign(self, node: ast.Assign) -> None:
        self.visit(node.value)
        self.block(node.targets)
        for target in node.targets:
            self._alias(aliases(target, node.value))

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        self._alias((name, iterated_roots(node.iter)) for name in bound_names(node.target))
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        func = node.func
        if isinstance(func, ast.Name):
            self.asks.add((func.id, "__call__"))
            self.passes.update((func.id, where, root) for where, value in arguments(node) if (root := root_name(value)))
        elif isinstance(func, ast.Attribute) and (root := root_name(func)):
            self.asks.add((root, func.attr))

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        # The annotation of a local variable is never evaluated; a class keeps them.
        if self.is_class:
            self.notes.update(names_in(node.annotation))
        if node.value is not None:
            self.visit(node.value)
        self.visit(node.target)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self.load(node.target.id, node.lineno)
            if is_display(node.value):
                self.changes.add(node.target.id)
        self.generic_visit(node)

    def _definition(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> None:
        self.bound.add(node.name)
        self.block(definition_parts(node))
        self.notes.update(n for note in annotations_of(node) for n in names_in(note))
        self.nested(call_effects(node))

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._definition(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._definition(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._definition(node)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self.block(default_values(node))
        self.nested(call_effects(node))

    def _comprehension(self, node: Comprehension) -> None:
        inner = _Scope()
        for generator in node.generators:
            names = set(bound_names(generator.target))
            inner.bound |= names
            inner._alias((name, iterated_roots(generator.iter)) for name in names)
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
