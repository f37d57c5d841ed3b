"""A notebook run whole, and run step by step, without kernels: what each cell prints must be the same.

`assert_same` is the yardstick of the reading. Values travel between steps as pickles, and definitions of the
notebook in them are looked up where they arrive, as the runtime does.
"""

from __future__ import annotations
import __future__

import ast
import asyncio
import contextlib
import inspect
import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cloudpickle

from kaleyard.pipeline import Pipeline
from notebook_builder import NotebookCells, load

__all__ = ["assert_same", "run_by_steps", "run_whole"]

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
    names = _namespace()
    printed: Printed = {}
    for number, (source, told) in enumerate(cells, 1):
        tags = told.split() if isinstance(told, str) else list(told)
        if "markdown" not in tags and "skip" not in tags:
            printed[number] = _execute(source, names)
    return printed, {m: names[m] for m in metrics}


def run_by_steps(pipeline: Pipeline) -> tuple[Printed, dict[str, Any]]:
    """What each of the steps' own cells prints, and the metrics, when every step runs in a namespace of its own."""
    kept: dict[tuple[str, str], bytes] = {}
    printed: Printed = {}
    metrics: dict[str, Any] = {}
    for step in pipeline.steps:
        names = _namespace()
        names.update({n: v for n, v in pipeline.defaults().items() if n in step.parameters})
        for cell in step.setup:
            _execute(cell.source, names)
        for one in step.inputs:
            names[one.name] = _read(kept[one.step, one.name], names)
        own = {c.number for c in step.cells}
        for cell in step.cells:
            if cell.kind == "code":
                printed[cell.number] = printed.get(cell.number, "") + _execute(cell.source, names)
        assert own
        for name in step.outputs:
            kept[step.name, name] = _written(names[name])
        metrics |= {m: names[m] for m in step.metrics}
    return printed, metrics


def _namespace() -> dict[str, Any]:
    return {"__name__": "__main__", "display": print}


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


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    def persistent_id(self, value: Any) -> Any:
        if isinstance(value, type) or inspect.isfunction(value):
            ours = value.__module__ == "__main__" and "<" not in value.__qualname__
            return (value.__qualname__, cloudpickle.dumps(value)) if ours else None
        return None


class _Unpickler(pickle.Unpickler):
    names: Mapping[str, Any]

    def persistent_load(self, told: Any) -> Any:
        name, code = told
        found = self.names.get(name)
        return found if found is not None and found.__qualname__ == name else pickle.loads(code)


def _written(value: Any) -> bytes:
    file = io.BytesIO()
    _Pickler(file).dump(value)
    return file.getvalue()


def _read(content: bytes, names: Mapping[str, Any]) -> Any:
    reader = _Unpickler(io.BytesIO(content))
    reader.names = names
    return reader.load()
