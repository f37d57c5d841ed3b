"""Effects of expressions on the notebook's names; call them through `effects.statements.trace`."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable, Mapping

from kaleyard.analysis.effects.mutation import (
    DRAWING,
    GENERATORS,
    arguments,
    bound_names,
    called_name,
    changed_part,
    changed_roots,
    inserted_roots,
    is_shallow,
    iterated_roots,
    root_name,
)
from kaleyard.analysis.effects.name_effects import NameEffects, Scope
from kaleyard.analysis.effects.scopes import CallEffects, Comprehension, call_effects
from kaleyard.analysis.effects.syntax import default_values, names_in

__all__ = ["Expressions"]

_BUILTINS = frozenset(dir(builtins))


class Expressions(ast.NodeVisitor):
    """Visits expressions in execution order; `bound` holds names bound on every path, `maybe` on some."""

    def __init__(self, scope: Scope) -> None:
        self.names = NameEffects()
        self.scope = scope
        self.cell = 0
        self.bound: set[str] = set()
        self.maybe: set[str] = set()
        self.deleted: set[str] = set()
        # Variables of the enclosing comprehensions, each with the names whose items it may be.
        self.comprehensions: list[dict[str, set[str]]] = []
        self.alias, self.held = dict(scope.alias), dict(scope.held)
        self.branch_depth = self.conditional = self.lambda_depth = 0
        # Functions whose use has been counted, each with whether it is used on every path.
        self.counted: set[tuple[str, bool]] = set()
        self.certain_reads: set[str] = set()
        self.being_changed: set[str] = set()
        # Methods that change their instance: of the notebook's classes, and of random generators.
        self.methods = {m for effects in scope.definitions.values() for m in effects.methods} | scope.methods

    def read(self, name: str, line: int) -> None:
        if not self._is_comprehension_variable(name):
            self._read(name, line)

    def _is_comprehension_variable(self, name: str) -> bool:
        return any(name in comprehension for comprehension in self.comprehensions)

    def _read(self, name: str, line: int) -> None:
        self._count(name, line)
        if name in self.names.reads and not self.lambda_depth:
            self.names.direct.update(() if self.branch_depth or self.conditional else (name,))
        if self._callee(name) is not None:
            self.count_use(name, line)

    def _count(self, name: str, line: int, *, loose: bool = False) -> None:
        if not (self.branch_depth or self.conditional or loose):
            self.certain_reads.add(name)
        if name not in self.bound:
            reads = self.names.maybe_reads if name in self.maybe else self.names.reads
            reads.setdefault(name, (self.cell, line))

    def count_use(self, name: str, line: int) -> None:
        """Count what a function or class reads, sets and changes when used, directly or through others.

        Names read by earlier functions are resolved by the step that includes them.
        """
        used = self._used_by(name)
        own = self.names.definitions
        key = (name, not (self.branch_depth or self.conditional))
        if key in self.counted and not own.keys() & used.keys():
            return
        self.counted.add(key)
        changes = self._changed_by(used)
        for function, effects in used.items():
            for dependency in effects.reads:
                if function in own or dependency in own:
                    self._count(dependency, line, loose=dependency in effects.loose)
                else:
                    self.names.through.add(dependency)
            for dependency in effects.sets:
                self.maybe.add(dependency)
                self.names.sites.setdefault(dependency, (self.cell, line))
            for dependency in changes[function] - set(effects.parameters):
                self.record_change(dependency, line, local=False)

    def _callee(self, name: str) -> CallEffects | None:
        if name in self.names.definitions:
            return self.names.definitions[name] if name in self.maybe else None
        return None if name in self.bound else self.scope.definitions.get(name)

    def _used_by(self, name: str) -> dict[str, CallEffects]:
        """The function or class `name` and all that it uses, directly or through others."""
        used: dict[str, CallEffects] = {}
        todo = [name]
        while todo:
            current = todo.pop()
            effects = None if current in used else self._callee(current)
            if effects is not None:
                used[current] = effects
                todo.extend(effects.reads)
        return used

    def _changed_by(self, used: Mapping[str, CallEffects]) -> dict[str, set[str]]:
        """For each function, the names (parameters too) whose values it changes, directly or by calls."""
        changed = {function: set(effects.changes | effects.changed) for function, effects in used.items()}
        for function, effects in used.items():
            changed[function] |= {
                root for root, method in effects.asks if method != "__call__" and method in self.methods
            }
        growing = True
        while growing:
            growing = False
            for function, effects in used.items():
                for callee, argument, root in effects.passes:
                    if callee in used and root not in changed[function]:
                        parameter = used[callee].parameter(argument)
                        if parameter in changed[callee] and parameter in used[callee].parameters:
                            changed[function].add(root)
                            growing = True
        return changed

    def read_annotation(self, annotation: ast.expr, own: Iterable[str] = ()) -> None:
        """Count the names of an annotation; they are optional where annotations are not evaluated."""
        if not self.scope.lazy_notes and not own:
            self.visit(annotation)
            return
        for name in sorted(names_in(annotation) - set(own)):
            if name not in self.bound and name not in self.names.reads:
                self.names.maybe_reads.setdefault(name, (self.cell, annotation.lineno))

    def read_pending(self) -> None:
        """Count the names of definitions that this code does not use: a later use needs them."""
        for name, effects in self.names.definitions.items():
            for dependency in (*effects.reads, *effects.notes):
                if dependency not in self.maybe and dependency not in self.names.reads:
                    self.names.maybe_reads.setdefault(dependency, self.names.sites.get(name, (self.cell, 1)))

    def bind(self, name: str, line: int) -> None:
        if self._is_comprehension_variable(name):
            return
        self.bound.add(name)
        self.maybe.add(name)
        self.deleted.discard(name)
        self.names.sites[name] = (self.cell, line)
        self.names.definitions.pop(name, None)
        self.names.imports.discard(name)
        if not self.branch_depth:
            self._forget(name)

    def _forget(self, name: str) -> None:
        for table in (self.alias, self.held):
            table.pop(name, None)
            if name not in self.scope.roots:
                continue
            for alias in [n for n, roots in table.items() if name in roots]:
                rest = table.pop(alias) - {name}
                table.update({alias: rest} if rest else {})

    def unbind(self, name: str) -> None:
        self._forget(name)
        self.bound.discard(name)
        if self.branch_depth:
            return  # it keeps its value on another path
        self.deleted.add(name)
        self.maybe.discard(name)
        self.names.definitions.pop(name, None)
        self.names.imports.discard(name)

    def record_change(self, name: str, line: int, *, local: bool = True, deep: bool = True) -> None:
        """Record an in-place change of `name`, of its aliases and, if `deep`, of the values it holds."""
        if name in self.being_changed:
            return
        self.being_changed.add(name)
        comprehension = next((s for s in reversed(self.comprehensions) if name in s), None) if local else None
        roots = self.alias.get(name, frozenset()) if comprehension is None else comprehension[name]
        if comprehension is None and not self._is_import(name):
            self.names.changes.setdefault(name, (self.cell, line))
        for root in roots:
            self.record_change(root, line, deep=deep)
        for root in self.held.get(name, ()) if deep and comprehension is None else ():
            self.record_change(root, line)
        if comprehension is None and name in self.scope.roots:
            # Other names of the same value, and what holds it.
            for table in (self.alias, self.held):
                for alias in [n for n, targets in table.items() if name in targets]:
                    self.record_change(alias, line, deep=deep)
        self.being_changed.discard(name)

    def hold(self, name: str, roots: set[str]) -> None:
        """Record that the value of `name` holds the values of `roots`."""
        held = roots - {name} - self.scope.scalars
        if held and not self._is_import(name) and not self._is_comprehension_variable(name):
            self.held[name] = self.held.get(name, frozenset()) | held
            self.scope.roots.update(held)

    def _is_import(self, name: str) -> bool:
        return name in self.names.imports or (name in self.scope.imports and name not in self.maybe)

    def visit(self, node: ast.AST) -> None:
        super().visit(node)
        for name in changed_roots(node):
            self.record_change(name, getattr(node, "lineno", 1), deep=not is_shallow(node))
            if self._is_import(name) and (part := changed_part(node)):
                self.names.modules.setdefault(part, (self.cell, getattr(node, "lineno", 1)))

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self.read(node.id, node.lineno)
        elif isinstance(node.ctx, ast.Store):
            self.bind(node.id, node.lineno)
        else:
            self.read(node.id, node.lineno)
            self.unbind(node.id)

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        func = node.func
        # `exec` and changes of `globals()` may bind any name.
        self.names.star |= isinstance(func, ast.Name) and func.id in ("exec", "globals")
        if called_name(func) in GENERATORS:
            self.methods |= DRAWING
            self.names.methods = DRAWING
        if isinstance(func, ast.Attribute) and func.attr in self.methods and (root := root_name(func)):
            self.record_change(root, node.lineno)
        if isinstance(func, ast.Attribute) and (root := root_name(func)):
            self.hold(root, inserted_roots(node))
        if not isinstance(func, ast.Name):
            return
        effects = self._callee(func.id)
        if effects is None:
            if "__call__" in self.methods and func.id not in _BUILTINS:
                self.record_change(func.id, node.lineno)
            return
        changed = self._changed_by(self._used_by(func.id))[func.id] & set(effects.parameters)
        for argument, value in arguments(node):
            name = root_name(value)
            if name and effects.parameter(argument) in changed:
                self.record_change(name, node.lineno)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self.visit(node.test)
        self.conditional += 1
        self.visit(node.body)
        self.visit(node.orelse)
        self.conditional -= 1

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.visit(node.value)
        # A walrus in a comprehension binds in the enclosing scope.
        comprehensions, self.comprehensions = self.comprehensions, []
        self.bind(node.target.id, node.lineno)
        self.comprehensions = comprehensions

    def visit_Lambda(self, node: ast.Lambda) -> None:
        for default in default_values(node):
            self.visit(default)
        # A lambda in an expression is usually called at once (`map`, `apply`, `key=`).
        effects = call_effects(node)
        self.lambda_depth += 1
        for name in effects.reads:
            self.conditional += name in effects.loose
            self.read(name, node.lineno)
            self.conditional -= name in effects.loose
        self.lambda_depth -= 1
        for name in effects.changes:
            self.record_change(name, node.lineno)

    def _comprehension(self, node: Comprehension) -> None:
        self.visit(node.generators[0].iter)
        scope: dict[str, set[str]] = {}
        self.comprehensions.append(scope)
        for index, generator in enumerate(node.generators):
            if index:
                self.visit(generator.iter)
            scope.update(dict.fromkeys(bound_names(generator.target), iterated_roots(generator.iter)))
            for test in generator.ifs:
                self.visit(test)
        for part in (node.key, node.value) if isinstance(node, ast.DictComp) else (node.elt,):
            self.visit(part)
        self.comprehensions.pop()

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _comprehension
