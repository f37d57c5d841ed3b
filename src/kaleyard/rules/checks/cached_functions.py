"""The rule about cached functions: a cache belongs to one process and is empty at the start of each step."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence

from kaleyard.analysis.effects.code_fragments import CodeFragment
from kaleyard.analysis.notebook_analysis import NotebookAnalysis
from kaleyard.analysis.process.module_settings import dotted_name
from kaleyard.analysis.step_code import StepCode
from kaleyard.errors import Location
from kaleyard.rules.findings import Finding, Rule

__all__ = ["RULES", "is_cached"]

_CACHE_DECORATORS = frozenset({"cache", "lru_cache"})


class StaleCache(Rule[NotebookAnalysis]):
    """Clear the cache at the start of that step, or call the function in one step only."""

    code = "KY217"
    title = "cached result that a later step does not have"
    why = "A cache belongs to one process: the notebook returns the cached result where the step computes a new one."
    example = (
        ("from functools import cache", "imports"),
        ("rates = [1, 2]\n@cache\ndef total():\n    return sum(rates)\nfirst = total()", "step:load"),
        ("rates.append(3)\nprint(total(), first)", "step:show"),
    )

    def check(self, subject: NotebookAnalysis) -> Iterable[Finding]:
        """Calls of cached functions in later steps after a name they read has changed, and uses of `cache_info`."""
        steps = list(subject.code.values())
        fragments = [(u, step) for step in steps for u in step.units]
        shared = dict.fromkeys(u for step in steps for u in step.shared)
        for fragment in (*shared, *(u for u, _ in fragments)):
            for name, reads in _cached_functions(fragment):
                start = next((index + 1 for index, (u, _) in enumerate(fragments) if u is fragment), 0)
                after = [(index, *fragments[index]) for index in range(start, len(fragments))]
                end = next((index for index, f, _ in after if name in f.names.makes), len(fragments))
                uses = [(index, f, s) for index, f, s in after if index < end and _uses(f, name)]
                yield from self._stale(subject, name, reads, fragments, uses)

    def _stale(
        self,
        subject: NotebookAnalysis,
        name: str,
        reads: set[str],
        fragments: Sequence[tuple[CodeFragment, StepCode]],
        uses: Sequence[tuple[int, CodeFragment, StepCode]],
    ) -> Iterator[Finding]:
        first_step = uses[0][2] if uses else None
        for step in dict.fromkeys(s for _, _, s in uses if s is not first_step):
            own_uses = [(index, fragment) for index, fragment, s in uses if s is step]
            if _clears(own_uses[0][1], name):
                continue  # the cache is empty in the notebook too
            for index, fragment in own_uses:
                between = (u.names.gives for u, _ in fragments[uses[0][0] : index + 1])
                changed = sorted(reads & set[str]().union(*between))
                if changed or _reads_cache_info(fragment, name):
                    assert first_step is not None
                    reason = (
                        f"`{changed[0]}`, which it reads, has changed" if changed else "the step reads `cache_info`"
                    )
                    message = f"the cache of `{name}`, filled by step {first_step.name}, is empty here, and {reason}"
                    advice = f"Start the step with `{name}.cache_clear()`, or call `{name}` in one step only."
                    location = Location(subject.notebook.name, fragment.cell, step.name)
                    yield self.finding(location, message, advice=advice, line=fragment.line)
                    break


def is_cached(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether one of the function's decorators is `cache` or `lru_cache`."""
    decorators = (d.func if isinstance(d, ast.Call) else d for d in function.decorator_list)
    return any(dotted_name(d).rpartition(".")[2] in _CACHE_DECORATORS for d in decorators)


def _cached_functions(fragment: CodeFragment) -> Iterator[tuple[str, set[str]]]:
    """The cached functions that a fragment defines, each with the global names it reads."""
    for node in fragment.nodes:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            effects = fragment.names.definitions.get(node.name)
            if effects and is_cached(node):
                # KY216 reports the names that it changes itself.
                yield node.name, {*effects.reads} - effects.changes - {node.name}


def _uses(fragment: CodeFragment, name: str) -> bool:
    """Whether running the fragment may call the function: a definition alone calls nothing."""
    return not fragment.is_definition and (name in fragment.names.reads or name in fragment.names.through)


def _clears(fragment: CodeFragment, name: str) -> bool:
    first = fragment.nodes[0]
    return (
        isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Call)
        and dotted_name(first.value.func) == f"{name}.cache_clear"
    )


def _reads_cache_info(fragment: CodeFragment, name: str) -> bool:
    nodes = (node for top in fragment.nodes for node in ast.walk(top) if isinstance(node, ast.Attribute))
    return any(node.attr == "cache_info" and dotted_name(node.value) == name for node in nodes)


RULES: tuple[type[Rule[NotebookAnalysis]], ...] = (StaleCache,)
