"""The units of other cells that go with a step: which there are, and which belong together."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator, Sequence

from kaleyard.notebook.code import Unit

__all__ = ["Carried", "imported_modules", "is_class"]


class Carried:
    """What one step carries, chosen from the units of its notebook's `imports` and `functions` cells, and of steps.

    `used` are the names that the notebook's code reads.
    """

    def __init__(self, shared: Sequence[Unit], used: set[str]) -> None:
        self.shared = shared
        self.used = used
        self.taken: dict[int, Unit] = {}
        self._by_name: dict[str, list[Unit]] = {}
        for unit in shared:
            for name in unit.names.makes | unit.names.may_make:
                self._by_name.setdefault(name, []).append(unit)

    def take(self, unit: Unit) -> bool:
        """Carry the unit; whether it is new."""
        new = id(unit) not in self.taken
        self.taken[id(unit)] = unit
        return new

    def maker(self, name: str, before: int, unless: Unit | None = None) -> Unit | None:
        """The shared unit that makes the name: the last in a cell above `before`, else the last below."""
        makers = [u for u in self._by_name.get(name, ()) if u is not unless]
        above = [u for u in makers if u.cell < before]
        return (above or makers or [None])[-1]  # type: ignore[list-item]

    def companions(self, unit: Unit, before: int) -> Iterator[Unit]:
        """Shared units that bind or change the same names (a fallback import, say): one without the other misleads."""
        if all(u is not unit for u in self.shared):
            return
        for other in self.shared:
            near = (other.cell < before) == (unit.cell < before)
            if other is not unit and near and unit.names.gives & other.names.gives and not other.is_effect:
                yield other

    def always(self) -> Iterator[Unit]:
        """Units that go with every step: a star import may give any name, and `__future__` is for all code below."""
        for unit in self.shared:
            if unit.names.star or "__future__" in imported_modules(unit):
                yield unit

    def effects(self, before: int) -> Iterator[Unit]:
        """Statements run for their effect that go along with what they touch: `pd.set_option` where pandas goes.

        Those that touch the standard library alone (`warnings.filterwarnings`, `random.seed`) always go.
        """
        for unit in self.shared:
            if id(unit) in self.taken or not (unit.is_effect or self._is_unused_import(unit)):
                continue
            if unit.is_effect and unit.cell >= before:
                # In the notebook, it has not happened yet.
                continue
            if not unit.is_effect:
                if self._is_package_taken(unit):
                    yield unit
                continue
            touched = [m for n in (*unit.names.reads, *unit.names.changes) if (m := self.maker(n, before, unit))]
            loose = not touched or all(_is_standard(u) for u in touched)
            if loose or any(id(u) in self.taken for u in touched):
                yield unit

    def in_order(self, others: Sequence[Unit]) -> list[Unit]:
        """What is carried, in the notebook's order; `others` are units of steps, in order."""
        place = {id(u): n for n, u in enumerate([*others, *self.shared])}
        return sorted(self.taken.values(), key=lambda u: (u.cell, place[id(u)]))

    def _is_unused_import(self, unit: Unit) -> bool:
        """An import that no code of the notebook uses by name is there for its effect."""
        return bool(unit.names.imports) and unit.is_definition and not unit.names.imports & self.used

    def _is_package_taken(self, unit: Unit) -> bool:
        mine = imported_modules(unit)
        return any(mine & imported_modules(u) for u in self.taken.values())


def imported_modules(unit: Unit) -> set[str]:
    """The top-level modules that a unit imports."""
    found: set[str] = set()
    for node in (n for top in unit.nodes for n in ast.walk(top)):
        if isinstance(node, ast.Import):
            found.update(a.name.partition(".")[0] for a in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def is_class(unit: Unit, name: str) -> bool:
    """Whether the unit is the class of that name."""
    return any(isinstance(n, ast.ClassDef) and n.name == name for n in unit.nodes)


def _is_standard(unit: Unit) -> bool:
    packages = imported_modules(unit)
    return bool(packages) and packages <= sys.stdlib_module_names
