"""The steps whose names are resolved so far: which step made a name last, and which steps come before which."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from kaleyard.analysis.effects.code_fragments import CodeFragment
from kaleyard.analysis.effects.name_effects import Site
from kaleyard.analysis.process.module_settings import ProcessSettings
from kaleyard.analysis.process.random_draws import RandomStates
from kaleyard.analysis.provenance import Provenance
from kaleyard.analysis.step_code import Ambiguous, StepCode, StepFlow

__all__ = ["ResolvedSteps"]

# What a statement that does nothing but seed touches: the state of the generators travels.
_SEEDED = frozenset({"numpy", "random", "torch"})


@dataclass(slots=True)
class ResolvedSteps:
    """The resolved steps, in the notebook's order.

    `before` has for each step all steps that are done when it starts; `makers` has for each name the steps that give
    it a value or delete it; `owners` and `place` tell of each unit whose it is and where it stands there.
    `settings` tells by the use of a notebook what its statements set in modules, `settings_above` has the statements
    of the resolved steps that set something, with the modules.
    """

    flows: dict[str, StepFlow] = field(default_factory=dict)
    before: dict[str, frozenset[str]] = field(default_factory=dict)
    makers: dict[str, list[StepCode]] = field(default_factory=dict)
    index: dict[str, int] = field(default_factory=dict)
    owners: dict[int, StepCode] = field(default_factory=dict)
    place: dict[int, int] = field(default_factory=dict)
    steps: list[StepCode] = field(default_factory=list)
    settings: dict[str, ProcessSettings] = field(default_factory=dict)
    settings_above: list[tuple[CodeFragment, frozenset[str]]] = field(default_factory=list)
    random: RandomStates = field(default_factory=RandomStates)
    origins: Provenance = field(default_factory=lambda: Provenance({}, {}))

    @classmethod
    def of(cls, steps: Sequence[StepCode]) -> ResolvedSteps:
        """None resolved yet; what stands in the cells of all of them is known."""
        done = cls()
        units: dict[str, dict[int, CodeFragment]] = {}
        for step in steps:
            if step.use not in units:
                done.place |= {id(u): place for place, u in enumerate(step.shared)}
            units.setdefault(step.use, {}).update({id(u): u for u in (*step.shared, *step.units)})
        done.settings = {use: ProcessSettings(found.values()) for use, found in units.items()}
        done.origins = Provenance({step.name: step for step in steps}, done.flows)
        return done

    def add(self, step: StepCode, flow: StepFlow) -> None:
        """One step more."""
        self.flows[step.name] = flow
        self.before[step.name] = frozenset(flow.upstream).union(*(self.before[n] for n in flow.upstream))
        self.index[step.name] = len(self.index)
        self.steps.append(step)
        for name, maker in flow.inputs.items():
            self.flows[maker].outputs.add(name)
        for name in step.names.gives | step.names.deletes:
            self.makers.setdefault(name, []).append(step)
        for place, unit in enumerate(step.units):
            self.owners[id(unit)], self.place[id(unit)] = step, place
        self.settings_above += self._settings_of(step)

    def _settings_of(self, step: StepCode) -> Iterator[tuple[CodeFragment, frozenset[str]]]:
        """The statements of the step that set something in modules and can run again later, with these modules."""
        settings = self.settings[step.use]
        for index, unit in enumerate(step.units):
            modules = settings.modules(unit)
            if modules is None or (modules <= _SEEDED and any(settings.seeds(node) for node in unit.nodes)):
                continue
            made = {n for u in step.units[:index] for n in u.names.gives}
            again = {n for u in step.units[index + 1 :] for n in u.names.gives} | step.names.deletes
            # A value that the step changes or deletes below is not there any more when the statement runs again.
            if not made & again & {*unit.names.reads, *unit.names.through}:
                yield unit, modules

    def candidates(self, name: str, step: StepCode, before: frozenset[str]) -> Sequence[StepCode]:
        """The steps among which the maker of a name is: those its `prev:` reaches, else those of its own notebook."""
        makers = self.makers.get(name, ())
        asked = [m for m in makers if m.name in before]
        near = [m for m in makers if m.use == step.use]
        return asked or near or makers

    def undecided(self, name: str, step: StepCode, candidates: Sequence[StepCode], site: Site) -> Ambiguous | None:
        """The steps that make a name side by side, where `prev:` names several of them and so decides nothing.

        Without `prev:` the notebook's order decides: the last step above counts.
        """
        last = candidates[-1]
        reached = [{p} | self.before[p] for p in step.prev if p in self.before]
        beside = [
            m.name
            for m in candidates
            if m is not last
            and m.name not in self.before[last.name]
            and any(m.name in r for r in reached)
            and not any(m.name in r and last.name in r for r in reached)
        ]
        return Ambiguous(name, step.name, (*beside, last.name), site) if beside else None

    def picked(self, maker: StepCode, name: str, step: StepCode, site: Site) -> list[Ambiguous]:
        """Tells of a maker that `prev:` has chosen over one that stands below it."""
        ours = [m for m in self.makers[name] if m.use == step.use]
        below = ours[ours.index(maker) + 1 :] if maker in ours else []
        # What is only changed in place is no other value, and KY209 tells of it.
        anew = [m for m in below if name in m.names.makes | m.names.may_make]
        if not anew or self.alike(maker, anew[-1], name):
            return []
        return [Ambiguous(name, step.name, (maker.name, anew[-1].name), site)]

    def alike(self, one: StepCode, other: StepCode, name: str) -> bool:
        """Whether two steps make a name by the same words of the same values: imports, functions, `x = rows`."""
        first, second = ([u for u in s.units if name in u.names.gives] for s in (one, other))
        if [u.source for u in first] != [u.source for u in second]:
            return False
        inputs = [self.flows[s.name].inputs for s in (one, other)]
        read = {n for u in (*first, *second) for n in u.names.reads}
        own = (one.names.gives | other.names.gives) & read
        same = not own and all(inputs[0].get(n) == inputs[1].get(n) for n in read)
        return all(u.is_definition or (same and not _calls(u)) for u in first)


def _calls(unit: CodeFragment) -> bool:
    """Whether the unit calls something, which may give another value each time."""
    return any(isinstance(n, (ast.Call, ast.Await)) for node in unit.nodes for n in ast.walk(node))
