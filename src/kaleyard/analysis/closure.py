"""Chooses the units of other cells that run in a step, with those that belong together."""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

from kaleyard.analysis.effects.code_fragments import CodeFragment
from kaleyard.analysis.effects.mutation import changed_roots
from kaleyard.analysis.effects.syntax import default_values, makes_class
from kaleyard.analysis.process.module_settings import ProcessSettings
from kaleyard.analysis.step_code import StepCode

__all__ = ["Closure", "classes_with_data", "empty_registry", "is_class", "keeps_state"]


_CONTAINERS = frozenset({"list", "dict", "set", "defaultdict", "OrderedDict", "Counter", "deque", "int"})


class Closure:
    """The units that one step carries: of its notebook's `imports` and `functions` cells, and of other steps.

    `used_names` are the names that the notebook's code reads, `own_units` the units of the step itself.
    """

    def __init__(
        self,
        shared: Sequence[CodeFragment],
        used_names: set[str],
        own_units: Sequence[CodeFragment],
        settings: ProcessSettings,
    ) -> None:
        self.shared = shared
        self.settings = settings
        self.used_names = used_names
        self.own_modules = frozenset(m for unit in own_units for m in unit.modules)
        self.taken: dict[int, CodeFragment] = {}
        self._shared_ids = frozenset(id(u) for u in shared)
        self._makers: dict[str, list[CodeFragment]] = {}
        self._givers: dict[str, list[CodeFragment]] = {}
        for unit in shared:
            for name in unit.names.makes | unit.names.may_make:
                self._makers.setdefault(name, []).append(unit)
            for name in unit.names.gives:
                self._givers.setdefault(name, []).append(unit)
        self._effect_units = [u for u in shared if self._has_effect(u) or u.is_effect or self._is_unused_import(u)]

    def take(self, unit: CodeFragment) -> bool:
        """Carry the unit; return whether it is new."""
        new = id(unit) not in self.taken
        self.taken[id(unit)] = unit
        return new

    def has(self, unit: CodeFragment) -> bool:
        """Whether the unit is already carried."""
        return id(unit) in self.taken

    def is_shared(self, unit: CodeFragment) -> bool:
        """Whether the unit is from a shared cell of the notebook."""
        return id(unit) in self._shared_ids

    def maker(self, name: str, before: int, unless: CodeFragment | None = None) -> CodeFragment | None:
        """The shared unit that makes the name: the last one above cell `before`, else the last one below."""
        makers = [u for u in self._makers.get(name, ()) if u is not unless]
        above = [u for u in makers if u.cell < before]
        return (above or makers or [None])[-1]  # type: ignore[list-item]

    def companions(self, unit: CodeFragment, before: int) -> Iterator[CodeFragment]:
        """Shared units that bind or change the same names, such as a fallback import, and must run together."""
        if not self.is_shared(unit):
            return
        for name in sorted(unit.names.gives):
            for companion in self._givers.get(name, ()):
                same_side = (companion.cell < before) == (unit.cell < before)
                if companion is not unit and same_side and not companion.is_effect:
                    yield companion

    def remade(self, own_units: Sequence[CodeFragment], start: int, names: Collection[str]) -> Iterator[CodeFragment]:
        """Shared units between a step's own cells that redefine a name the step uses below them.

        `own_units` are the step's units, `names` those it needs from elsewhere. A unit whose names have no earlier
        definition may run before the step; one that redefines a name (`def f` twice) must run in its place.
        """
        last_cell = max((u.cell for u in own_units), default=0)
        for unit in self.shared if last_cell > start else ():
            if not start < unit.cell < last_cell:
                continue
            above = [u for u in (*self.taken.values(), *own_units) if u is not unit and u.cell < unit.cell]
            read = {n for u in own_units if u.cell > unit.cell for n in (*u.names.reads, *u.names.maybe_reads)}
            for name in (unit.names.makes | unit.names.may_make) & {*names, *read}:
                previous = [u for u in above if name in u.names.gives]
                if previous and not _repeats_import(unit, max(previous, key=lambda u: u.cell)):
                    yield unit
                    break

    def always(self) -> Iterator[CodeFragment]:
        """Units that every step carries: star imports, which may bind any name, and `__future__` imports."""
        return (u for u in self.shared if u.names.star or "__future__" in u.modules)

    def effects(self, before: int, is_visible: Callable[[Collection[str]], bool]) -> Iterator[CodeFragment]:
        """Statements of shared cells whose effects the step can see.

        It sees them if it has a value they change, or a module they use (`pd.set_option`, also inside a function).
        Statements that use neither are always carried.
        """
        for unit in self._effect_units:
            if id(unit) in self.taken:
                continue
            if not self._has_effect(unit):
                if self._is_package_taken(unit):
                    yield unit
            elif unit.cell < before:  # a later cell has not run yet in the notebook
                modules = self.settings.reached(unit)
                names = (*unit.names.reads, *unit.names.through, *unit.names.changes)
                makers = [(name, maker) for name in names if (maker := self.maker(name, before, unit))]
                values = [m for name, m in makers if not m.is_definition or name in unit.names.changes]
                seeds = any(self.settings.seeds(node) for node in unit.nodes)
                unconditional = not values and (not modules or is_visible({"numpy.random"} if seeds else modules))
                if unconditional or any(id(m) in self.taken for m in values):
                    yield unit

    def _has_effect(self, unit: CodeFragment) -> bool:
        """Whether running the unit has an effect besides binding names."""
        if unit.magic_packages and unit.is_effect:
            return False
        return unit.is_effect or self.settings.modules(unit) is not None or self._seeds(unit)

    def _seeds(self, unit: CodeFragment) -> bool:
        return not unit.is_definition and any(self.settings.seeds(node) for node in unit.nodes)

    def in_order(self, positions: Mapping[int, int]) -> list[CodeFragment]:
        """The carried units in the notebook's order; `positions` orders the units of one cell."""
        return sorted(self.taken.values(), key=lambda u: (u.cell, positions[id(u)]))

    def _is_unused_import(self, unit: CodeFragment) -> bool:
        """Whether it is an import that no code uses by name, which is there for its effect."""
        return bool(unit.names.imports) and unit.is_definition and not unit.names.imports & self.used_names

    def _is_package_taken(self, unit: CodeFragment) -> bool:
        packages = unit.modules | unit.magic_packages
        return bool(packages & self.own_modules) or any(packages & u.modules for u in self.taken.values())


