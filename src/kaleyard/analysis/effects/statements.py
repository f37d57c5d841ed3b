"""Effects of a sequence of statements on the notebook's names, over every path through it.

`trace` visits statements in order and keeps two sets: names bound on every path so far, and names bound on some.
A name that is read while bound on no path must come from outside; one bound on some paths may have to.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from kaleyard.analysis.effects.expressions import Expressions
from kaleyard.analysis.effects.mutation import (
    DRAWING,
    aliases,
    bound_names,
    held_roots,
    is_display,
    iterated_roots,
    root_name,
    same_roots,
)
from kaleyard.analysis.effects.name_effects import NameEffects, Scope
from kaleyard.analysis.effects.scopes import CallEffects, call_effects
from kaleyard.analysis.effects.syntax import (
    annotations_of,
    default_values,
    definition_parts,
    leaves,
    makes_class,
    runs_once,
    stored,
    stored_in,
)
from kaleyard.notebook.magics import NOWHERE

__all__ = ["trace"]


def trace(code: Iterable[tuple[int, ast.Module]], scope: Scope | None = None) -> NameEffects:
    """The effects on names of the cells' code, run in order in one namespace.

    `code` has cell numbers with parsed source. `scope` holds what was defined and imported before, so that a call
    of an earlier function counts what the function changes.
    """
    walker = _Statements(scope or Scope())
    for cell, tree in code:
        walker.cell = cell
        walker.statements(tree.body)
    walker.read_pending()
    effects = walker.names
    effects.makes = walker.bound
    effects.may_make = walker.maybe - walker.bound
    effects.alias, effects.held, effects.loose = walker.alias, walker.held, effects.reads.keys() - walker.certain_reads
    effects.changes = {n: site for n, site in effects.changes.items() if n not in walker.deleted}
    effects.deletes = walker.deleted - walker.maybe
    return effects


class _Statements(Expressions):
    """Visits statements in execution order, branch by branch."""

    @contextmanager
    def branch(self) -> Iterator[None]:
        """Code that may not run: its names are bound on some paths only."""
        before = set(self.bound)
        self.branch_depth += 1
        yield
        self.branch_depth -= 1
        self.bound &= before

    def exclusive_branches(self, *branches: Iterable[ast.stmt]) -> None:
        """Visit branches of which exactly one runs: names that all of them bind are bound on every path."""
        before, results = set(self.bound), []
        self.branch_depth += 1
        for body in branches:
            self.bound = set(before)
            body = list(body)  # noqa: PLW2901 - an iterable is read once
            self.statements(body)
            if not leaves(body):
                results.append(self.bound)
        self.branch_depth -= 1
        self.bound = set.intersection(*results) if results else before

    def add_aliases(self, pairs: Iterable[tuple[str, set[str]]]) -> None:
        """Record that names may be the same object as other names."""
        for name, candidates in pairs:
            roots = {r for r in candidates if not self._is_import(r)}  # attributes of modules are not tracked
            if roots - {name}:
                self.alias[name] = self.alias.get(name, frozenset()) | (roots - {name})
                self.scope.roots.update(roots)

    def roots_of(self, pairs: Iterable[tuple[str, set[str]]]) -> list[tuple[str, set[str]]]:
        """The pairs extended by the aliases of their roots, before a name is rebound."""
        return [(n, roots.union(*(self.alias.get(r, ()) for r in roots))) for n, roots in pairs]

    def statements(self, body: Iterable[ast.stmt]) -> None:
        for statement in body:
            self.visit(statement)

    def visit_Assign(self, node: ast.Assign) -> None:
        target = node.targets[0]
        if isinstance(node.value, ast.Lambda) and len(node.targets) == 1 and isinstance(target, ast.Name):
            for default in default_values(node.value):
                self.visit(default)
            self.bind(target.id, node.lineno)
            self.names.definitions[target.id] = call_effects(node.value)
            return
        if makes_class(node.value) and all(isinstance(each, ast.Name) for each in node.targets):
            self.visit(node.value)
            for name in (n for each in node.targets for n in bound_names(each)):
                self.bind(name, node.lineno)
                self.names.definitions[name] = CallEffects()
            return
        self.visit(node.value)
        pairs = self.roots_of(pair for each in node.targets for pair in aliases(each, node.value))
        holds = [(n, held_roots(node.value)) for each in node.targets for n in bound_names(each)]
        # After `p = p or []`, other names of `p` may still be aliases.
        itself = any(name in roots for name, roots in pairs)
        self.branch_depth += itself
        for each in node.targets:
            self.visit(each)
        self.branch_depth -= itself
        self.add_aliases(pairs)
        for name, roots in holds:
            self.hold(name, roots)
        # A method of a notebook class may return a part of the object that it changes.
        func = node.value.func if isinstance(node.value, ast.Call) else None
        if isinstance(func, ast.Attribute) and func.attr in self.methods - DRAWING and (owner := root_name(func)):
            self.hold(owner, {n for each in node.targets for n in bound_names(each)})
        for each in node.targets:
            if isinstance(each, (ast.Attribute, ast.Subscript)) and (root := root_name(each)):
                self.hold(root, same_roots(node.value) | held_roots(node.value))
        # `a = b = []`: every name is the same object.
        names = [n for each in node.targets for n in bound_names(each)] if len(node.targets) > 1 else []
        self.add_aliases((name, set(names) - {name}) for name in names)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.read_annotation(node.annotation)
        if node.value is not None:
            self.visit(node.value)
            self.visit(node.target)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.visit(node.value)
        if isinstance(node.target, ast.Name):
            self.read(node.target.id, node.lineno)
            if is_display(node.value):
                # `x += [...]` changes a list in place under all its names; numbers do not change in place.
                self.record_change(node.target.id, node.lineno)
        if root := root_name(node.target):
            self.hold(root, held_roots(node.value))
        # It may be the same object as before, so its aliases remain.
        self.branch_depth += 1
        self.visit(node.target)
        self.branch_depth -= 1

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self.bind(alias.asname or alias.name.partition(".")[0], node.lineno)
            self.names.imports.add(alias.asname or alias.name.partition(".")[0])

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            if alias.name == "*":
                self.names.star = True
                continue
            self.bind(alias.asname or alias.name, node.lineno)
            self.names.imports.add(alias.asname or alias.name)

    def _definition(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> None:
        for part in definition_parts(node):
            self.visit(part)
        for decorator in node.decorator_list:
            # `@handlers.register`: the decorator's object may keep the function.
            called = decorator.func if isinstance(decorator, ast.Call) else decorator
            if isinstance(called, ast.Attribute) and (root := root_name(called)):
                self.record_change(root, node.lineno)
        own = {node.name, *stored_in(node.body)} if isinstance(node, ast.ClassDef) else set()
        for annotation in annotations_of(node):
            self.read_annotation(annotation, own)
        effects = call_effects(node)
        if isinstance(node, ast.ClassDef):
            self._class_body(node)
        if node.name != NOWHERE:
            self.bind(node.name, node.lineno)
        self.names.definitions[node.name] = effects
        self.methods |= effects.methods

    def _class_body(self, node: ast.ClassDef) -> None:
        """Visit a class body, which runs at once in a scope of its own; its methods run later."""
        own: set[str] = set()
        for statement in node.body:
            if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
                part: list[ast.stmt] = [ast.Expr(p) for p in definition_parts(statement)]
            else:
                part = [statement]
            for name, line in call_effects(ast.ClassDef(node.name, [], [], part, [])).reads.items():
                if name not in own:
                    self.read(name, line)
            own.update(stored(statement))

    visit_FunctionDef = visit_AsyncFunctionDef = visit_ClassDef = _definition

    def visit_If(self, node: ast.If) -> None:
        self.visit(node.test)
        self.exclusive_branches(node.body, node.orelse)

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        self.visit(node.iter)
        pairs = self.roots_of((name, iterated_roots(node.iter)) for name in bound_names(node.target))
        if runs_once(node):
            self.visit(node.target)
            self.add_aliases(pairs)
            self.statements(node.body)
        else:
            with self.branch():
                self.visit(node.target)
                self.add_aliases(pairs)
                self.statements(node.body)
        with self.branch():
            self.statements(node.orelse)

    visit_AsyncFor = visit_For

    def visit_While(self, node: ast.While) -> None:
        self.visit(node.test)
        always = isinstance(node.test, ast.Constant) and bool(node.test.value)
        if always:
            self.statements(node.body)
            return
        with self.branch():
            self.statements(node.body)
        with self.branch():
            self.statements(node.orelse)

    def visit_Try(self, node: ast.Try | ast.TryStar) -> None:
        before = set(self.bound)
        self.statements([*node.body, *node.orelse])
        results = [] if leaves([*node.body, *node.orelse]) else [self.bound]
        for handler in node.handlers:
            self.bound = set(before)
            if handler.type is not None:
                self.conditional += 1
                self.visit(handler.type)
                self.conditional -= 1
            was_bound = handler.name in self.maybe
            if handler.name:
                self.bind(handler.name, handler.lineno)
            self.statements(handler.body)
            if handler.name:
                # Only if the handler ran: on the other path the name keeps its value.
                self.branch_depth += 1
                self.unbind(handler.name)
                self.branch_depth -= 1
                self.maybe -= set() if was_bound else {handler.name}
            if not leaves(handler.body):
                results.append(self.bound)
        self.bound = set.intersection(*results) if results else before
        self.statements(node.finalbody)

    visit_TryStar = visit_Try

    def visit_Match(self, node: ast.Match) -> None:
        self.visit(node.subject)
        exhaustive = any(
            isinstance(c.pattern, ast.MatchAs) and c.pattern.pattern is None and not c.guard for c in node.cases
        )
        bodies: list[list[ast.stmt]] = []
        for case in node.cases:
            with self.branch():
                self.visit(case.pattern)
                if case.guard:
                    self.visit(case.guard)
            bodies.append(case.body)
        self.exclusive_branches(*bodies, *([] if exhaustive else [[]]))

    def visit_MatchAs(self, node: ast.MatchAs) -> None:
        self.generic_visit(node)
        if node.name:
            self.bind(node.name, node.lineno)

    def visit_MatchStar(self, node: ast.MatchStar) -> None:
        if node.name:
            self.bind(node.name, node.lineno)

    def visit_MatchMapping(self, node: ast.MatchMapping) -> None:
        self.generic_visit(node)
        if node.rest:
            self.bind(node.rest, node.lineno)
