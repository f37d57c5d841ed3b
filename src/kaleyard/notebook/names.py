"""What code does with the notebook's names, and the expressions' part of finding it out.

`kaleyard.notebook.paths.trace` is the way in.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field

from kaleyard.notebook.scopes import (
    Comprehension,
    Deferred,
    bound_names,
    changed_roots,
    default_values,
    deferred,
    root_name,
)

__all__ = ["Expressions", "Names"]

Site = tuple[int, int]  # cell number, line in the cell


@dataclass(slots=True)
class Names:
    """What code does with names; sites are (cell, line).

    `reads` must come from outside; `maybe_reads` may have to. `makes` are bound at the end on every path,
    `may_make` on some. `changes` are changed in place. `definitions` are the functions and classes at the top
    level, `imports` the names that imports bind. `star` tells of a star import.
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

    @property
    def gives(self) -> set[str]:
        """Every name that may have a new value or content afterwards."""
        return self.makes | self.may_make | set(self.changes)


class Expressions(ast.NodeVisitor):
    """Walks expressions in the order they run; `bound` (on every path) and `maybe` (on some) are the state."""

    def __init__(self, known: dict[str, Deferred]) -> None:
        self.names = Names()
        self.known = known
        self.cell = 0
        self.bound: set[str] = set()
        self.maybe: set[str] = set()
        self.local: list[set[str]] = []
        self.calling: set[str] = set()

    # -- state ---------------------------------------------------------------------------------------------

    def read(self, name: str, line: int) -> None:
        if any(name in scope for scope in self.local):
            return
        if name not in self.bound:
            wanted = self.names.maybe_reads if name in self.maybe else self.names.reads
            wanted.setdefault(name, (self.cell, line))
        if name in self.names.definitions and name in self.maybe:
            self.call(name, self.names.definitions[name], line)

    def call(self, name: str, what: Deferred, line: int) -> None:
        """Count what a definition of this code reads, sets and changes once it is used."""
        if name in self.calling:
            return
        self.calling.add(name)
        for other in what.reads:
            self.read(other, line)
        for other in what.sets:
            self.maybe.add(other)
            self.names.sites.setdefault(other, (self.cell, line))
        for other in what.changes:
            self.change(other, line)
        self.calling.discard(name)

    def read_pending(self) -> None:
        """Definitions nobody used here: whoever uses them later needs their names, and so may this code."""
        for name, what in self.names.definitions.items():
            for other in what.reads:
                if other not in self.maybe and other not in self.names.reads:
                    self.names.maybe_reads.setdefault(other, self.names.sites.get(name, (self.cell, 1)))

    def bind(self, name: str, line: int) -> None:
        if any(name in scope for scope in self.local):
            return
        self.bound.add(name)
        self.maybe.add(name)
        self.names.sites[name] = (self.cell, line)
        self.names.definitions.pop(name, None)
        self.names.imports.discard(name)

    def unbind(self, name: str) -> None:
        self.bound.discard(name)
        self.maybe.discard(name)
        self.names.definitions.pop(name, None)
        self.names.imports.discard(name)

    def change(self, name: str, line: int) -> None:
        if not any(name in scope for scope in self.local):
            self.names.changes.setdefault(name, (self.cell, line))

    # -- expressions ---------------------------------------------------------------------------------------

    def visit(self, node: ast.AST) -> None:
        super().visit(node)
        for name in changed_roots(node):
            self.change(name, getattr(node, "lineno", 1))

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
        what = None
        if isinstance(func, ast.Name):
            what = self.names.definitions.get(func.id) or self.known.get(func.id)
        if what is None or not what.changed_parameters:
            return
        given = dict(zip(what.parameters, node.args, strict=False))
        given |= {k.arg: k.value for k in node.keywords if k.arg}
        for parameter in what.changed_parameters:
            name = root_name(given[parameter]) if parameter in given else None
            if name:
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
        scope: set[str] = set()
        self.local.append(scope)
        for index, generator in enumerate(node.generators):
            if index:
                self.visit(generator.iter)
            scope.update(bound_names(generator.target))
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
