"""Which step makes what each step uses, and which definitions travel with it.

The rule is the notebook run from top to bottom: a name means what the last earlier step made of it. Where a step
says `prev:`, steps it comes after are asked first. Functions, classes and imports travel as source; values as data.
"""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from kaleyard.notebook.code import Unit
from kaleyard.notebook.names import Names, Site
from kaleyard.notebook.scopes import Deferred

__all__ = ["Ambiguous", "Missing", "StepCode", "StepFlow", "imported_modules", "resolve"]

# What IPython puts into every notebook's namespace, beside Python's own.
_GIVEN = frozenset(dir(builtins)) | {
    *("display", "get_ipython", "In", "Out", "exit", "quit", "_", "__", "___", "_i", "_ii", "_iii", "_ih", "_oh"),
    *("_dh", "__name__", "__builtins__", "__doc__"),
}


@dataclass(frozen=True)
class StepCode:
    """A step as it was read: its code, what it does with names, and what it finds in its own notebook.

    `shared` are the units of that notebook's imports and functions cells, `parameters` the names of its
    parameters, `prev` the steps its tags name.
    """

    name: str
    units: tuple[Unit, ...]
    names: Names
    shared: tuple[Unit, ...] = ()
    parameters: frozenset[str] = frozenset()
    prev: tuple[str, ...] = ()
    notebook: str = ""


@dataclass(frozen=True, slots=True)
class Missing:
    """A name that nothing makes, and where it is used."""

    name: str
    step: str
    site: Site


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """A name that several earlier steps make, none of them after all the others."""

    name: str
    step: str
    makers: tuple[str, ...]
    site: Site


@dataclass(slots=True)
class StepFlow:
    """What a step takes, gives and carries; `setup` are the units of other cells it needs, in notebook order."""

    inputs: dict[str, str] = field(default_factory=dict)
    setup: list[Unit] = field(default_factory=list)
    parameters: set[str] = field(default_factory=set)
    outputs: set[str] = field(default_factory=set)
    upstream: set[str] = field(default_factory=set)
    missing: list[Missing] = field(default_factory=list)
    ambiguous: list[Ambiguous] = field(default_factory=list)


def resolve(steps: Sequence[StepCode]) -> dict[str, StepFlow]:
    """Every step's flow, by name; `steps` stand in the notebook's order.

    Names nothing makes, and names several steps make, are told in the flows and raise nothing.
    """
    flows: dict[str, StepFlow] = {}
    used: dict[str, set[str]] = {}
    for step in steps:
        for names in (step.names, *(u.names for u in step.shared)):
            used.setdefault(step.notebook, set()).update(names.reads, names.maybe_reads)
    for index, step in enumerate(steps):
        flows[step.name] = _Resolver(step, steps[:index], flows, used[step.notebook]).run()
        for name, maker in flows[step.name].inputs.items():
            flows[maker].outputs.add(name)
    return flows


