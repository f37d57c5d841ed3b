"""Which packages a value was made with, so that a step that loads the value has them too.

Loading a DataFrame needs pandas even in a step that never imports it. A value's packages are those of the statements
that make it, of the values that these read, and so on back through the steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kaleyard.analysis.effects.code_fragments import CodeFragment
from kaleyard.analysis.step_code import StepCode, StepFlow

__all__ = ["Provenance"]


class Provenance:
    """Finds the modules that each step's values were made with."""

    def __init__(self, code: Mapping[str, StepCode], flows: Mapping[str, StepFlow]) -> None:
        self._code = code
        self._flows = flows
        self._modules: dict[tuple[str, str], frozenset[str]] = {}

    def modules(self, step: str, name: str) -> frozenset[str]:
        """The top-level modules that the value `name` of `step` was made with."""
        key = (step, name)
        if key not in self._modules:
            self._modules[key] = frozenset()  # ends recursion
            self._modules[key] = frozenset(self._find(step, name))
        return self._modules[key]

    def _find(self, step: str, name: str) -> Iterable[str]:
        units = (*self._flows[step].carried, *self._code[step].units)
        visited, todo = set[str](), [name]
        while todo:
            current = todo.pop()
            if current in visited:
                continue
            visited.add(current)
            for unit in units:
                if current in unit.names.gives:
                    yield from unit.modules if current in unit.names.imports else ()
                    todo.extend(_reads(unit))
            if current in self._flows[step].inputs:
                yield from self.modules(self._flows[step].inputs[current], current)


def _reads(unit: CodeFragment) -> Iterable[str]:
    yield from unit.names.reads
    yield from unit.names.maybe_reads
    for effects in unit.names.definitions.values():
        yield from effects.reads
