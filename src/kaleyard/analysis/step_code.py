"""A step's code, and where the names in it come from: data."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

from kaleyard.analysis.effects.code_fragments import CodeFragment
from kaleyard.analysis.effects.name_effects import NameEffects, Scope, Site
from kaleyard.notebook.magics import magic_calls

__all__ = ["Ambiguous", "Conflict", "Missing", "StepCode", "StepFlow", "hand_on_together"]


@dataclass(frozen=True, eq=False)
class StepCode:
    """A step as it was read: its code, what it does with names, and what it finds in its own notebook.

    `shared` are the units of that notebook's imports and functions cells, `parameters` the names of its
    parameters, `prev` the steps its tags name. `use` tells which use of which notebook the step is of: cell numbers
    compare within one.
    """

    name: str
    units: tuple[CodeFragment, ...]
    names: NameEffects
    shared: tuple[CodeFragment, ...] = ()
    parameters: frozenset[str] = frozenset()
    prev: tuple[str, ...] = ()
    use: str = ""
    cells: tuple[int, ...] = ()
    trees: tuple[tuple[int, ast.Module], ...] = ()

    @cached_property
    def stars(self) -> tuple[CodeFragment, ...]:
        """The step's star imports and the like, which may give any name."""
        return tuple(u for u in self.units if u.names.star and (u.is_definition or _runs_file(u)))

    @cached_property
    def _given(self) -> dict[str, int]:
        return {name: unit.cell for unit in self.units for name in unit.names.gives}

    def given_in(self, name: str) -> int:
        """The last cell that gives the name a value."""
        return self._given.get(name, self.cells[-1] if self.cells else 0)

    def unit_at(self, cell: int, line: int) -> CodeFragment | None:
        """The step's unit that stands on a line of a cell."""
        for unit in self.units:
            if unit.cell == cell and unit.nodes[0].lineno <= line <= (unit.nodes[-1].end_lineno or line):
                return unit
        return None

    def gives_above(self, name: str, cell: int) -> bool:
        """Whether a cell above that one gives the name a value."""
        return any(unit.cell < cell and name in unit.names.gives for unit in self.units)


@dataclass(frozen=True, slots=True)
class Missing:
    """A name that has no value where it is used.

    `lazy`: only a function that the step has reads it, when it is called, or a branch; `loose`: only a branch does,
    of the step's own code or of a function.
    `deleted` names the step that deleted it.
    """

    name: str
    step: str
    site: Site
    lazy: bool = False
    deleted: str = ""
    loose: bool = False


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """A name that several earlier steps make."""

    name: str
    step: str
    makers: tuple[str, ...]
    site: Site


@dataclass(frozen=True, slots=True)
class Conflict:
    """A name that means one thing in a step and another in code the step carries; `what` tells which two."""

    name: str
    step: str
    site: Site
    what: str


@dataclass(slots=True)
class StepFlow:
    """What a step takes, gives and carries; `setup` are the units of other cells it needs, in notebook order.

    `late` are those of them that read inputs as they run, and so come after loading these `early` ones; `inline` those
    that stand between the step's own cells, and work with what these make. `picked` are the names that `prev:` takes
    from the first of two makers, where the notebook run whole would have the value of the second. `random_state` are
    the generators of random numbers whose state the step has at its end, as far as they were seeded. `needed` are the
    inputs that the step surely reads, `wanted` those that it may read.
    """

    inputs: dict[str, str] = field(default_factory=dict)
    setup: list[CodeFragment] = field(default_factory=list)
    late: list[CodeFragment] = field(default_factory=list)
    early: set[str] = field(default_factory=set)
    inline: list[CodeFragment] = field(default_factory=list)
    parameters: set[str] = field(default_factory=set)
    outputs: set[str] = field(default_factory=set)
    upstream: set[str] = field(default_factory=set)
    missing: list[Missing] = field(default_factory=list)
    ambiguous: list[Ambiguous] = field(default_factory=list)
    picked: list[Ambiguous] = field(default_factory=list)
    conflicts: list[Conflict] = field(default_factory=list)
    random_state: tuple[str, ...] = ()
    needed: set[str] = field(default_factory=set)
    wanted: set[str] = field(default_factory=set)

    @property
    def optional(self) -> set[str]:
        """The inputs that the step can do without, if it takes another way through its code."""
        return self.wanted - self.needed

    @property
    def carried(self) -> list[CodeFragment]:
        """Every unit of other cells that goes with the step."""
        return [*self.setup, *self.late, *self.inline]


def _runs_file(unit: CodeFragment) -> bool:
    """Whether the unit is a magic that runs other code, as `%run tools.ipynb` and `%%cython` do, and nothing else."""
    rest = [n for n in unit.nodes if not isinstance(n, ast.ImportFrom)]
    return all(any(texts[:1] in (["run"], ["cython"]) for _, texts in magic_calls(n)) for n in rest)


def hand_on_together(code: StepCode, known: Scope, earlier: Iterable[StepCode]) -> None:
    """Have a value that the step changes in place handed on under all its names by each step that hands on one.

    Only what one step saves can stay one object.
    """
    for name in code.names.changes:
        same = known.same(name)
        for step in earlier if len(same) > 1 else ():
            tables = (step.names.alias, step.names.held)
            pairs = [{n, root} for table in tables for n in same & table.keys() for root in table[n] & same]
            for pair in pairs:
                given = pair & step.names.gives
                if len(given) == 1 and not pair & (known.imports | step.names.imports):
                    (one,), (other,) = given, pair - given
                    site = step.names.sites.get(one) or step.names.changes.get(one)
                    step.names.changes.setdefault(other, site or (step.cells[0], 1))
