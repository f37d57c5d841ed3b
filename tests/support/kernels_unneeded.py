"""A notebook run whole, and run step by step, without kernels: what each cell prints must be the same.

`assert_same` is the yardstick of the reading. Values travel between steps as the runtime's own pickles.
"""

from __future__ import annotations
import __future__

import ast
import asyncio
import contextlib
import inspect
import io
import pickle
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle

from kaleyard.pipeline import Pipeline
from kaleyard.runtime.contract import RANDOM_STATE
from kaleyard.runtime.exchange.aliases import travelling_together
from kaleyard.runtime.exchange.random_state import random_state, set_random_state
from kaleyard.runtime.serializers.pickling import definitions
from kaleyard.runtime.serializers.pickling import stable_pickle as pickling
from notebook_builder import NotebookCells, load

__all__ = ["assert_same", "kernel", "run_by_steps", "run_whole"]

Printed = dict[int, str]  # by cell number


def assert_same(folder: Path, *cells: NotebookCells) -> Pipeline:
    """The cells' pipeline, once its steps have printed and measured what the whole notebook does."""
    pipeline = load(folder, *cells)
    whole, measured = run_whole(cells, {m for s in pipeline.steps for m in s.metrics})
    steps, told = run_by_steps(pipeline)
    assert steps == {n: text for n, text in whole.items() if n in steps}
    assert told == measured
    return pipeline


def run_whole(cells: tuple[NotebookCells, ...], metrics: set[str]) -> tuple[Printed, dict[str, Any]]:
    """What each cell prints, and the metrics, when the notebook runs from top to bottom in one namespace."""
    printed: Printed = {}
    with kernel() as names:
        for number, (source, told) in enumerate(cells, 1):
            tags = told.split() if isinstance(told, str) else list(told)
            if "markdown" not in tags and "skip" not in tags:
                printed[number] = _execute(source, names)
        return printed, {m: names[m] for m in metrics}


def run_by_steps(pipeline: Pipeline) -> tuple[Printed, dict[str, Any]]:
    """What each of the steps' own cells prints, and the metrics, when every step runs in a namespace of its own."""
    kept: dict[tuple[str, str], tuple[bytes, str | None]] = {}
    printed: Printed = {}
    metrics: dict[str, Any] = {}
    for step in pipeline.steps:
        with kernel() as names:
            names.update({n: v for n, v in pipeline.defaults().items() if n in step.parameters})
            for cell in step.setup:
                _execute(cell.source, names)
            together: dict[bytes, Any] = {}
            late = list(step.late_setup)
            for one in sorted(step.inputs, key=lambda i: (i.name not in step.early, i.name == RANDOM_STATE)):
                if one.name not in step.early:
                    while late:
                        _execute(late.pop(0).source, names)
                if one.name == RANDOM_STATE:
                    set_random_state(pickle.loads(kept[one.step, one.name][0]))
                    continue
                if (one.step, one.name) not in kept and one.optional:
                    continue
                content, name = kept[one.step, one.name]
                if name is None:
                    names[one.name] = pickle.loads(content)
                    continue
                if content not in together:
                    together[content] = pickle.loads(content)
                names[one.name] = together[content][name]
            for cell in late:
                _execute(cell.source, names)
            assert {c.number for c in step.cells}
            for cell in step.cells:
                if cell.kind == "code":
                    printed[cell.number] = printed.get(cell.number, "") + _execute(cell.source, names)
            if step.random_state:
                names[RANDOM_STATE] = random_state(step.random_state)
            for name in step.outputs:
                if name in step.optional and name not in names:
                    continue
                kept[step.name, name] = (pickling.pickled(names[name]), None)
            for group in travelling_together(names, step.together):
                content = pickling.pickled({name: names[name] for name in group})
                kept |= {(step.name, name): (content, name) for name in group}
            metrics |= {m: names[m] for m in step.metrics}
    return printed, metrics


@contextlib.contextmanager
def kernel() -> Iterator[dict[str, Any]]:
    """The names of a `__main__` of its own; what was defined or read in another is as strange as in a new process."""
    module = types.ModuleType("__main__")
    names = vars(module)
    names["display"] = print
    pickling._from_code.cache_clear()
    definitions.LoadedDefinitions.known.clear()
    cloudpickle.cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID.clear()
    cloudpickle.cloudpickle._DYNAMIC_CLASS_TRACKER_BY_CLASS.clear()
    before = sys.modules["__main__"]
    sys.modules["__main__"] = module
    try:
        yield names
    finally:
        sys.modules["__main__"] = before


def _execute(source: str, names: dict[str, Any]) -> str:
    # As in a kernel, what `from __future__` says holds for all cells below.
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | (__future__.annotations.compiler_flag if "annotations" in names else 0)
    code = compile(source, "<cell>", "exec", flags, dont_inherit=True)
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        if code.co_flags & inspect.CO_COROUTINE:
            asyncio.run(eval(code, names))
        else:
            exec(code, names)
    return text.getvalue()
