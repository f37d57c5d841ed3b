"""Which step makes what each step uses, and which definitions travel with it.

The rule is the notebook run from top to bottom: a name means what the last earlier step made of it. Where a step
says `prev:`, steps it comes after are asked first. Functions, classes and imports travel as source; values as data.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace

from kaleyard.analysis.closure import Closure, empty_registry, is_class
from kaleyard.analysis.effects.code_fragments import CodeFragment
from kaleyard.analysis.effects.name_effects import GIVEN, Site
from kaleyard.analysis.effects.scopes import CallEffects
from kaleyard.analysis.process.process_state import ProcessState
from kaleyard.analysis.resolved_steps import ResolvedSteps
from kaleyard.analysis.step_code import Conflict, Missing, StepCode, StepFlow
from kaleyard.runtime.contract import RANDOM_STATE

__all__ = ["resolve"]


def resolve(steps: Sequence[StepCode]) -> dict[str, StepFlow]:
    """Every step's flow, by name; `steps` stand in the notebook's order.

    Undefined and ambiguous names are recorded in the flow, not raised.
    """
    # A step that sets a name on some paths only has to take its earlier value, but only if somebody takes the name
    # from this step; who does is known once every step has been looked at.
    taken = {name: flow.outputs for name, flow in _resolve(steps, None).items()}
    return _resolve(steps, taken)


def _resolve(steps: Sequence[StepCode], taken: Mapping[str, set[str]] | None) -> dict[str, StepFlow]:
    used: dict[str, set[str]] = {}
    done = ResolvedSteps.of(steps)
    for step in steps:
        if step.use not in used:
            used[step.use] = {n for u in step.shared for n in (*u.names.reads, *u.names.maybe_reads)}
        used[step.use].update(step.names.reads, step.names.maybe_reads)
    for step in steps:
        wanted = None if taken is None else taken[step.name]
        done.add(step, _Resolver(step, done, used[step.use]).run(wanted))
    return done.flows


class _Resolver:
    """Finds where one step's names come from; asks for names until no new one is needed."""

    def __init__(self, step: StepCode, done: ResolvedSteps, used: set[str]) -> None:
        self.step = step
        self.done = done
        self.flow = StepFlow()
        self.seen: set[str] = set()
        self.firm: set[str] = set()  # names that are read on every path
        self.todo: deque[tuple[CodeFragment, bool]] = deque()
        # Inputs that code the step carries reads as it runs, with their makers.
        self.fixed: set[tuple[str, str]] = set()
        self.entered: set[str] = set()  # names whose values hold what definitions that go along put into them
        self.inline: set[int] = set()  # shared units that work with what the step's own cells above them make
        self.carried = Closure(step.shared, used, step.units, done.settings[step.use])
        self.process = ProcessState(step, done, self.carried, self.flow)
        told = [p for p in step.prev if p in done.flows]
        self.before = frozenset(told).union(*(done.before[p] for p in told))
        self.start = min(step.cells, default=0)

    def run(self, wanted: set[str] | None) -> StepFlow:
        """The step's flow; `wanted` are the names that later steps may take from it, None if that is not known."""
        names, own = self.step.names, self.step.units
        for name, site in names.reads.items():
            self.need(name, site, certain=True, lazy=name not in names.direct, loose=name in names.loose)
        for name, site in names.maybe_reads.items():
            self.need(name, site, certain=False)
        loose = {*names.may_make, *names.changes} - names.makes
        for name in sorted(loose if wanted is None else loose & wanted):
            self.need(name, names.sites.get(name) or names.changes.get(name) or (0, 1), certain=False)
        for unit in self.carried.always():
            self._take(unit)
        self._expand()
        while effects := [*self.carried.effects(self.start, self.process.is_visible), *self.process.settings_above()]:
            for unit in effects:
                self._take(unit)
            self._expand()
        while remade := [u for u in self.carried.remade(own, self.start, self.seen) if id(u) not in self.inline]:
            for unit in remade:
                self.inline.add(id(unit))
                self._take(unit)
            self._expand()
        self.process.hand_on_random_state()
        self._arrange()
        self.flow.missing = [replace(m, loose=m.name not in self.firm) for m in self.flow.missing]
        self.flow.upstream = {*self.flow.inputs.values(), *(p for p in self.step.prev if p in self.done.flows)}
        return self.flow

    def need(self, name: str, site: Site, *, certain: bool, lazy: bool = False, loose: bool = False) -> None:
        """Find where `name` comes from; a name that is not certainly read is not missed.

        `lazy`: only functions read it, when they are called; `loose`: only a branch does.
        """
        self.firm.update((name,) if certain and not loose else ())
        if name in self.seen:
            return
        self.seen.add(name)
        maker = self._maker(name, site, certain=certain)
        unit = self.carried.maker(name, self.start)
        if maker is not None and unit is not None:
            # A shared cell below the steps that made the name has the last word.
            apart = maker.use != self.step.use
            maker = None if apart or maker.given_in(name) < unit.cell < self.start else maker
        if maker is not None and name in maker.names.deletes:
            if certain and name not in GIVEN:  # a name of Python's own is there again
                self.flow.missing.append(Missing(name, self.step.name, site, lazy, maker.name))
        elif maker is not None:
            if certain:
                self.flow.picked += self.done.picked(maker, name, self.step, site)
            (self.flow.needed if certain and not lazy else self.flow.wanted).add(name)
            self._take_from(maker, name, site)
        elif unit is not None:
            self._take(unit)
        elif name in self.step.parameters:
            self.flow.parameters.add(name)
        elif certain and not (lazy and name in self.step.names.gives) and name not in GIVEN and not self._from_star():
            self.flow.missing.append(Missing(name, self.step.name, site, lazy))
        elif not certain:
            self.seen.discard(name)

    def _maker(self, name: str, site: Site, *, certain: bool) -> StepCode | None:
        candidates = self.done.candidates(name, self.step, self.before)
        if not candidates:
            return None
        undecided = self.done.undecided(name, self.step, candidates, site) if certain else None
        if undecided:
            self.flow.ambiguous.append(undecided)
        return candidates[-1]

    def _take_from(self, maker: StepCode, name: str, site: Site) -> None:
        names = maker.names
        made = [u for u in maker.units if name in u.names.gives]
        as_source = name in names.definitions or name in names.imports
        if as_source and made and all(u.is_definition for u in made):
            for unit in made:
                self._take(unit)
            return
        self._input(name, maker, site)
        for other in (*self.done.flows[maker.name].carried, *maker.units):
            # A value may be of a class that its maker defines or carries: reading it back needs the class.
            if other.is_definition and any(is_class(other, n) for n in other.names.definitions):
                self._take(other, certain=False)

    def _input(self, name: str, maker: StepCode, site: Site) -> None:
        other = self.flow.inputs.setdefault(name, maker.name)
        if other != maker.name:
            self._conflict(name, site, f"it is needed as step {maker.name} makes it and as step {other} does")

    def _conflict(self, name: str, site: Site, what: str) -> None:
        if all(c.name != name for c in self.flow.conflicts):
            self.flow.conflicts.append(Conflict(name, self.step.name, site, what))

    def _take(self, unit: CodeFragment, *, certain: bool = True) -> None:
        """Carry a unit, of an earlier step or of the shared cells."""
        if self.carried.take(unit):
            self.todo.append((unit, certain))
            for name in unit.names.definitions:
                # What steps have put into a class or noted in it since goes along beside its code.
                makers = self.done.makers.get(name, ())
                if is_class(unit, name) and any(name not in m.names.definitions for m in makers):
                    self.need(name, (unit.cell, 1), certain=False)

    def _expand(self) -> None:
        """Find what the code that goes along needs, and what that needs in turn."""
        while self.todo:
            self._needs_of(*self.todo.popleft())

    def _needs_of(self, unit: CodeFragment, certain: bool) -> None:
        owner = self.done.owners.get(id(unit))
        for name, site in unit.names.reads.items():
            self._need_then(name, unit, owner, site, certain=certain)
        for name in sorted({*unit.names.through, *unit.names.changes} - set(unit.names.reads)):
            self._need_then(name, unit, owner, (unit.cell, 1), certain=False)
        for what in unit.names.definitions.values():
            self._need_deferred(what, unit.cell, certain=certain)
        for name, site in unit.names.maybe_reads.items():
            self.need(name, site, certain=False)
        for other in self.carried.companions(unit, self.start):
            self._take(other, certain=certain)

    def _need_deferred(self, what: CallEffects, cell: int, *, certain: bool) -> None:
        own = self.step.names.gives
        for name, line in what.reads.items():
            self.need(name, (cell, line), certain=certain and name not in own, lazy=True, loose=name in what.loose)
        for name in sorted(what.notes):
            self.need(name, (cell, 1), certain=False)

    def _need_then(self, name: str, unit: CodeFragment, owner: StepCode | None, site: Site, *, certain: bool) -> None:
        """Find what `name` was when the unit, which runs again in this step, ran in the notebook."""
        if owner is None and self._is_made_above(name, unit):
            self.inline.add(id(unit))
            return
        if self._is_entered(name, unit, owner):
            return
        maker = self._maker_then(name, unit, owner, site)
        if maker is not None:
            names = maker.names
            if name in names.definitions or name in names.imports:
                self._take_from(maker, name, site)
                return
            self._input(name, maker, site)
            self.fixed.add((name, maker.name))
            return
        before = self.start if owner is None else min(owner.cells, default=0)
        made = self.carried.maker(name, min(unit.cell + 1, before) if owner is None else before, unless=unit)
        if made is not None:
            self._take(made, certain=certain)
        elif name in self.step.parameters:
            self.flow.parameters.add(name)
        elif certain and name not in GIVEN and not self._from_star() and name not in unit.names.gives:
            self.firm.update(() if name in unit.names.loose else (name,))
            self.flow.missing.append(Missing(name, self.step.name, site, name not in unit.names.direct))

    def _is_entered(self, name: str, unit: CodeFragment, owner: StepCode | None) -> bool:
        """Whether the unit is a definition of a step that the value of `name` holds, which is loaded after it then."""
        if owner is None or not unit.is_definition or name not in unit.names.changes:
            return False
        self.need(name, (unit.cell, 1), certain=False)
        taken = self.done.index.get(self.flow.inputs.get(name, ""), -1)
        base = empty_registry(name, self.done.makers.get(name, ()), (*self.done.steps, self.step))
        if base is None or taken < self.done.index[owner.name]:
            return False
        self._take(base)
        self.entered.add(name)
        return True

    def _is_made_above(self, name: str, unit: CodeFragment) -> bool:
        """Whether a cell of this step above a shared cell gives the name, so that the shared cell runs in its place."""
        if not self.start < unit.cell:
            return False
        above = max((u.cell for u in self.step.units if u.cell < unit.cell and name in u.names.gives), default=0)
        made = self.carried.maker(name, unit.cell, unit)
        if made is not None and above < made.cell < unit.cell:
            return id(made) in self.inline
        return above > 0

    def _maker_then(self, name: str, unit: CodeFragment, owner: StepCode | None, site: Site) -> StepCode | None:
        makers = self.done.makers.get(name, ())
        if owner is None:
            # Shared cells run at their own place in the notebook, mostly before every step.
            early = [m for m in makers if m.use == self.step.use and m.gives_above(name, unit.cell)]
            return early[-1] if early else None
        index = self.done.place[id(unit)]
        if any(name in u.names.gives for u in owner.units[:index]):
            gone = name not in owner.names.gives
            alike = len({u.source for u in owner.units if name in u.names.gives and u.names.imports}) == 1
            again = any(name in u.names.gives for u in owner.units[index + 1 :])
            if gone or (again and not (alike and name in owner.names.imports)):
                what = f"code of step {owner.name} uses it before that step {'deletes' if gone else 'changes'} it"
                self._conflict(name, site, what)
            return owner
        early = [m for m in makers if self.done.index[m.name] < self.done.index[owner.name]]
        asked = [m for m in early if m.name in self.done.before[owner.name]]
        return (asked or early or [None])[-1]  # type: ignore[list-item]

    def _from_star(self) -> bool:
        """Whether a star import may give a name that nothing else makes: those of earlier steps go along then."""
        above = [u for step in self.done.steps for u in step.stars]
        for unit in above:
            self._take(unit)
        return bool(above) or self.step.names.star or any(u.names.star for u in self.step.shared)

    def _arrange(self) -> None:
        """Put what is carried in the notebook's order, in two: what runs before the inputs are loaded, and after."""
        late: set[str] = set()
        inline: set[str] = set()
        for unit in self.carried.in_order(self.done.place):
            if id(unit) in self.inline or (unit.cell > self.start and inline & set(unit.names.reads)):
                inline |= unit.names.makes | unit.names.may_make
                self.flow.inline.append(unit)
                continue
            reads = {*unit.names.reads, *(n for n in unit.names.through if n in self.flow.inputs)}
            loaded = {n for n in reads if (n, self.flow.inputs.get(n)) in self.fixed}
            made = unit.names.makes | unit.names.may_make
            seeded = self.process.seeds_after_holder(unit)
            # What has a name anew comes after what had it before.
            if seeded or loaded or late & (made | set(unit.names.reads)):
                late |= made
                self.flow.early |= {RANDOM_STATE} if seeded else loaded
                self.flow.late.append(unit)
                for name in sorted(reads - loaded - late):
                    # A class is the same class, whatever steps have put into it since.
                    own = name in self.entered or any(is_class(u, name) for u in self.carried.taken.values())
                    if name in self.flow.inputs and name in unit.names.reads and not own:
                        what = f"code it carries from cell {unit.cell} uses it as it was before the steps"
                        self._conflict(name, unit.names.reads[name], what)
            else:
                self.flow.setup.append(unit)
        for name in sorted(self.flow.parameters & set(self.flow.inputs)):
            self._conflict(
                name, (0, 1), f"code it carries uses this parameter, and step {self.flow.inputs[name]} sets it"
            )
