"""What code does with the notebook's names, and what is known of them before it: data.

`kaleyard.analysis.effects.statements.trace` finds it out.
"""

from __future__ import annotations

import builtins
from dataclasses import dataclass, field

from kaleyard.analysis.effects.scopes import CallEffects

__all__ = ["GIVEN", "NameEffects", "Scope", "Site"]

Site = tuple[int, int]  # cell number, line in the cell

# What IPython puts into every notebook's namespace, beside Python's own.
GIVEN = frozenset(dir(builtins)) | {
    *("display", "get_ipython", "In", "Out", "exit", "quit", "_", "__", "___", "_i", "_ii", "_iii", "_ih", "_oh"),
    *("_dh", "__name__", "__builtins__", "__doc__", "__annotations__"),
    # What IPython takes for a magic where it stands alone.
    *("pwd", "ls", "ll", "cd", "who", "whos", "history", "clear"),
}


@dataclass(slots=True)
class Scope:
    """What was made before: functions and classes, by name, and the names that imports bind.

    `alias` are names that may be the same object as other names, or a part of it; `roots` all those other names, ever.
    `held` are names whose value holds those of other names: `{"k": a}`, `Box(a)`.
    `methods` change the objects that the code has made, beside those of its own classes.
    `scalars` are parameters that are numbers or texts, which nothing changes in place.
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

    def then(self, names: NameEffects, *, unaware: bool = False) -> Scope:
        """What is known once code that does `names` has run; `unaware` if it was read without what is known here."""
        gone = names.makes | names.may_make
        alias, held = names.alias, names.held
        if unaware:
            alias = _without(self.alias, gone) | {n: roots for n, roots in alias.items() if n in gone}
            held = _without(self.held, gone) | {n: roots for n, roots in held.items() if n in gone}
        kept = {n: what for n, what in self.definitions.items() if n not in gone}
        imports = (self.imports - gone) | names.imports
        methods = self.methods | names.methods
        definitions = kept | names.definitions
        return Scope(definitions, imports, self.lazy_notes, alias, self.roots, methods, held, self.scalars - gone)

    def same(self, name: str) -> set[str]:
        """The names whose value changes where that of `name` is changed in place, itself among them."""
        found, todo = set[str](), [name]
        while todo:
            one = todo.pop()
            if one not in found:
                found.add(one)
                for table in (self.alias, self.held):
                    todo += [*table.get(one, ()), *(n for n, roots in table.items() if one in roots)]
        return found


@dataclass(slots=True)
class NameEffects:
    """What code does with names; sites are (cell, line).

    `reads` must come from outside; `maybe_reads` may have to. `makes` are bound at the end on every path,
    `may_make` on some. `changes` are changed in place. `definitions` are the functions and classes at the top
    level, `imports` the names that imports bind. `star` tells of a star import. `through` are names that functions
    made before read when this code calls them; `modules` what is changed inside of imported modules; `alias` the
    names at the end that may be the same object as other names, or a part of it; `methods` those that change an
    object made here, such as a generator of random numbers. `direct` are the names of `reads` that the code itself
    surely reads, not only a branch of it, or a function or lambda that it defines or uses; `loose` those that only
    a branch reads, of it or of a function that it uses; `deletes` have no value at the end. `held` are names at the
    end whose value holds those of other names.
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
        """Every name that may have a new value or content afterwards."""
        return self.makes | self.may_make | set(self.changes)


def _without(table: dict[str, frozenset[str]], gone: set[str]) -> dict[str, frozenset[str]]:
    """What the table says of the names that are left."""
    return {n: roots - gone for n, roots in table.items() if n not in gone and roots - gone}
