"""What expressions do with the notebook's names.

`kaleyard.analysis.effects.statements.trace` is the way in.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable, Mapping

from kaleyard.analysis.effects.mutation import (
    DRAWING,
    GENERATORS,
    arguments,
    bound_names,
    changed_part,
    changed_roots,
    is_shallow,
    iterated_roots,
    put_in,
    root_name,
)
from kaleyard.analysis.effects.name_effects import NameEffects, Scope
from kaleyard.analysis.effects.scopes import CallEffects, Comprehension, call_effects
from kaleyard.analysis.effects.syntax import default_values, names_in

__all__ = ["Expressions"]

_BUILTINS = frozenset(dir(builtins))


class Expressions(ast.NodeVisitor):
    """Walks expressions in the order they run; `bound` (on every path) and `maybe` (on some) are the state."""

    def __init__(self, known: Scope) -> None:
        self.names = NameEffects()
        self.known = known
        self.cell = 0
        self.bound: set[str] = set()
        self.maybe: set[str] = set()
        self.gone: set[str] = set()
        # Names of comprehensions around, each with the variables whose items it may be.
        self.local: list[dict[str, set[str]]] = []
        self.alias, self.held = dict(known.alias), dict(known.held)
        self.depth = self.perhaps = self.lazy = 0  # branches; expressions that may not run; lambdas
        # Functions made before whose use has been counted, and whether that use surely comes; what is surely read.
        self.used: set[tuple[str, bool]] = set()
        self.firm: set[str] = set()
        self.changing: set[str] = set()
        # Methods of the notebook's own classes that change their instance, and of what else it has made.
        self.methods = {m for what in known.definitions.values() for m in what.methods} | known.methods

    def read(self, name: str, line: int) -> None:
        if not any(name in scope for scope in self.local):
            self._read(name, line)

    def _read(self, name: str, line: int) -> None:
        self._count(name, line)
        if name in self.names.reads and not self.lazy:
            self.names.direct.update(() if self.depth or self.perhaps else (name,))
        if self._function(name) is not None:
            self.use(name, line)

    def _count(self, name: str, line: int, *, loose: bool = False) -> None:
        if not (self.depth or self.perhaps or loose):
            self.firm.add(name)
        if name not in self.bound:
            wanted = self.names.maybe_reads if name in self.maybe else self.names.reads
            wanted.setdefault(name, (self.cell, line))

    def use(self, name: str, line: int) -> None:
        """Count what a function or class reads, sets and changes once it is used, and all that it uses in turn.

        What one made before this code reads is asked for by whoever carries it.
        """
        reached = self._reached(name)
        ours = self.names.definitions
        times = (name, not (self.depth or self.perhaps))
        if times in self.used and not ours.keys() & reached.keys():
            return
        self.used.add(times)
        changed = self._changed(reached)
        for one, what in reached.items():
            for other in what.reads:
                if one in ours or other in ours:
                    self._count(other, line, loose=other in what.loose)
                else:
                    self.names.through.add(other)
            for other in what.sets:
                self.maybe.add(other)
                self.names.sites.setdefault(other, (self.cell, line))
            for other in changed[one] - set(what.parameters):
                self.change(other, line, local=False)

    def _function(self, name: str) -> CallEffects | None:
        if name in self.names.definitions:
            return self.names.definitions[name] if name in self.maybe else None
        return None if name in self.bound else self.known.definitions.get(name)

    def _reached(self, name: str) -> dict[str, CallEffects]:
        """The function or class of that name and those it uses in turn."""
        found: dict[str, CallEffects] = {}
        todo = [name]
        while todo:
            one = todo.pop()
            what = None if one in found else self._function(one)
            if what is not None:
                found[one] = what
                todo.extend(what.reads)
        return found

    def _changed(self, reached: Mapping[str, CallEffects]) -> dict[str, set[str]]:
        """By function, the names, its parameters among them, whose values it changes, itself or by what it calls."""
        found = {one: set(what.changes | what.changed) for one, what in reached.items()}
        for one, what in reached.items():
            found[one] |= {root for root, method in what.asks if method != "__call__" and method in self.methods}
        again = True
        while again:
            again = False
            for one, what in reached.items():
                for callee, where, root in what.passes:
                    if callee in reached and root not in found[one]:
                        parameter = reached[callee].parameter(where)
                        if parameter in found[callee] and parameter in reached[callee].parameters:
                            found[one].add(root)
                            again = True
        return found

    def note(self, annotation: ast.expr, own: Iterable[str] = ()) -> None:
        """Count the names of an annotation; they are not missed where annotations are not evaluated."""
        if not self.known.lazy_notes and not own:
            self.visit(annotation)
            return
        for name in sorted(names_in(annotation) - set(own)):
            if name not in self.bound and name not in self.names.reads:
                self.names.maybe_reads.setdefault(name, (self.cell, annotation.lineno))

    def read_pending(self) -> None:
        """Definitions nobody used here: whoever uses them later needs their names, and so may this code."""
        for name, what in self.names.definitions.items():
            for other in (*what.reads, *what.notes):
                if other not in self.maybe and other not in self.names.reads:
                    self.names.maybe_reads.setdefault(other, self.names.sites.get(name, (self.cell, 1)))

    def bind(self, name: str, line: int) -> None:
        if any(name in scope for scope in self.local):
            return
        self.bound.add(name)
        self.maybe.add(name)
        self.gone.discard(name)
        self.names.sites[name] = (self.cell, line)
        self.names.definitions.pop(name, None)
        self.names.imports.discard(name)
        if not self.depth:
            self._forget(name)

    def _forget(self, name: str) -> None:
        for table in (self.alias, self.held):
            table.pop(name, None)
            if name not in self.known.roots:
                continue
            for other in [n for n, roots in table.items() if name in roots]:
                left = table.pop(other) - {name}
                table.update({other: left} if left else {})

    def unbind(self, name: str) -> None:
        self._forget(name)
        self.bound.discard(name)
        if self.depth:
            return  # on another path it keeps its value
        self.gone.add(name)
        self.maybe.discard(name)
        self.names.definitions.pop(name, None)
        self.names.imports.discard(name)

    def change(self, name: str, line: int, *, local: bool = True, deep: bool = True) -> None:
        """The value of `name` is changed in place, and so is what else it may be, and if `deep` what it holds."""
        if name in self.changing:
            return
        self.changing.add(name)
        scope = next((s for s in reversed(self.local) if name in s), None) if local else None
        roots = self.alias.get(name, frozenset()) if scope is None else scope[name]
        if scope is None and not self._is_import(name):
            self.names.changes.setdefault(name, (self.cell, line))
        for root in roots:
            self.change(root, line, deep=deep)
        for root in self.held.get(name, ()) if deep and scope is None else ():
            self.change(root, line)
        if scope is None and name in self.known.roots:
            # What is this very value under another name, and what holds it.
            for table in (self.alias, self.held):
                for other in [n for n, others in table.items() if name in others]:
                    self.change(other, line, deep=deep)
        self.changing.discard(name)

    def hold(self, name: str, roots: set[str]) -> None:
        """The value of `name` holds those of `roots` from now on."""
        others = roots - {name} - self.known.scalars
        if others and not self._is_import(name) and not any(name in scope for scope in self.local):
            self.held[name] = self.held.get(name, frozenset()) | others
            self.known.roots.update(others)

    def _is_import(self, name: str) -> bool:
        return name in self.names.imports or (name in self.known.imports and name not in self.maybe)

    def visit(self, node: ast.AST) -> None:
        super().visit(node)
        for name in changed_roots(node):
            self.change(name, getattr(node, "lineno", 1), deep=not is_shallow(node))
            if self._is_import(name) and (what := changed_part(node)):
                self.names.modules.setdefault(what, (self.cell, getattr(node, "lineno", 1)))

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
        # `exec` and what is done to `globals()` may give any name.
        self.names.star |= isinstance(func, ast.Name) and func.id in ("exec", "globals")
        if (func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "")) in GENERATORS:
            self.methods |= DRAWING
            self.names.methods = DRAWING
        if isinstance(func, ast.Attribute) and func.attr in self.methods and (root := root_name(func)):
            self.change(root, node.lineno)
        if isinstance(func, ast.Attribute) and (root := root_name(func)):
            self.hold(root, put_in(node))
        if not isinstance(func, ast.Name):
            return
        what = self._function(func.id)
        if what is None:
            if "__call__" in self.methods and func.id not in _BUILTINS:
                self.change(func.id, node.lineno)
            return
        changed = self._changed(self._reached(func.id))[func.id] & set(what.parameters)
        for where, value in arguments(node):
            name = root_name(value)
            if name and what.parameter(where) in changed:
                self.change(name, node.lineno)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self.visit(node.test)
        self.perhaps += 1
        self.visit(node.body)
        self.visit(node.orelse)
        self.perhaps -= 1

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.visit(node.value)
        # A walrus in a comprehension binds outside of it.
        kept, self.local = self.local, []
        self.bind(node.target.id, node.lineno)
        self.local = kept

    def visit_Lambda(self, node: ast.Lambda) -> None:
        for default in default_values(node):
            self.visit(default)
        # A lambda inside an expression is mostly called at once (`map`, `apply`, `key=`).
        what = call_effects(node)
        self.lazy += 1
        for name in what.reads:
            self.perhaps += name in what.loose
            self.read(name, node.lineno)
            self.perhaps -= name in what.loose
        self.lazy -= 1
        for name in what.changes:
            self.change(name, node.lineno)

    def _comprehension(self, node: Comprehension) -> None:
        self.visit(node.generators[0].iter)
        scope: dict[str, set[str]] = {}
        self.local.append(scope)
        for index, generator in enumerate(node.generators):
            if index:
                self.visit(generator.iter)
            scope.update(dict.fromkeys(bound_names(generator.target), iterated_roots(generator.iter)))
            for test in generator.ifs:
                self.visit(test)
        for part in (node.key, node.value) if isinstance(node, ast.DictComp) else (node.elt,):
            self.visit(part)
        self.local.pop()

    def visit_ListComp(self, node: ast.ListComp) -> None:
        self._comprehension(node)

    def visit_SetComp(self, node: ast.SetComp) -> None:
        self._comprehension(node)

    def visit_DictComp(self, node: ast.DictComp) -> None:
        self._comprehension(node)

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> None:
        self._comprehension(node)