class _Resolver:
    """Finds where one step's names come from; asks for names until no new one is needed."""

    def __init__(
        self, step: StepCode, earlier: Sequence[StepCode], flows: Mapping[str, StepFlow], used: set[str]
    ) -> None:
        self.step = step
        self.earlier = {s.name: s for s in earlier}
        self.order = [s.name for s in earlier]
        self.flows = flows
        self.shared = step.shared
        self.used = used
        self.flow = StepFlow()
        self.seen: set[str] = set()
        self.taken: dict[int, Unit] = {}
        self.before = self._ancestors(p for p in step.prev if p in flows)

    def run(self) -> StepFlow:
        names = self.step.names
        for name, site in names.reads.items():
            self.need(name, site, certain=True)
        for name, site in names.maybe_reads.items():
            self.need(name, site, certain=False)
        for name in sorted(names.may_make):
            self.need(name, names.sites.get(name, (0, 1)), certain=False)
        self._take_star_imports()
        self._take_effects()
        every = [u for s in self.earlier.values() for u in s.units] + list(self.shared)
        place = {id(u): n for n, u in enumerate(every)}
        self.flow.setup = sorted(self.taken.values(), key=lambda u: (u.cell, place[id(u)]))
        self.flow.upstream = {*self.flow.inputs.values(), *(p for p in self.step.prev if p in self.flows)}
        return self.flow

    def need(self, name: str, site: Site, *, certain: bool) -> None:
        """Find where `name` comes from; a name that is not certainly read is not missed."""
        if name in self.seen:
            return
        self.seen.add(name)
        maker = self._maker(name, site, certain=certain)
        if maker is not None:
            self._take_from(maker, name)
        elif unit := self._shared_unit(name):
            self._take(unit, site)
        elif name in self.step.parameters:
            self.flow.parameters.add(name)
        elif certain and name not in _GIVEN and not self._star():
            self.flow.missing.append(Missing(name, self.step.name, site))
        elif not certain:
            self.seen.discard(name)

    def _maker(self, name: str, site: Site, *, certain: bool) -> str | None:
        makers = [n for n in self.order if name in self.earlier[n].names.gives]
        if not makers:
            return None
        asked = [m for m in makers if m in self.before]
        near = [m for m in makers if self.earlier[m].notebook == self.step.notebook]
        candidates = asked or near or makers
        last = candidates[-1]
        done = self._ancestors([last])
        loose = [m for m in candidates if m != last and m not in done]
        if loose and certain:
            self.flow.ambiguous.append(Ambiguous(name, self.step.name, (*loose, last), site))
        return last

    def _take_from(self, maker: str, name: str) -> None:
        names = self.earlier[maker].names
        own = reversed(self.earlier[maker].units)
        unit = next((u for u in own if name in u.names.makes | u.names.may_make), None)
        as_source = name in names.definitions or name in names.imports
        if as_source and unit is not None and unit.is_definition and name not in names.changes:
            self._take(unit, (unit.cell, 1))
            return
        self.flow.inputs[name] = maker
        for other in (*self.flows[maker].setup, *self.earlier[maker].units):
            # A value may be of a class that its maker defines or carries: reading it back needs the class.
            if other.is_definition and any(_is_class(other, n) for n in other.names.definitions):
                self._take(other, (other.cell, 1), certain=False)

    def _take(self, unit: Unit, site: Site, *, certain: bool = True) -> None:
        if id(unit) in self.taken:
            return
        self.taken[id(unit)] = unit
        for name, (cell, line) in unit.names.reads.items():
            self.need(name, (cell, line), certain=certain)
        for what in unit.names.definitions.values():
            self._need_deferred(what, unit.cell, certain=certain)
        for name in unit.names.maybe_reads:
            self.need(name, site, certain=False)
        for other in self.shared:
            # The same name bound again elsewhere (a fallback import, say) belongs to it.
            if other is not unit and unit.names.gives & other.names.gives and not other.is_effect:
                self._take(other, site, certain=certain)

    def _need_deferred(self, what: Deferred, cell: int, *, certain: bool) -> None:
        own = self.step.names.gives
        for name, line in what.reads.items():
            self.need(name, (cell, line), certain=certain and name not in own)

    def _shared_unit(self, name: str) -> Unit | None:
        return next((u for u in reversed(self.shared) if name in u.names.makes | u.names.may_make), None)

    def _star(self) -> bool:
        return self.step.names.star or any(u.names.star for u in self.shared)

    def _take_star_imports(self) -> None:
        """A star import may give any name: it goes with every step."""
        for unit in self.shared:
            if unit.names.star:
                self._take(unit, (unit.cell, 1))

    def _take_effects(self) -> None:
        """Statements run for their effect go along with what they touch: `pd.set_option` where pandas goes.

        Those that touch the standard library alone (`warnings.filterwarnings`, `random.seed`) always go.
        """
        binding = {n: u for u in self.shared for n in u.names.makes | u.names.may_make}
        again = True
        while again:
            again = False
            for unit in self.shared:
                if id(unit) in self.taken or not (unit.is_effect or self._unused_import(unit)):
                    continue
                used = [binding[n] for n in unit.names.reads if n in binding]
                loose = not used or all(_is_standard(u) for u in used)
                if (unit.is_effect and (loose or any(id(u) in self.taken for u in used))) or (
                    not unit.is_effect and self._package_taken(unit)
                ):
                    self._take(unit, (unit.cell, 1))
                    again = True

    def _unused_import(self, unit: Unit) -> bool:
        """An import that no code of the notebook uses by name is there for its effect."""
        return bool(unit.names.imports) and unit.is_definition and not unit.names.imports & self.used

    def _package_taken(self, unit: Unit) -> bool:
        mine = imported_modules(unit)
        return any(mine & imported_modules(u) for u in self.taken.values())

    def _ancestors(self, names: Iterable[str]) -> set[str]:
        found: set[str] = set()
        todo = list(names)
        while todo:
            name = todo.pop()
            if name not in found:
                found.add(name)
                todo.extend(self.flows[name].upstream)
        return found


def imported_modules(unit: Unit) -> set[str]:
    """The top-level modules that a unit imports."""
    found: set[str] = set()
    for node in (n for top in unit.nodes for n in ast.walk(top)):
        if isinstance(node, ast.Import):
            found.update(a.name.partition(".")[0] for a in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def _is_standard(unit: Unit) -> bool:
    packages = imported_modules(unit)
    return bool(packages) and packages <= sys.stdlib_module_names


def _is_class(unit: Unit, name: str) -> bool:
    return any(isinstance(n, ast.ClassDef) and n.name == name for n in unit.nodes)
