"""What a step takes over of its process before: settings that were made, and the state of random numbers."""

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
    """What a step can see of what earlier code did to the process; `flow` is the step's, which it adds to."""

    step: StepCode
    done: ResolvedSteps
    carried: Closure
    flow: StepFlow

    @property
    def settings(self) -> ProcessSettings:
        """What the statements of the step's notebook set."""
        return self.done.settings[self.step.use]

    def settings_above(self) -> list[CodeFragment]:
        """Settings that earlier steps made, and this one can see."""
        above = (pair for pair in self.done.settings_above if not self._is_remade(pair[0]))
        return [u for u, modules in above if not self.carried.has(u) and self.is_visible(modules)]

    def _is_remade(self, unit: CodeFragment) -> bool:
        """Whether a step since has given another value to a name that the unit reads: it cannot run again then."""
        owner = self.done.owners[id(unit)]
        read = {*unit.names.reads, *unit.names.through} - owner.names.imports
        later = self.done.steps[self.done.index[owner.name] + 1 :]
        return any(read & (s.names.gives - s.names.imports) for s in (*later, self.step)) if read else False

    def _modules(self) -> set[str]:
        """The top-level modules that the step's code and the values it takes are of."""
        inputs = (self.done.origins.modules(maker, name) for name, maker in self.flow.inputs.items())
        # What `%load_ext` sets is seen by the magics of extensions.
        extensions = any(uses_extension(u.source) for u in self._units())
        return {m for u in self._units() for m in u.modules}.union({"IPython"} if extensions else (), *inputs)

    def is_visible(self, modules: Collection[str]) -> bool:
        """Whether the step can see what was set in one of these modules."""
        return can_see(self._modules(), modules, self._units(), self.settings)

    def _units(self) -> list[CodeFragment]:
        return [*self.step.units, *self.carried.taken.values()]

    def hand_on_random_state(self) -> None:
        """Take the random state of the last step that had it, if numbers may be drawn here, and hold it then."""
        random, own = self.done.random, self.step.units
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
        """The generators that the step seeds before it does anything else."""
        found = frozenset[str]()
        for unit in self.step.units:
            seeds = self.done.random.seeded_by([unit], self.settings)
            if not seeds and not unit.is_definition and self.settings.modules(unit) is None:
                break
            plain = all(isinstance(node, (ast.Expr, ast.Import, ast.ImportFrom)) for node in unit.nodes)
            found |= seeds if plain else frozenset()
        return found

    def seeds_after_holder(self, unit: CodeFragment) -> bool:
        """Whether the unit of a shared cell seeds a generator below the step whose random state is taken."""
        holder = self.flow.inputs.get(RANDOM_STATE)
        if holder is None or not self.carried.is_shared(unit):
            return False
        above = next(s for s in self.done.steps if s.name == holder)
        below = above.use == self.step.use and unit.cell > above.cells[-1]
        return below and bool(self.done.random.seeded_by([unit], self.settings))