def _repeats_import(unit: CodeFragment, previous: CodeFragment) -> bool:
    """Whether the unit is an import with the same source as the previous one."""
    return unit.names.makes <= unit.names.imports and unit.source == previous.source


def is_class(unit: CodeFragment, name: str) -> bool:
    """Whether the unit defines the class `name`."""
    return any(
        (isinstance(n, ast.ClassDef) and n.name == name)
        or (isinstance(n, ast.Assign) and makes_class(n.value) and any(_is_name(t, name) for t in n.targets))
        for n in unit.nodes
    )


def _is_name(target: ast.expr, name: str) -> bool:
    return isinstance(target, ast.Name) and target.id == name


def classes_with_data(unit: CodeFragment) -> set[str]:
    """The classes that a unit defines with data in their bodies, not only methods."""
    plain = (ast.Assign, ast.AnnAssign)
    return {n.name for n in unit.nodes if isinstance(n, ast.ClassDef) and any(isinstance(s, plain) for s in n.body)}


def keeps_state(unit: CodeFragment) -> bool:
    """Whether the unit makes a value that use may change: not an import, a class, or a function with plain defaults."""
    if not unit.is_definition:
        return True
    functions = (n for n in unit.nodes if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef)))
    return any(not isinstance(d, ast.Constant) for f in functions for d in default_values(f))


def empty_registry(name: str, makers: Iterable[StepCode], steps: Iterable[StepCode]) -> CodeFragment | None:
    """The statement that makes the empty registry `name`, if definitions only add to it; else None."""
    candidates = [u for s in makers for u in (*s.shared, *s.units) if _makes_empty(u, name)]
    units = [u for s in steps for u in (*s.shared, *s.units)]
    return candidates[0] if candidates and _only_enters(units, name) else None


def _makes_empty(unit: CodeFragment, name: str) -> bool:
    """Whether the unit does nothing but bind `name` to an empty container."""
    if len(unit.nodes) != 1 or not isinstance(unit.nodes[0], (ast.Assign, ast.AnnAssign)):
        return False
    node = unit.nodes[0]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    value = node.value
    is_container = isinstance(value, (ast.List, ast.Dict)) or (
        isinstance(value, ast.Call) and ast.unparse(value.func).rpartition(".")[2] in _CONTAINERS
    )
    names = {n.id for n in ast.walk(value) if isinstance(n, ast.Name)} if value else set()
    return len(targets) == 1 and _is_name(targets[0], name) and is_container and names <= _CONTAINERS | {"collections"}


def _only_enters(units: Iterable[CodeFragment], name: str) -> bool:
    """Whether definitions that change the value of `name` never read it, so that an empty one is enough for them."""
    for node in (n for unit in units if unit.is_definition for n in unit.nodes):
        parts = list(ast.walk(node))
        changes = sum(changed == name for part in parts for changed in changed_roots(part))
        loads = sum(isinstance(p, ast.Name) and p.id == name and isinstance(p.ctx, ast.Load) for p in parts)
        if changes and loads > changes:
            return False
    return True
