"""What calling a function or class reads, sets and changes among the notebook's names.

Python resolves the names of a function's body when it is called, so they belong to the caller. Scoping rules:
https://docs.python.org/3/reference/executionmodel.html#resolution-of-names
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
    always_bound,
    annotations_of,
    changes_class,
    default_values,
    definition_parts,
    kept_default,
    leaves,
    names_in,
)

__all__ = ["CallEffects", "call_effects"]


Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


@dataclass(slots=True)
class CallEffects:
    """The names around a function or class that a call reads (with line), sets, and changes in place.

    - `parameters` are the function's own, in order; `changed` are those whose values it changes in place.
    - `passes` are variables passed to functions: (function, position or keyword, variable).
    - `asks` are methods called on variables: (variable, method).
    - `methods` are a class's methods that change the instance.
    - `notes` are read only in annotations, which are not always evaluated.
    - `loose` are `reads` that a call may skip: in a branch, in a `raise`, below a `return`.
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

    def parameter(self, argument: int | str) -> str | None:
        """The parameter that receives the argument at this position or keyword."""
        if isinstance(argument, str):
            return argument
        return self.parameters[argument] if argument < len(self.parameters) else None


def call_effects(node: Function | ast.ClassDef) -> CallEffects:
    """The effects of calling the function, or using the class, on the names around it."""
    if isinstance(node, ast.ClassDef):
        body = _ScopeWalker(is_class=True)
        body.block(node.body)
        effects = body.result()
        effects.methods = _changing_methods(node)
        # A class has the effects of its bases and its metaclass.
        bases = (*node.bases, *(k.value for k in node.keywords if k.arg == "metaclass"))
        effects.reads |= {b.id: b.lineno for b in bases if isinstance(b, ast.Name)}
        if changes_class(node):
            effects.changes = effects.changes | {node.name}
        return effects
    scope = _ScopeWalker()
    args = node.args
    parameters = [*args.posonlyargs, *args.args, *args.kwonlyargs]
    parameters += [a for a in (args.vararg, args.kwarg) if a]
    scope.parameters.update(a.arg for a in parameters)
    scope.bound |= scope.parameters
    scope.body(node.body if isinstance(node.body, list) else [ast.Expr(node.body)])
    effects = scope.result()
    effects.parameters = tuple(a.arg for a in parameters)
    effects.changed = frozenset(scope.changes.intersection(effects.parameters))
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and kept_default(node):
        # A mutable default that the body changes is part of the function.
        effects.changes = effects.changes | {node.name}
    return effects


def _changing_methods(node: ast.ClassDef) -> frozenset[str]:
    """The methods that change their instance, directly or through each other."""
    changing: set[str] = set()
    calls: dict[str, set[str]] = {}
    for method in node.body:
        if not isinstance(method, (ast.FunctionDef, ast.AsyncFunctionDef)) or method.name == "__init__":
            continue
        effects = call_effects(method)
        if not effects.parameters:
            continue
        instance = effects.parameters[0]
        if instance in effects.changed:
            changing.add(method.name)
        calls[method.name] = {name for root, name in effects.asks if root == instance}
    while added := {m for m, called in calls.items() if m not in changing and called & changing}:
        changing |= added
    return frozenset(changing)


class _ScopeWalker(Branches):
    """Visits the scope of a function or class; nested scopes pass up their free names."""

    def __init__(self, *, is_class: bool = False) -> None:
        super().__init__()
        self.is_class = is_class
        self.parameters: set[str] = set()
        self.loads: dict[str, int] = {}
        self.certain: set[str] = set()  # read on every path
        self.notes: set[str] = set()
        self.outer: set[str] = set()
        self.changes: set[str] = set()
        self.nested_sets: set[str] = set()
        self.alias: dict[str, set[str]] = {}
        self.passes: set[tuple[str, int | str, str]] = set()
        self.asks: set[tuple[str, str]] = set()
        # Globals that the function has already bound: later reads of them get its own value.
        self.settled: set[str] = set()

    def body(self, statements: Iterable[ast.stmt]) -> None:
        """Visit the statements of a function in execution order."""
        for statement in statements:
            self.visit(statement)
            self.settled |= self.outer & set(always_bound(statement))
            self.conditional += leaves([statement])  # code below never runs

    def result(self) -> CallEffects:
        # A class's names are attributes: they do not hide globals from its methods.
        local = set() if self.is_class else self.bound - self.outer
        reads = {n: line for n, line in self.loads.items() if n not in local}
        self.changes = self._with_aliases(self.changes)
        effects = CallEffects(reads, (self.bound & self.outer) | self.nested_sets, self.changes - local)
        effects.notes = frozenset(self.notes - set(reads) - local)
        effects.loose = frozenset(reads.keys() - self.certain)
        # Local variables stay inside; the values of parameters belong to the caller.
        own = local - self.parameters
        effects.passes = frozenset((f, p, r) for f, p, n in self.passes for r in self._with_aliases({n}) - own)
        effects.asks = frozenset((r, m) for n, m in self.asks for r in self._with_aliases({n}) - own)
        return effects

    def _with_aliases(self, names: set[str]) -> set[str]:
        closure, todo = set[str](), list(names)
        while todo:
            name = todo.pop()
            if name not in closure:
                closure.add(name)
                todo.extend(self.alias.get(name, ()))
        return closure

    def _add_aliases(self, pairs: Iterable[tuple[str, set[str]]]) -> None:
        for name, roots in pairs:
            if roots:
                self.alias.setdefault(name, set()).update(roots)

    def load(self, name: str, line: int) -> None:
        if not (self.is_class and name in self.bound) and name not in self.settled:
            self.loads.setdefault(name, line)
            if not self.conditional:
                self.certain.add(name)

    def add_nested(self, effects: CallEffects) -> None:
        for name, line in effects.reads.items():
            if name not in self.settled:
                self.loads.setdefault(name, line)
                if not self.conditional and name not in effects.loose:
                    self.certain.add(name)
        self.notes |= effects.notes
        self.nested_sets |= effects.sets
        self.changes |= effects.changes
        own = set(effects.parameters)
        self.passes.update(p for p in effects.passes if p[2] not in own)
        self.asks.update(a for a in effects.asks if a[0] not in own)

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
            self._add_aliases(aliases(target, node.value))

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        self._add_aliases((name, iterated_roots(node.iter)) for name in bound_names(node.target))
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        func = node.func
        if isinstance(func, ast.Name):
            self.asks.add((func.id, "__call__"))
            self.passes.update(
                (func.id, argument, root) for argument, value in arguments(node) if (root := root_name(value))
            )
        elif isinstance(func, ast.Attribute) and (root := root_name(func)):
            self.asks.add((root, func.attr))

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        # Annotations of local variables are not evaluated; those of classes are.
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
        self.add_nested(call_effects(node))

    visit_FunctionDef = visit_AsyncFunctionDef = visit_ClassDef = _definition

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self.block(default_values(node))
        self.add_nested(call_effects(node))

    def _comprehension(self, node: Comprehension) -> None:
        inner = _ScopeWalker()
        for generator in node.generators:
            names = set(bound_names(generator.target))
            inner.bound |= names
            inner._add_aliases((name, iterated_roots(generator.iter)) for name in names)
        for part in ast.walk(node):
            if isinstance(part, ast.NamedExpr):
                self.bound.add(part.target.id)
        targets = set(inner.bound)
        inner.block(ast.iter_child_nodes(node))
        inner.bound = targets
        self.add_nested(inner.result())

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _comprehension
