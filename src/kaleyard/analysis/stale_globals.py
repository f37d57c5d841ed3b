"""Names that a function inside a value may read, and that mean something else by the time a step takes the value.

A function's code travels inside a list or an object with the globals it reads, as they were when the value was saved.
That it is there cannot be told from the code that calls it, so the step that loads the value is told which names to
look out for.
"""

from __future__ import annotations

import ast
from bisect import bisect_right
from collections.abc import Iterable, Mapping

from kaleyard.analysis.effects.code_fragments import CodeFragment
from kaleyard.analysis.effects.scopes import call_effects
from kaleyard.analysis.step_code import StepCode

__all__ = ["StaleGlobals"]

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


class StaleGlobals:
    """The steps in the notebook's order, with what their functions read and which names they give a value."""

    def __init__(self, code: Mapping[str, StepCode]) -> None:
        self._index = {name: index for index, name in enumerate(code)}
        # The first step by whose end a function can read the name, and the steps that give it another value.
        self._read: dict[str, int] = {}
        self._given: dict[str, list[int]] = {}
        seen: set[int] = set()
        for index, step in enumerate(code.values()):
            for unit in (*step.shared, *step.units):
                if id(unit) not in seen:
                    seen.add(id(unit))
                    for name in _read_later(unit):
                        self._read.setdefault(name, index)
            # An import gives a name what it had before.
            for name in step.names.gives - step.names.imports:
                self._given.setdefault(name, []).append(index)

    def names(self, maker: str, taker: str) -> tuple[str, ...]:
        """What functions in a value of `maker` may read otherwise than `taker` would, sorted."""
        made, taken = self._index[maker], self._index[taker]
        return tuple(sorted(n for n, first in self._read.items() if first <= made and self._last(n, taken) > made))

    def _last(self, name: str, index: int) -> int:
        """The last step up to that one that gives the name a value."""
        given = self._given.get(name, [])
        place = bisect_right(given, index)
        return given[place - 1] if place else -1


def _read_later(unit: CodeFragment) -> Iterable[str]:
    """The globals that the unit's functions and classes read when they are called."""
    todo: list[ast.AST] = list(unit.nodes)
    while todo:
        node = todo.pop()
        if isinstance(node, _FUNCTIONS):
            yield from call_effects(node).reads
        else:
            todo.extend(ast.iter_child_nodes(node))
