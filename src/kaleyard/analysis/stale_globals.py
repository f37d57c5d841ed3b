"""Globals of functions inside values that have changed by the time a step loads the value.

A function in a list or an object is saved with the globals it reads, as they were at that time. Reading the code does
not show that the value holds such a function, so the step that loads it gets the names to check.
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
    """What the functions of each step read, and which steps assign each name, in the notebook's order."""

    def __init__(self, code: Mapping[str, StepCode]) -> None:
        self._index = {name: index for index, name in enumerate(code)}
        # By name, the first step with a function that reads it, and the steps that assign it.
        self._first_read: dict[str, int] = {}
        self._assigned: dict[str, list[int]] = {}
        seen: set[int] = set()
        for index, step in enumerate(code.values()):
            for unit in (*step.shared, *step.units):
                if id(unit) not in seen:
                    seen.add(id(unit))
                    for name in _read_later(unit):
                        self._first_read.setdefault(name, index)
            # An import binds a name to the same module again.
            for name in step.names.gives - step.names.imports:
                self._assigned.setdefault(name, []).append(index)

    def names(self, maker: str, consumer: str) -> tuple[str, ...]:
        """The globals that functions in a value of `maker` may read with another value than in `consumer`, sorted."""
        produced, consumed = self._index[maker], self._index[consumer]
        return tuple(
            sorted(
                n for n, first in self._first_read.items() if first <= produced and self._last(n, consumed) > produced
            )
        )

    def _last(self, name: str, index: int) -> int:
        """The last step, up to `index`, that assigns the name; -1 if there is none."""
        steps = self._assigned.get(name, [])
        position = bisect_right(steps, index)
        return steps[position - 1] if position else -1


def _read_later(unit: CodeFragment) -> Iterable[str]:
    """The globals that the unit's functions and classes read when they are called."""
    todo: list[ast.AST] = list(unit.nodes)
    while todo:
        node = todo.pop()
        if isinstance(node, _FUNCTIONS):
            yield from call_effects(node).reads
        else:
            todo.extend(ast.iter_child_nodes(node))
