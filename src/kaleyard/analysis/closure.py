"""The units of other cells that go with a step: which there are, and which belong together."""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

from kaleyard.analysis.effects.code_fragments import CodeFragment
from kaleyard.analysis.effects.mutation import changed_roots
from kaleyard.analysis.effects.syntax import default_values, makes_class
from kaleyard.analysis.process.module_settings import ProcessSettings
from kaleyard.analysis.step_code import StepCode

__all__ = ["Closure", "classes_with_data", "empty_registry", "is_class", "keeps_state"]


_MAKING = frozenset({"list", "dict", "set", "defaultdict", "OrderedDict", "Counter", "deque", "int"})


class Closure:
    """What one step carries, chosen from the units of its notebook's `imports` and `functions` cells, and of steps.

    `used` are the names that the notebook's code reads, `own` the units of the step itself.
    """

    def __init__(
        self, shared: Sequence[CodeFragment], used: set[str], own: Sequence[CodeFragment], settings: ProcessSettings
    ) -> None:
        self.shared = shared
        self.settings = settings
        self.used = used
        self.own = frozenset(m for unit in own for m in unit.modules)
        self.taken: dict[int, CodeFragment] = {}
        self._ours = frozenset(id(u) for u in shared)
        self._makers: dict[str, list[CodeFragment]] = {}
        self._givers: dict[str, list[CodeFragment]] = {}
        for unit in shared:
            for name in unit.names.makes | unit.names.may_make:
                self._makers.setdefault(name, []).append(unit)
            for name in unit.names.gives:
                self._givers.setdefault(name, []).append(unit)
        self._loose = [u for u in shared if self._has_effect(u) or u.is_effect or self._is_unused_import(u)]

    def take(self, unit: CodeFragment) -> bool:
        """Carry the unit; whether it is new."""
        new = id(unit) not in self.taken
        self.taken[id(unit)] = unit
        return new

    def has(self, unit: CodeFragment) -> bool:
        """Whether the unit is carried already."""
        return id(unit) in self.taken

    def is_shared(self, unit: CodeFragment) -> bool:
        """Whether the unit stands in one of the notebook's shared cells."""
        return id(unit) in self._ours

    def maker(self, name: str, before: int, unless: CodeFragment | None = None) -> CodeFragment | None:
        """The shared unit that makes the name: the last in a cell above `before`, else the last below."""
        makers = [u for u in self._makers.get(name, ()) if u is not unless]
        above = [u for u in makers if u.cell < before]
        return (above or makers or [None])[-1]  # type: ignore[list-item]

    def companions(self, unit: CodeFragment, before: int) -> Iterator[CodeFragment]:
        """Shared units that bind or change the same names (a fallback import, say): one without the other misleads."""
        if not self.is_shared(unit):
            return
        for name in sorted(unit.names.gives):
            for other in self._givers.get(name, ()):
                near = (other.cell < before) == (unit.cell < before)
                if other is not unit and near and not other.is_effect:
                    yield other

    def remade(self, own: Sequence[CodeFragment], start: int, names: Collection[str]) -> Iterator[CodeFragment]:
        """Shared units between a step's own cells that make anew what it uses below them.

        `own` are the step's units, `names` those that it needs from elsewhere. What only such a unit makes can as well
        come first; what stands above under the same name (`def f` twice) holds up to the unit's own place.
        """
        last = max((u.cell for u in own), default=0)
        for unit in self.shared if last > start else ():
            if not start < unit.cell < last:
                continue
            above = [u for u in (*self.taken.values(), *own) if u is not unit and u.cell < unit.cell]
            read = {n for u in own if u.cell > unit.cell for n in (*u.names.reads, *u.names.maybe_reads)}
            for name in (unit.names.makes | unit.names.may_make) & {*names, *read}:
                made = [u for u in above if name in u.names.gives]
                if made and not _is_again(unit, max(made, key=lambda u: u.cell)):
                    yield unit
                    break

    def always(self) -> Iterator[CodeFragment]:
        """Units that go with every step: a star import may give any name, and `__future__` is for all code below."""
        return (u for u in self.shared if u.names.star or "__future__" in u.modules)

    def effects(self, before: int, is_visible: Callable[[Collection[str]], bool]) -> Iterator[CodeFragment]:
        """Statements of shared cells run for their effect that go along: where the step can see what they do.

        That is where it has a value they change, or modules they use (`pd.set_option`, also inside of a function);
        statements that use neither always go.
        """
        for unit in self._loose:
            if id(unit) in self.taken:
                continue
            if not self._has_effect(unit):
                if self._is_package_taken(unit):
                    yield unit
            elif unit.cell < before:  # else, in the notebook, it has not happened yet
                modules = self.settings.reached(unit)
                names = (*unit.names.reads, *unit.names.through, *unit.names.changes)
                makers = [(name, maker) for name in names if (maker := self.maker(name, before, unit))]
                values = [m for name, m in makers if not m.is_definition or name in unit.names.changes]
                seeds = any(self.settings.seeds(node) for node in unit.nodes)
                loose = not values and (not modules or is_visible({"numpy.random"} if seeds else modules))
                if loose or any(id(m) in self.taken for m in values):
                    yield unit

    def _has_effect(self, unit: CodeFragment) -> bool:
        """Whether running the unit does something that no name tells of."""
        if unit.magic_packages and unit.is_effect:
            return False
        return unit.is_effect or self.settings.modules(unit) is not None or self._seeds(unit)

    def _seeds(self, unit: CodeFragment) -> bool:
        return not unit.is_definition and any(self.settings.seeds(node) for node in unit.nodes)

    def in_order(self, place: Mapping[int, int]) -> list[CodeFragment]:
        """What is carried, in the notebook's order; `place` tells where a unit stands among the others of its cell."""
        return sorted(self.taken.values(), key=lambda u: (u.cell, place[id(u)]))

    def _is_unused_import(self, unit: CodeFragment) -> bool:
        """An import that no code of the notebook uses by name is there for its effect."""
        return bool(unit.names.imports) and unit.is_definition and not unit.names.imports & self.used

    def _is_package_taken(self, unit: CodeFragment) -> bool:
        mine = unit.modules | unit.magic_packages
        return bool(mine & self.own) or any(mine & u.modules for u in self.taken.values())


