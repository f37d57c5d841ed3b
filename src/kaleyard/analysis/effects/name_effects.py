"""Data: the effects of code on the notebook's names, and the scope it runs in.

`kaleyard.analysis.effects.statements.trace` computes them.
"""

from __future__ import annotations

import builtins
from dataclasses import dataclass, field

from kaleyard.analysis.effects.scopes import CallEffects

__all__ = ["PREDEFINED", "NameEffects", "Scope", "Site"]

Site = tuple[int, int]  # cell number, line in the cell

# Names that IPython and Python define in every notebook.
PREDEFINED = frozenset(dir(builtins)) | {
    *("display", "get_ipython", "In", "Out", "exit", "quit", "_", "__", "___", "_i", "_ii", "_iii", "_ih", "_oh"),
    *("_dh", "__name__", "__builtins__", "__doc__", "__annotations__"),
    # Magics that IPython accepts without `%`.
    *("pwd", "ls", "ll", "cd", "who", "whos", "history", "clear"),
}


@dataclass(slots=True)
class Scope:
    """What earlier code defined: functions and classes by name, and the names that imports bind.

    `alias`: names that may be the same object as other names, or a part of it; `roots`: all those other names.
    `held`: names whose value holds the values of other names (`{"k": a}`, `Box(a)`).
    `methods`: methods that change their object, besides those of the notebook's own classes.
    `scalars`: parameters that are numbers or strings, which cannot change in place.
    `lazy_notes`: annotations are not evaluated (`from __future__ import annotations`).
    """

    definitions: dict[str, CallEffects] = field(default_factory=dict)
    imports: set[str] = field(default_factory=set)
    lazy_notes: bool = False
    alias: dict[str, frozenset[str]] = field(default_factory=dict)
    roots: set[str] = field(default_factory=set)
    methods: frozenset[str] = frozenset()
    held: dict[str, frozenset[str]] = field(default_factory=dict)
    scalars: frozenset[str] = frozenset()

    def then(self, names: NameEffects, *, untracked: bool = False) -> Scope:
        """The scope after code with the effects `names`; `untracked` if the code was traced without this scope."""
        rebound = names.makes | names.may_make
        alias, held = names.alias, names.held
        if untracked:
            alias = _without(self.alias, rebound) | {n: roots for n, roots in alias.items() if n in rebound}
            held = _without(self.held, rebound) | {n: roots for n, roots in held.items() if n in rebound}
        remaining = {n: effects for n, effects in self.definitions.items() if n not in rebound}
        imports = (self.imports - rebound) | names.imports
        methods = self.methods | names.methods
        definitions = remaining | names.definitions
        return Scope(definitions, imports, self.lazy_notes, alias, self.roots, methods, held, self.scalars - rebound)

    def same(self, name: str) -> set[str]:
        """`name` and all names whose value changes when the value of `name` is changed in place."""
        names, todo = set[str](), [name]
        while todo:
            current = todo.pop()
            if current not in names:
                names.add(current)
                for table in (self.alias, self.held):
                    todo += [*table.get(current, ()), *(n for n, roots in table.items() if current in roots)]
        return names


@dataclass(slots=True)
class NameEffects:
    """The effects of code on names; sites are (cell, line).

    - `reads` must come from outside; `maybe_reads` may have to.
    - `makes` are bound at the end on every path, `may_make` on some; `deletes` have no value at the end.
    - `changes` are changed in place; `modules` are the parts of imported modules that are changed.
    - `definitions` are top-level functions and classes, `imports` the names that imports bind; `star`: a star import.
    - `through` are names that earlier functions read when this code calls them.
    - `alias` and `held`, at the end, and `methods`: as in `Scope`.
    - `direct` are the names of `reads` that the code itself reads on every path, not in a branch, function or lambda;
      `loose` are those that only a branch reads, in the code or in a function it uses.
    """

    reads: dict[str, Site] = field(default_factory=dict)
    maybe_reads: dict[str, Site] = field(default_factory=dict)
    makes: set[str] = field(default_factory=set)
    may_make: set[str] = field(default_factory=set)
    changes: dict[str, Site] = field(default_factory=dict)
    definitions: dict[str, CallEffects] = field(default_factory=dict)
    imports: set[str] = field(default_factory=set)
    sites: dict[str, Site] = field(default_factory=dict)
    star: bool = False
    through: set[str] = field(default_factory=set)
    modules: dict[str, Site] = field(default_factory=dict)
    alias: dict[str, frozenset[str]] = field(default_factory=dict)
    methods: frozenset[str] = frozenset()
    held: dict[str, frozenset[str]] = field(default_factory=dict)
    direct: set[str] = field(default_factory=set)
    loose: set[str] = field(default_factory=set)
    deletes: set[str] = field(default_factory=set)

    @property
    def gives(self) -> set[str]:
        """All names that may have a new value or content afterwards."""
        return self.makes | self.may_make | set(self.changes)


def _without(table: dict[str, frozenset[str]], removed: set[str]) -> dict[str, frozenset[str]]:
    """The table without the removed names."""
    return {n: roots - removed for n, roots in table.items() if n not in removed and roots - removed}
