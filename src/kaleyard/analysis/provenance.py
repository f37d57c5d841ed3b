"""Which packages a value was made with, so that a step that only takes the value has them too.

Reading a DataFrame back needs pandas even in a step that never imports it. A value's packages are those of the
statements that make it, of the values these read, and so on back through the steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kaleyard.analysis.effects.code_fragments import CodeFragment
from kaleyard.analysis.step_code import StepCode, StepFlow

__all__ = ["Provenance"]


class Provenance:
    """The modules behind each step's values."""

    def __init__(self, code: Mapping[str, StepCode], flows: Mapping[str, StepFlow]) -> None:
        self._code = code
        self._flows = flows
        self._known: dict[tuple[str, str], frozenset[str]] = {}

    def modules(self, step: str, name: str) -> frozenset[str]:
        """The top-level modules that the value `name`, made by `step`, was made with."""
        key = (step, name)
        if key not in self._known:
            self._known[key] = frozenset()  # a circle (recursion) adds nothing to itself
            self._known[key] = frozenset(self._find(step, name))
        return self._known[key]

    def _find(self, step: str, name: str) -> Iterable[str]:
        own = (*self._flows[step].carried, *self._code[step].units)
        wanted, todo = set[str](), [name]
        while todo:
            one = todo.pop()
            if one in wanted:
                continue
            wanted.add(one)
            for unit in own:
                if one in unit.names.gives:
                    yield from unit.modules if one in unit.names.imports else ()
                    todo.extend(_reads(unit))
            if one in self._flows[step].inputs:
                yield from self.modules(self._flows[step].inputs[one], one)


def _reads(unit: CodeFragment) -> Iterable[str]:
    yield from unit.names.reads
    yield from unit.names.maybe_reads
    for what in unit.names.definitions.values():
        yield from what.reads