def _is_again(unit: CodeFragment, before: CodeFragment) -> bool:
    """Whether an import says once more what the one before it says."""
    return unit.names.makes <= unit.names.imports and unit.source == before.source


def is_class(unit: CodeFragment, name: str) -> bool:
    """Whether the unit is the class of that name."""
    return any(
        (isinstance(n, ast.ClassDef) and n.name == name)
        or (isinstance(n, ast.Assign) and makes_class(n.value) and any(_is_name(t, name) for t in n.targets))
        for n in unit.nodes
    )


def _is_name(target: ast.expr, name: str) -> bool:
    return isinstance(target, ast.Name) and target.id == name


def classes_with_data(unit: CodeFragment) -> set[str]:
    """The classes that a unit defines whose bodies hold data beside methods."""
    plain = (ast.Assign, ast.AnnAssign)
    return {n.name for n in unit.nodes if isinstance(n, ast.ClassDef) and any(isinstance(s, plain) for s in n.body)}


def keeps_state(unit: CodeFragment) -> bool:
    """Whether the unit makes a value that use may change: any but imports, classes, and functions of plain defaults."""
    if not unit.is_definition:
        return True
    functions = (n for n in unit.nodes if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef)))
    return any(not isinstance(d, ast.Constant) for f in functions for d in default_values(f))


def empty_registry(name: str, makers: Iterable[StepCode], steps: Iterable[StepCode]) -> CodeFragment | None:
    """The statement that makes the empty value of `name`, if definitions enter something into it and do no more."""
    bases = [u for s in makers for u in (*s.shared, *s.units) if _makes_empty(u, name)]
    every = [u for s in steps for u in (*s.shared, *s.units)]
    return bases[0] if bases and _only_enters(every, name) else None


def _makes_empty(unit: CodeFragment, name: str) -> bool:
    """Whether the unit makes an empty list, dict or the like of that name, and does nothing else."""
    if len(unit.nodes) != 1 or not isinstance(unit.nodes[0], (ast.Assign, ast.AnnAssign)):
        return False
    node = unit.nodes[0]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    value = node.value
    plain = isinstance(value, (ast.List, ast.Dict)) or (
        isinstance(value, ast.Call) and ast.unparse(value.func).rpartition(".")[2] in _MAKING
    )
    within = {n.id for n in ast.walk(value) if isinstance(n, ast.Name)} if value else set()
    return len(targets) == 1 and _is_name(targets[0], name) and plain and within <= _MAKING | {"collections"}


def _only_enters(units: Iterable[CodeFragment], name: str) -> bool:
    """Whether the definitions that change the value of `name` do nothing else with it, so that any will do for them."""
    for node in (n for unit in units if unit.is_definition for n in unit.nodes):
        parts = list(ast.walk(node))
        changes = sum(changed == name for part in parts for changed in changed_roots(part))
        loads = sum(isinstance(p, ast.Name) and p.id == name and isinstance(p.ctx, ast.Load) for p in parts)
        if changes and loads > changes:
            return False
    return True
