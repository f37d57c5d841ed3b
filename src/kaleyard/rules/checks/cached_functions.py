"""The rule about functions with a cache: it lives in one process and begins empty in each step."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence

from kaleyard.analysis.effects.code_fragments import CodeFragment
from kaleyard.analysis.notebook_analysis import NotebookAnalysis
from kaleyard.analysis.process.module_settings import dotted_name
from kaleyard.analysis.step_code import StepCode
from kaleyard.errors import Location
from kaleyard.rules.findings import Finding, Rule

__all__ = ["RULES"]

_CACHING = frozenset({"cache", "lru_cache"})


class StaleCache(Rule[NotebookAnalysis]):
    """Clear the cache first in that step, or call the function in one step only: a cache lives in one process."""

    code = "KY217"
    title = "function whose cache an earlier step has filled, where the notebook would have the cached result"
    example = (
        ("from functools import cache", "imports"),
        ("rates = [1, 2]\n@cache\ndef total():\n    return sum(rates)\nfirst = total()", "step:load"),
        ("rates.append(3)\nprint(total(), first)", "step:show"),
    )

    def check(self, subject: NotebookAnalysis) -> Iterable[Finding]:
        """Calls of a cached function in a later step after a name that it reads has changed, and its `cache_info`."""
        steps = list(subject.code.values())
        units = [(u, step) for step in steps for u in step.units]
        shared = dict.fromkeys(u for step in steps for u in step.shared)
        for unit in (*shared, *(u for u, _ in units)):
            for name, reads in _cached_functions(unit):
                start = next((index + 1 for index, (u, _) in enumerate(units) if u is unit), 0)
                again = (index for index, (u, _) in enumerate(units) if index >= start and name in u.names.makes)
                end = next(again, len(units))
                uses = [(index, u, s) for index, (u, s) in enumerate(units[:end]) if index >= start and _uses(u, name)]
                yield from self._stale(subject, name, reads, units, uses)

    def _stale(
        self,
        subject: NotebookAnalysis,
        name: str,
        reads: set[str],
        units: Sequence[tuple[CodeFragment, StepCode]],
        uses: Sequence[tuple[int, CodeFragment, StepCode]],
    ) -> Iterator[Finding]:
        first_step = uses[0][2] if uses else None
        for step in dict.fromkeys(s for _, _, s in uses if s is not first_step):
            here = [(index, unit) for index, unit, s in uses if s is step]
            if _clears(here[0][1], name):
                continue  # it begins empty in the notebook too
            for index, unit in here:
                between = (u.names.gives for u, _ in units[uses[0][0] : index + 1])
                changed = sorted(reads & set[str]().union(*between))
                if changed or _looks_into(unit, name):
                    why = f"reads `{changed[0]}`, which has changed since" if changed else "is asked for its cache"
                    assert first_step is not None
                    what = f"`{name}` {why}, and its cache is empty here: step {first_step.name} has filled its own"
                    advice = f"Begin the step with `{name}.cache_clear()`, or call `{name}` in one step only."
                    place = Location(subject.notebook.name, unit.cell, step.name)
                    yield self.found(place, what, advice=advice, line=unit.line)
                    break


def _cached_functions(unit: CodeFragment) -> Iterator[tuple[str, set[str]]]:
    """The cached functions that a unit defines, each with the names around it that it reads."""
    for node in unit.nodes:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            marks = (d.func if isinstance(d, ast.Call) else d for d in node.decorator_list)
            what = unit.names.definitions.get(node.name)
            if what and any(dotted_name(m).rpartition(".")[2] in _CACHING for m in marks):
                # What it changes itself is another rule's.
                yield node.name, {*what.reads} - what.changes - {node.name}


def _uses(unit: CodeFragment, name: str) -> bool:
    """Whether running the unit may call the function: a definition alone calls nothing."""
    return not unit.is_definition and (name in unit.names.reads or name in unit.names.through)


def _clears(unit: CodeFragment, name: str) -> bool:
    first = unit.nodes[0]
    return (
        isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Call)
        and dotted_name(first.value.func) == f"{name}.cache_clear"
    )


def _looks_into(unit: CodeFragment, name: str) -> bool:
    nodes = (node for top in unit.nodes for node in ast.walk(top) if isinstance(node, ast.Attribute))
    return any(node.attr == "cache_info" and dotted_name(node.value) == name for node in nodes)


RULES: tuple[type[Rule[NotebookAnalysis]], ...] = (StaleCache,)
