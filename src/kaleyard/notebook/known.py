"""What code does with the notebook's names, and what is known of them before it: data.

`kaleyard.notebook.paths.trace` finds it out.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from kaleyard.notebook.scopes import Deferred

__all__ = ["Known", "Names", "Site"]

Site = tuple[int, int]  # cell number, line in the cell


@dataclass(slots=True)
class Known:
    """What was made before: functions and classes, by name, and the names that imports bind.

    `alias` are names that may be the same object as other names, or a part of it; `roots` all those other names, ever.
    `methods` change the objects that the code has made, beside those of its own classes.
    `lazy_notes`: annotations are not evaluated (`from __future__ import annotations`).
    """

    definitions: dict[str, Deferred] = field(default_factory=dict)
    imports: set[str] = field(default_factory=set)
    lazy_notes: bool = False
    alias: dict[str, frozenset[str]] = field(default_factory=dict)
    roots: set[str] = field(default_factory=set)
    methods: frozenset[str] = frozenset()

    def then(self, names: Names, *, apart: bool = False) -> Known:
        """What is known once code that does `names` has run; what runs `apart` shares no objects with what follows."""
        gone = names.makes | names.may_make
        kept = {n: what for n, what in self.definitions.items() if n not in gone}
        alias = {n: roots - gone for n, roots in self.alias.items() if n not in gone} if apart else names.alias
        imports = (self.imports - gone) | names.imports
        methods = self.methods | names.methods
        return Known(kept | names.definitions, imports, self.lazy_notes, alias, self.roots, methods)


@dataclass(slots=True)
class Names:
    """What code does with names; sites are (cell, line).

    `reads` must come from outside; `maybe_reads` may have to. `makes` are bound at the end on every path,
    `may_make` on some. `changes` are changed in place. `definitions` are the functions and classes at the top
    level, `imports` the names that imports bind. `star` tells of a star import. `through` are names that functions
    made before read when this code calls them; `modules` what is changed inside of imported modules; `alias` the
    names at the end that may be the same object as other names, or a part of it; `methods` those that change an
    object made here, such as a generator of random numbers.
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
    alias: dict[str, frozenset[str]] = field(default_factory=dict)
    methods: frozenset[str] = frozenset()

    @property
    def gives(self) -> set[str]:
        """Every name that may have a new value or content afterwards."""
        return self.makes | self.may_make | set(self.changes)
