"""Data: a step's code, and where the names in it come from."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

from kaleyard.analysis.effects.code_fragments import CodeFragment
from kaleyard.analysis.effects.name_effects import NameEffects, Scope, Site
from kaleyard.notebook.magics import magic_calls

__all__ = ["Ambiguous", "Conflict", "Missing", "StepCode", "StepFlow", "save_aliases_together"]


@dataclass(frozen=True, eq=False)
class StepCode:
    """A step as written: its code, its effects on names, and its context in the notebook.

    `shared` are the units of the notebook's imports and functions cells, `parameters` the names of its parameters,
    `prev` the steps in its `prev:` tags. `use` identifies the notebook and its place in a composed pipeline: cell
    numbers are comparable within one `use`.
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
        """The step's star imports and similar units, which may bind any name."""
        return tuple(u for u in self.units if u.names.star and (u.is_definition or _runs_file(u)))

    @cached_property
    def _last_cells(self) -> dict[str, int]:
        return {name: unit.cell for unit in self.units for name in unit.names.gives}

    def given_in(self, name: str) -> int:
        """The last cell that changes the name's value."""
        return self._last_cells.get(name, self.cells[-1] if self.cells else 0)

    def unit_at(self, cell: int, line: int) -> CodeFragment | None:
        """The step's unit at a line of a cell."""
        for unit in self.units:
            if unit.cell == cell and unit.nodes[0].lineno <= line <= (unit.nodes[-1].end_lineno or line):
                return unit
        return None

    def gives_above(self, name: str, cell: int) -> bool:
        """Whether a cell above `cell` changes the name's value."""
        return any(unit.cell < cell and name in unit.names.gives for unit in self.units)


@dataclass(frozen=True, slots=True)
class Missing:
    """A name that has no value where it is used.

    `lazy`: only a function of the step reads it, when called, or a branch; `loose`: only a branch reads it, in the
    step's own code or in a function. `deleted` is the step that deleted it.
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
    """A name with one value in a step and another in code that the step carries; `what` describes both."""

    name: str
    step: str
    site: Site
    what: str


@dataclass(slots=True)
class StepFlow:
    """What a step takes from other steps, passes on, and carries.

    - `setup` are the units of other cells that the step needs, in notebook order.
    - `late` are setup units that read inputs and run after these, `early`, are loaded.
    - `inline` are shared units that run between the step's own cells, because they use what these make.
    - `picked` are names that `prev:` takes from an earlier maker than the notebook's order would.
    - `random_state` are the seeded random generators whose state the step saves.
    - `needed` are the inputs that the step always reads, `wanted` those that it may read.
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
        """The inputs that the step reads on some paths only."""
        return self.wanted - self.needed

    @property
    def carried(self) -> list[CodeFragment]:
        """All units of other cells that run in the step."""
        return [*self.setup, *self.late, *self.inline]


def _runs_file(unit: CodeFragment) -> bool:
    """Whether the unit is nothing but a magic that runs other code, such as `%run tools.ipynb` and `%%cython`."""
    rest = [n for n in unit.nodes if not isinstance(n, ast.ImportFrom)]
    return all(any(texts[:1] in (["run"], ["cython"]) for _, texts in magic_calls(n)) for n in rest)


def save_aliases_together(code: StepCode, scope: Scope, earlier: Iterable[StepCode]) -> None:
    """Make earlier steps save a value that this step changes in place under all of its names.

    Only names saved by the same step can stay one object.
    """
    for name in code.names.changes:
        same = scope.same(name)
        for step in earlier if len(same) > 1 else ():
            tables = (step.names.alias, step.names.held)
            pairs = [{n, root} for table in tables for n in same & table.keys() for root in table[n] & same]
            for pair in pairs:
                assigned = pair & step.names.gives
                if len(assigned) == 1 and not pair & (scope.imports | step.names.imports):
                    (bound,), (alias,) = assigned, pair - assigned
                    site = step.names.sites.get(bound) or step.names.changes.get(bound)
                    step.names.changes.setdefault(alias, site or (step.cells[0], 1))
