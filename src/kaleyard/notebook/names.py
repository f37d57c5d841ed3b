"""What code does with the notebook's names, and the expressions' part of finding it out.

`kaleyard.notebook.paths.trace` is the way in.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable
from dataclasses import dataclass, field

from kaleyard.notebook.changes import bound_names, changed_roots, iterated_roots, root_name
from kaleyard.notebook.scopes import Comprehension, Deferred, default_values, deferred, names_in

__all__ = ["Expressions", "Known", "Names", "Site"]

Site = tuple[int, int]  # cell number, line in the cell
_BUILTINS = frozenset(dir(builtins))


@dataclass(slots=True)
class Known:
    """What was made before: functions and classes, by name, and the names that imports bind.

    `lazy_notes`: annotations are not evaluated (`from __future__ import annotations`).
    """

    definitions: dict[str, Deferred] = field(default_factory=dict)
    imports: set[str] = field(default_factory=set)
    lazy_notes: bool = False
    alias: dict[str, set[str]] = field(default_factory=dict)

    def then(self, names: Names, *, apart: bool = False) -> Known:
        """What is known once code that does `names` has run; what runs `apart` shares no objects with what follows."""
        gone = names.makes | names.may_make
        kept = {n: what for n, what in self.definitions.items() if n not in gone}
        alias = {n: roots - gone for n, roots in self.alias.items() if n not in gone} if apart else names.alias
        return Known(kept | names.definitions, (self.imports - gone) | names.imports, self.lazy_notes, alias)


@dataclass(slots=True)
class Names:
    """What code does with names; sites are (cell, line).

    `reads` must come from outside; `maybe_reads` may have to. `makes` are bound at the end on every path,
    `may_make` on some. `changes` are changed in place. `definitions` are the functions and classes at the top
    level, `imports` the names that imports bind. `star` tells of a star import. `through` are names that functions
    made before read when this code calls them; `modules` what is changed inside of imported modules; `alias` the
    names at the end that may be the same object as other names, or a part of it.
    """

    reads: dict[str, Site] = field(default_factory=dict)
    maybe_reads: dict[str, Site] = field(default_factory=dict)
    makes: set[str] = field(default_factory=set)
    may_make: set[str] = field(default_factory=set)
    changes: dict[str, Site] = field(default_factory=dict)
    definitions: dict[str, Deferred] = field(default_factory=dict)
    imports: set[str] = field(default_factory=set)
    sites: dict[str, Site] = field(default_factory=dict)
    star: bool = False
    through: set[str] = field(default_factory=set)
    modules: dict[str, Site] = field(default_factory=dict)
    alias: dict[str, set[str]] = field(default_factory=dict)

    @property
    def gives(self) -> set[str]:
        """Every name that may have a new value or content afterwards."""
        return self.makes | self.may_make | set(self.changes)


class Expressions(ast.NodeVisitor):
    """Walks expressions in the order they run; `bound` (on every path) and `maybe` (on some) are the state."""

    def __init__(self, known: Known) -> None:
        self.names = Names()
        self.known = known
        self.cell = 0
        self.bound: set[str] = set()
        self.maybe: set[str] = set()
        self.gone: set[str] = set()
        # Names of comprehensions around, each with the variables whose items it may be.
        self.local: list[dict[str, set[str]]] = []
        self.alias = {name: set(roots) for name, roots in known.alias.items()}
        self.depth = 0
        self.calling: set[str] = set()
        self.changing: set[str] = set()
        # Methods of the notebook's own classes that change their instance.
        self.methods = {m for what in known.definitions.values() for m in what.methods}

    # -- state ---------------------------------------------------------------------------------------------

    def read(self, name: str, line: int) -> None:
        if any(name in scope for scope in self.local):
            return
        if name not in self.bound:
            wanted = self.names.maybe_reads if name in self.maybe else self.names.reads
            wanted.setdefault(name, (self.cell, line))
        if name in self.names.definitions and name in self.maybe:
            self.call(name, self.names.definitions[name], line)
        elif name in self.known.definitions and name not in self.bound:
            self.call(name, self.known.definitions[name], line, ours=False)

    def call(self, name: str, what: Deferred, line: int, *, ours: bool = True) -> None:
        """Count what a definition reads, sets and changes once it is used.

        What one that is not `ours` reads is asked for by whoever carries it.
        """
        if name in self.calling:
            return
        self.calling.add(name)
        for other in what.reads:
            if ours or other in self.names.definitions:
                self.read(other, line)
            else:
                self.names.through.add(other)
                if other in self.known.definitions:
                    self.call(other, self.known.definitions[other], line, ours=False)
        for other in what.sets:
            self.maybe.add(other)
            self.names.sites.setdefault(other, (self.cell, line))
        for other in self._changed_by(what, name) - set(what.parameters):
            self.change(other, line)
        self.calling.discard(name)

    def _function(self, name: str) -> Deferred | None:
        if name in self.names.definitions:
            return self.names.definitions[name]
        return None if name in self.bound else self.known.definitions.get(name)

    def _is_changing(self, method: str) -> bool:
        return method in self.methods

    def _changed_by(self, what: Deferred, name: str, seen: frozenset[str] = frozenset()) -> set[str]:
        """The names, its parameters among them, whose values a call changes, itself or through what it calls."""
        if name in seen:
            return set()
        found = set(what.changes | what.changed)
        found |= {root for root, method in what.asks if method != "__call__" and self._is_changing(method)}
        for callee, where, root in what.passes:
            other = self._function(callee)
            if other is not None and root not in found:
                parameter = _parameter(other, where)
                if parameter in self._changed_by(other, callee, seen | {name}) & set(other.parameters):
                    found.add(root)
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
        self.alias.pop(name, None)
        for roots in self.alias.values():
            roots.discard(name)

    def unbind(self, name: str) -> None:
        self._forget(name)
        self.gone.add(name)
        self.bound.discard(name)
        self.maybe.discard(name)
        self.names.definitions.pop(name, None)
        self.names.imports.discard(name)

    def change(self, name: str, line: int) -> None:
        """The value of `name` is changed in place, and so is what else it may be."""
        if name in self.changing:
            return
        self.changing.add(name)
        scope = next((s for s in reversed(self.local) if name in s), None)
        roots = self.alias.get(name, set()) if scope is None else scope[name]
        if scope is None and not self._is_import(name):
            self.names.changes.setdefault(name, (self.cell, line))
        for root in roots:
            self.change(root, line)
        self.changing.discard(name)

    def _is_import(self, name: str) -> bool:
        return name in self.names.imports or (name in self.known.imports and name not in self.maybe)

    # -- expressions ---------------------------------------------------------------------------------------

    def visit(self, node: ast.AST) -> None:
        super().visit(node)
        for name in changed_roots(node):
            self.change(name, getattr(node, "lineno", 1))
            if self._is_import(name) and (what := _inside(node)):
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
        if isinstance(func, ast.Attribute) and self._is_changing(func.attr) and (root := root_name(func)):
            self.change(root, node.lineno)
        if not isinstance(func, ast.Name):
            return
        what = self._function(func.id)
        if what is None:
            if self._is_changing("__call__") and func.id not in _BUILTINS:
                self.change(func.id, node.lineno)
            return
        changed = self._changed_by(what, func.id) & set(what.parameters)
        given = [*enumerate(node.args), *((k.arg, k.value) for k in node.keywords if k.arg)]
        for where, value in given:
            name = root_name(value)
            if name and _parameter(what, where) in changed:
                self.change(name, node.lineno)

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
        self.call("<lambda>", deferred(node), node.lineno)

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


def _parameter(what: Deferred, where: int | str) -> str | None:
    """The parameter that takes the argument given by this position or keyword."""
    if isinstance(where, str):
        return where
    return what.parameters[where] if where < len(what.parameters) else None


def _inside(node: ast.AST) -> str | None:
    """What of a module a node changes: `os.environ` of `os.environ.update(...)`; None for `np.append(...)`."""
    if isinstance(node, ast.Call):
        inner = node.func.value if isinstance(node.func, ast.Attribute) else None
        return ast.unparse(inner) if isinstance(inner, (ast.Attribute, ast.Subscript)) else None
    if isinstance(node, ast.Subscript):
        return ast.unparse(node.value)
    return ast.unparse(node)
