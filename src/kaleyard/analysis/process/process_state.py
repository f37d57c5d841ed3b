"""What earlier code leaves in a step's process: module settings, and the state of random generators."""

from __future__ import annotations

import ast
from collections.abc import Collection
from dataclasses import dataclass

from kaleyard.analysis.closure import Closure
from kaleyard.analysis.effects.code_fragments import CodeFragment
from kaleyard.analysis.process.module_settings import ProcessSettings
from kaleyard.analysis.process.random_draws import can_see, may_draw
from kaleyard.analysis.resolved_steps import ResolvedSteps
from kaleyard.analysis.step_code import StepCode, StepFlow
from kaleyard.notebook.magics import uses_extension
from kaleyard.runtime.contract import RANDOM_STATE

__all__ = ["ProcessState"]


@dataclass(slots=True)
class ProcessState:
    """The changes of the process that a step can see; adds what they require to the step's `flow`."""

    step: StepCode
    resolved: ResolvedSteps
    carried: Closure
    flow: StepFlow

    @property
    def settings(self) -> ProcessSettings:
        """The settings that the step's notebook makes."""
        return self.resolved.settings[self.step.use]

    def settings_above(self) -> list[CodeFragment]:
        """The settings of earlier steps that this step can see and does not carry yet."""
        above = (pair for pair in self.resolved.settings_above if not self._is_stale(pair[0]))
        return [u for u, modules in above if not self.carried.has(u) and self.is_visible(modules)]

    def _is_stale(self, unit: CodeFragment) -> bool:
        """Whether a later step has changed a name that the unit reads, so that it cannot run again."""
        owner = self.resolved.owners[id(unit)]
        read = {*unit.names.reads, *unit.names.through} - owner.names.imports
        later_steps = self.resolved.steps[self.resolved.index[owner.name] + 1 :]
        return any(read & (s.names.gives - s.names.imports) for s in (*later_steps, self.step)) if read else False

    def _modules(self) -> set[str]:
        """The top-level modules that the step's code and its inputs use."""
        inputs = (self.resolved.origins.modules(maker, name) for name, maker in self.flow.inputs.items())
        # Magics of extensions see the settings of `%load_ext`.
        extensions = any(uses_extension(u.source) for u in self._units())
        return {m for u in self._units() for m in u.modules}.union({"IPython"} if extensions else (), *inputs)

    def is_visible(self, modules: Collection[str]) -> bool:
        """Whether the step can see settings of one of these modules."""
        return can_see(self._modules(), modules, self._units(), self.settings)

    def _units(self) -> list[CodeFragment]:
        return [*self.step.units, *self.carried.taken.values()]

    def pass_random_state(self) -> None:
        """Load the random state of the last step that saved it, if this step may draw numbers, and save it again."""
        random, own = self.resolved.random, self.step.units
        above = [u for u in self.step.shared if u.cell < min(self.step.cells, default=0)]
        random.kinds |= random.seeded_by(above, self.settings)
        before = frozenset(random.kinds)
        seeds = random.seeded_by(own, self.settings)
        random.kinds |= seeds
        draws = may_draw(self._modules(), self._units(), self.settings)
        if not random.kinds or not (draws or seeds):
            return
        if random.holder is not None and not before <= self._seeded_first():
            self.flow.inputs[RANDOM_STATE] = random.holder.name
        random.holder, self.flow.random_state = self.step, tuple(sorted(random.kinds))

    def _seeded_first(self) -> frozenset[str]:
        """The generators that the step seeds before anything else."""
        seeded = frozenset[str]()
        for unit in self.step.units:
            seeds = self.resolved.random.seeded_by([unit], self.settings)
            if not seeds and not unit.is_definition and self.settings.modules(unit) is None:
                break
            plain = all(isinstance(node, (ast.Expr, ast.Import, ast.ImportFrom)) for node in unit.nodes)
            seeded |= seeds if plain else frozenset()
        return seeded

    def seeds_after_holder(self, unit: CodeFragment) -> bool:
        """Whether the shared unit seeds a generator below the step whose random state is loaded."""
        holder = self.flow.inputs.get(RANDOM_STATE)
        if holder is None or not self.carried.is_shared(unit):
            return False
        above = next(s for s in self.resolved.steps if s.name == holder)
        below = above.use == self.step.use and unit.cell > above.cells[-1]
        return below and bool(self.resolved.random.seeded_by([unit], self.settings))
