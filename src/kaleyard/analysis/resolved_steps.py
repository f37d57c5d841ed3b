"""The steps resolved so far: which step made each name last, and which steps run before which."""

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

# Modules that seeding sets. A statement that only seeds is not run again: generator states pass between steps.
_SEEDED = frozenset({"numpy", "random", "torch"})


@dataclass(slots=True)
class ResolvedSteps:
    """The resolved steps, in the notebook's order.

    - `before`: for each step, all steps that have finished when it starts.
    - `makers`: for each name, the steps that change its value or delete it.
    - `owners` and `positions`: for each unit, its step and its index there.
    - `settings`: for each use of a notebook, what its statements set in modules.
    - `settings_above`: the statements of the resolved steps that set something, with the modules.
    """

    flows: dict[str, StepFlow] = field(default_factory=dict)
    before: dict[str, frozenset[str]] = field(default_factory=dict)
    makers: dict[str, list[StepCode]] = field(default_factory=dict)
    index: dict[str, int] = field(default_factory=dict)
    owners: dict[int, StepCode] = field(default_factory=dict)
    positions: dict[int, int] = field(default_factory=dict)
    steps: list[StepCode] = field(default_factory=list)
    settings: dict[str, ProcessSettings] = field(default_factory=dict)
    settings_above: list[tuple[CodeFragment, frozenset[str]]] = field(default_factory=list)
    random: RandomStates = field(default_factory=RandomStates)
    origins: Provenance = field(default_factory=lambda: Provenance({}, {}))

    @classmethod
    def of(cls, steps: Sequence[StepCode]) -> ResolvedSteps:
        """No step resolved yet, but with the units of all of `steps`."""
        resolved = cls()
        units: dict[str, dict[int, CodeFragment]] = {}
        for step in steps:
            if step.use not in units:
                resolved.positions |= {id(u): position for position, u in enumerate(step.shared)}
            units.setdefault(step.use, {}).update({id(u): u for u in (*step.shared, *step.units)})
        resolved.settings = {use: ProcessSettings(notebook_units.values()) for use, notebook_units in units.items()}
        resolved.origins = Provenance({step.name: step for step in steps}, resolved.flows)
        return resolved

    def add(self, step: StepCode, flow: StepFlow) -> None:
        """Add a resolved step."""
        self.flows[step.name] = flow
        self.before[step.name] = frozenset(flow.upstream).union(*(self.before[n] for n in flow.upstream))
        self.index[step.name] = len(self.index)
        self.steps.append(step)
        for name, maker in flow.inputs.items():
            self.flows[maker].outputs.add(name)
        for name in step.names.gives | step.names.deletes:
            self.makers.setdefault(name, []).append(step)
        for position, unit in enumerate(step.units):
            self.owners[id(unit)], self.positions[id(unit)] = step, position
        self.settings_above += self._settings_of(step)

    def _settings_of(self, step: StepCode) -> Iterator[tuple[CodeFragment, frozenset[str]]]:
        """The statements of the step that only set something in modules and can run again, with these modules."""
        settings = self.settings[step.use]
        for index, unit in enumerate(step.units):
            modules = settings.modules(unit)
            if modules is None or (modules <= _SEEDED and any(settings.seeds(node) for node in unit.nodes)):
                continue
            made_above = {n for u in step.units[:index] for n in u.names.gives}
            remade_below = {n for u in step.units[index + 1 :] for n in u.names.gives} | step.names.deletes
            # A value that the step changes or deletes below is gone when the statement runs again.
            if not made_above & remade_below & {*unit.names.reads, *unit.names.through}:
                yield unit, modules

    def candidates(self, name: str, step: StepCode, before: frozenset[str]) -> Sequence[StepCode]:
        """The steps that may be the maker of a name: those that `prev:` reaches, else those of the same notebook."""
        makers = self.makers.get(name, ())
        reached = [m for m in makers if m.name in before]
        same_notebook = [m for m in makers if m.use == step.use]
        return reached or same_notebook or makers

    def ambiguity(self, name: str, step: StepCode, candidates: Sequence[StepCode], site: Site) -> Ambiguous | None:
        """The parallel steps that make a name, if `prev:` lists several of them; else None.

        Without `prev:` the notebook's order decides: the last step above makes the name.
        """
        last = candidates[-1]
        reached = [{p} | self.before[p] for p in step.prev if p in self.before]
        parallel = [
            m.name
            for m in candidates
            if m is not last
            and m.name not in self.before[last.name]
            and any(m.name in r for r in reached)
            and not any(m.name in r and last.name in r for r in reached)
        ]
        return Ambiguous(name, step.name, (*parallel, last.name), site) if parallel else None

    def overridden_by_prev(self, maker: StepCode, name: str, step: StepCode, site: Site) -> list[Ambiguous]:
        """The maker that `prev:` selects, with a later one that it overrides, if there is one."""
        makers = [m for m in self.makers[name] if m.use == step.use]
        below = makers[makers.index(maker) + 1 :] if maker in makers else []
        # A change in place is the same value, and KY209 reports it.
        later = [m for m in below if name in m.names.makes | m.names.may_make]
        if not later or self.makes_same_value(maker, later[-1], name):
            return []
        return [Ambiguous(name, step.name, (maker.name, later[-1].name), site)]

    def makes_same_value(self, first: StepCode, second: StepCode, name: str) -> bool:
        """Whether two steps make a name by the same code from the same values: imports, functions, `x = rows`."""
        first_units, second_units = ([u for u in s.units if name in u.names.gives] for s in (first, second))
        if [u.source for u in first_units] != [u.source for u in second_units]:
            return False
        inputs = [self.flows[s.name].inputs for s in (first, second)]
        read = {n for u in (*first_units, *second_units) for n in u.names.reads}
        overlap = (first.names.gives | second.names.gives) & read
        same = not overlap and all(inputs[0].get(n) == inputs[1].get(n) for n in read)
        return all(u.is_definition or (same and not _calls(u)) for u in first_units)


def _calls(unit: CodeFragment) -> bool:
    """Whether the unit calls something, which may return a different value each time."""
    return any(isinstance(n, (ast.Call, ast.Await)) for node in unit.nodes for n in ast.walk(node))
