"""Which step makes what each step uses, and which definitions the step carries.

The model is a run of the notebook from top to bottom: a name has the value that the last earlier step gave it. With
`prev:`, the steps it reaches come first. Functions, classes and imports travel as source, values as data.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from kaleyard.analysis.closure import Closure, empty_registry, is_class
from kaleyard.analysis.effects.code_fragments import CodeFragment
from kaleyard.analysis.effects.name_effects import PREDEFINED, Site
from kaleyard.analysis.effects.scopes import CallEffects
from kaleyard.analysis.process.process_state import ProcessState
from kaleyard.analysis.resolved_steps import ResolvedSteps
from kaleyard.analysis.step_code import Conflict, Missing, StepCode, StepFlow
from kaleyard.runtime.contract import RANDOM_STATE

__all__ = ["resolve"]


def resolve(steps: Sequence[StepCode]) -> dict[str, StepFlow]:
    """Every step's flow, by name; `steps` are in the notebook's order.

    Undefined and ambiguous names are recorded in the flow, not raised.
    """
    # A step that sets a name on some paths only needs its earlier value if a later step takes the name from it.
    # The first pass finds which names later steps take.
    outputs = {name: flow.outputs for name, flow in _resolve(steps, None).items()}
    return _resolve(steps, outputs)


def _resolve(steps: Sequence[StepCode], outputs: Mapping[str, set[str]] | None) -> dict[str, StepFlow]:
    used_names: dict[str, set[str]] = {}
    resolved = ResolvedSteps.of(steps)
    for step in steps:
        if step.use not in used_names:
            used_names[step.use] = {n for u in step.shared for n in (*u.names.reads, *u.names.maybe_reads)}
        used_names[step.use].update(step.names.reads, step.names.maybe_reads)
    for step in steps:
        resolver = _Resolver(step, resolved, used_names[step.use])
        resolved.add(step, resolver.run(None if outputs is None else outputs[step.name]))
    return resolved.flows


class _Resolver:
    """Finds where one step's names come from, until no new name is needed."""

    def __init__(self, step: StepCode, resolved: ResolvedSteps, used_names: set[str]) -> None:
        self.step = step
        self.resolved = resolved
        self.flow = StepFlow()
        self.requested: set[str] = set()
        self.certain: set[str] = set()  # names that are read on every path
        self.todo: deque[tuple[CodeFragment, bool]] = deque()
        # Inputs that carried code reads when it runs, with their makers.
        self.read_at_definition: set[tuple[str, str]] = set()
        self.registries: set[str] = set()  # names whose values hold entries of carried definitions
        self.inline: set[int] = set()  # shared units that use what the step's cells above them make
        self.carried = Closure(step.shared, used_names, step.units, resolved.settings[step.use])
        self.process = ProcessState(step, resolved, self.carried, self.flow)
        self.prev = [p for p in step.prev if p in resolved.flows]
        self.before = frozenset(self.prev).union(*(resolved.before[p] for p in self.prev))
        self.start = min(step.cells, default=0)

    def run(self, wanted: set[str] | None) -> StepFlow:
        """The step's flow; `wanted` are the names that later steps may take from it, None if not yet known."""
        names, own = self.step.names, self.step.units
        for name, site in names.reads.items():
            self.need(name, site, certain=True, lazy=name not in names.direct, loose=name in names.loose)
        for name, site in names.maybe_reads.items():
            self.need(name, site, certain=False)
        loose = {*names.may_make, *names.changes} - names.makes
        for name in sorted(loose if wanted is None else loose & wanted):
            self.need(name, names.sites.get(name) or names.changes.get(name) or (0, 1), certain=False)
        self._take_all(self.carried.always())
        while effects := [*self.carried.effects(self.start, self.process.is_visible), *self.process.settings_above()]:
            self._take_all(effects)
        while remade := [u for u in self.carried.remade(own, self.start, self.requested) if id(u) not in self.inline]:
            self.inline.update(id(u) for u in remade)
            self._take_all(remade)
        self.process.pass_random_state()
        self._order_carried()
        self.flow.missing = [replace(m, loose=m.name not in self.certain) for m in self.flow.missing]
        self.flow.upstream = {*self.flow.inputs.values(), *self.prev}
        return self.flow

    def need(self, name: str, site: Site, *, certain: bool, lazy: bool = False, loose: bool = False) -> None:
        """Find where `name` comes from; only a `certain` read of an undefined name is recorded as missing.

        `lazy`: only functions read it, when they are called; `loose`: only a branch does.
        """
        self.certain.update((name,) if certain and not loose else ())
        if name in self.requested:
            return
        self.requested.add(name)
        maker = self._maker(name, site, certain=certain)
        unit = self.carried.maker(name, self.start)
        if maker is not None and unit is not None:
            # A shared cell below the steps that make the name overrides them.
            elsewhere = maker.use != self.step.use
            maker = None if elsewhere or maker.given_in(name) < unit.cell < self.start else maker
        if maker is not None and name in maker.names.deletes:
            if certain and name not in PREDEFINED:  # a built-in name is visible again
                self.flow.missing.append(Missing(name, self.step.name, site, lazy, maker.name))
        elif maker is not None:
            if certain:
                self.flow.picked += self.resolved.overridden_by_prev(maker, name, self.step, site)
            (self.flow.needed if certain and not lazy else self.flow.wanted).add(name)
            self._take_from(maker, name, site)
        elif unit is not None:
            self._take(unit)
        elif name in self.step.parameters:
            self.flow.parameters.add(name)
        elif certain and not (lazy and name in self.step.names.gives) and self._is_undefined(name):
            self.flow.missing.append(Missing(name, self.step.name, site, lazy))
        elif not certain:
            self.requested.discard(name)

    def _maker(self, name: str, site: Site, *, certain: bool) -> StepCode | None:
        candidates = self.resolved.candidates(name, self.step, self.before)
        if not candidates:
            return None
        ambiguity = self.resolved.ambiguity(name, self.step, candidates, site) if certain else None
        if ambiguity:
            self.flow.ambiguous.append(ambiguity)
        return candidates[-1]

    def _take_from(self, maker: StepCode, name: str, site: Site) -> None:
        names = maker.names
        units = [u for u in maker.units if name in u.names.gives]
        as_source = name in names.definitions or name in names.imports
        if as_source and units and all(u.is_definition for u in units):
            for unit in units:
                self._take(unit)
            return
        self._add_input(name, maker, site)
        for fragment in (*self.resolved.flows[maker.name].carried, *maker.units):
            # Loading a value may need a class that its maker defines or carries.
            if fragment.is_definition and any(is_class(fragment, n) for n in fragment.names.definitions):
                self._take(fragment, certain=False)

    def _add_input(self, name: str, maker: StepCode, site: Site) -> None:
        known_maker = self.flow.inputs.setdefault(name, maker.name)
        if known_maker != maker.name:
            message = f"the step needs its values from both step {maker.name} and step {known_maker}"
            self._add_conflict(name, site, message)

    def _add_conflict(self, name: str, site: Site, message: str) -> None:
        if all(c.name != name for c in self.flow.conflicts):
            self.flow.conflicts.append(Conflict(name, self.step.name, site, message))

    def _take(self, unit: CodeFragment, *, certain: bool = True) -> None:
        """Carry a unit of an earlier step or of a shared cell."""
        if self.carried.take(unit):
            self.todo.append((unit, certain))
            for name in unit.names.definitions:
                # Attributes that steps have set on a class pass as data, besides its code.
                makers = self.resolved.makers.get(name, ())
                if is_class(unit, name) and any(name not in m.names.definitions for m in makers):
                    self.need(name, (unit.cell, 1), certain=False)

    def _take_all(self, units: Iterable[CodeFragment]) -> None:
        """Carry the units and all that they need, directly or through other code."""
        for unit in units:
            self._take(unit)
        while self.todo:
            self._need_names(*self.todo.popleft())

    def _need_names(self, unit: CodeFragment, certain: bool) -> None:
        for name, site in unit.names.reads.items():
            self._need_at_definition(name, unit, site, certain=certain)
        for name in sorted({*unit.names.through, *unit.names.changes} - set(unit.names.reads)):
            self._need_at_definition(name, unit, (unit.cell, 1), certain=False)
        for effects in unit.names.definitions.values():
            self._need_call_effects(effects, unit.cell, certain=certain)
        for name, site in unit.names.maybe_reads.items():
            self.need(name, site, certain=False)
        for companion in self.carried.companions(unit, self.start):
            self._take(companion, certain=certain)

    def _need_call_effects(self, effects: CallEffects, cell: int, *, certain: bool) -> None:
        own = self.step.names.gives
        for name, line in effects.reads.items():
            self.need(name, (cell, line), certain=certain and name not in own, lazy=True, loose=name in effects.loose)
        for name in sorted(effects.notes):
            self.need(name, (cell, 1), certain=False)

    def _need_at_definition(self, name: str, unit: CodeFragment, site: Site, *, certain: bool) -> None:
        """Find the value that `name` had when the unit, which runs again in this step, ran in the notebook."""
        owner = self.resolved.owners.get(id(unit))
        if owner is None and self._is_assigned_above(name, unit):
            self.inline.add(id(unit))
            return
        if self._is_registry_entry(name, unit, owner):
            return
        maker = self._maker_at_definition(name, unit, site)
        if maker is not None:
            names = maker.names
            if name in names.definitions or name in names.imports:
                self._take_from(maker, name, site)
                return
            self._add_input(name, maker, site)
            self.read_at_definition.add((name, maker.name))
            return
        before = self.start if owner is None else min(owner.cells, default=0)
        definition = self.carried.maker(name, min(unit.cell + 1, before) if owner is None else before, unless=unit)
        if definition is not None:
            self._take(definition, certain=certain)
        elif name in self.step.parameters:
            self.flow.parameters.add(name)
        elif certain and self._is_undefined(name) and name not in unit.names.gives:
            self.certain.update(() if name in unit.names.loose else (name,))
            self.flow.missing.append(Missing(name, self.step.name, site, name not in unit.names.direct))

    def _is_registry_entry(self, name: str, unit: CodeFragment, owner: StepCode | None) -> bool:
        """Whether the unit is a definition that adds an entry to the registry `name`, which is then loaded after it."""
        if owner is None or not unit.is_definition or name not in unit.names.changes:
            return False
        self.need(name, (unit.cell, 1), certain=False)
        input_index = self.resolved.index.get(self.flow.inputs.get(name, ""), -1)
        registry = empty_registry(name, self.resolved.makers.get(name, ()), (*self.resolved.steps, self.step))
        if registry is None or input_index < self.resolved.index[owner.name]:
            return False
        self._take(registry)
        self.registries.add(name)
        return True

    def _is_assigned_above(self, name: str, unit: CodeFragment) -> bool:
        """Whether a cell of this step above a shared cell changes the name, so that the shared cell runs in place."""
        if not self.start < unit.cell:
            return False
        above = max((u.cell for u in self.step.units if u.cell < unit.cell and name in u.names.gives), default=0)
        definition = self.carried.maker(name, unit.cell, unit)
        if definition is not None and above < definition.cell < unit.cell:
            return id(definition) in self.inline
        return above > 0

    def _maker_at_definition(self, name: str, unit: CodeFragment, site: Site) -> StepCode | None:
        makers = self.resolved.makers.get(name, ())
        owner = self.resolved.owners.get(id(unit))
        if owner is None:
            # Shared cells run where they are in the notebook, usually before every step.
            earlier = [m for m in makers if m.use == self.step.use and m.gives_above(name, unit.cell)]
            return earlier[-1] if earlier else None
        index = self.resolved.positions[id(unit)]
        if any(name in u.names.gives for u in owner.units[:index]):
            deleted = name not in owner.names.gives
            same_import = len({u.source for u in owner.units if name in u.names.gives and u.names.imports}) == 1
            reassigned = any(name in u.names.gives for u in owner.units[index + 1 :])
            if deleted or (reassigned and not (same_import and name in owner.names.imports)):
                verb = "deletes" if deleted else "changes"
                self._add_conflict(name, site, f"carried code of step {owner.name} uses it before that step {verb} it")
            return owner
        earlier = [m for m in makers if self.resolved.index[m.name] < self.resolved.index[owner.name]]
        reached = [m for m in earlier if m.name in self.resolved.before[owner.name]]
        return (reached or earlier or [None])[-1]  # type: ignore[list-item]

    def _is_undefined(self, name: str) -> bool:
        """Whether neither Python nor a star import may define the name; carries star imports of earlier steps."""
        if name in PREDEFINED:
            return False
        above = [u for step in self.resolved.steps for u in step.stars]
        for unit in above:
            self._take(unit)
        return not (above or self.step.names.star or any(u.names.star for u in self.step.shared))

    def _order_carried(self) -> None:
        """Split the carried units, in the notebook's order, into those that run before inputs are loaded and after."""
        late: set[str] = set()
        inline: set[str] = set()
        for unit in self.carried.in_order(self.resolved.positions):
            if id(unit) in self.inline or (unit.cell > self.start and inline & set(unit.names.reads)):
                inline |= unit.names.makes | unit.names.may_make
                self.flow.inline.append(unit)
                continue
            reads = {*unit.names.reads, *(n for n in unit.names.through if n in self.flow.inputs)}
            loaded = {n for n in reads if (n, self.flow.inputs.get(n)) in self.read_at_definition}
            bound = unit.names.makes | unit.names.may_make
            seeded = self.process.seeds_after_holder(unit)
            # A unit that rebinds a name runs after the unit that bound it.
            if seeded or loaded or late & (bound | set(unit.names.reads)):
                late |= bound
                self.flow.early |= {RANDOM_STATE} if seeded else loaded
                self.flow.late.append(unit)
                for name in sorted(reads - loaded - late):
                    # A class stays the same class when steps set attributes on it.
                    same_class = name in self.registries or any(is_class(u, name) for u in self.carried.taken.values())
                    if name in self.flow.inputs and name in unit.names.reads and not same_class:
                        message = f"carried code of cell {unit.cell} uses its value from before the steps"
                        self._add_conflict(name, unit.names.reads[name], message)
            else:
                self.flow.setup.append(unit)
        for name in sorted(self.flow.parameters & set(self.flow.inputs)):
            message = f"carried code uses this parameter, but step {self.flow.inputs[name]} changes it"
            self._add_conflict(name, (0, 1), message)
