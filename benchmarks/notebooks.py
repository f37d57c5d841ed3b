"""Notebooks made of a workload, and what can be read from them once they have run."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.workloads import Step, Work

__all__ = [
    "Cell",
    "assignments",
    "printed",
    "sources",
    "step_cells",
    "tagged_cells",
    "write_notebook",
    "written_metric",
]

# A cell's code and its tags.
Cell = tuple[str, Sequence[str]]


def write_notebook(path: Path, cells: Iterable[Cell]) -> Path:
    """The path of a notebook of these code cells, written."""
    made = [
        {
            "cell_type": "code",
            "execution_count": None,
            "id": f"cell-{number}",
            "metadata": {"tags": list(tags)} if tags else {},
            "outputs": [],
            "source": source.splitlines(keepends=True),
        }
        for number, (source, tags) in enumerate(cells, 1)
    ]
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    whole = {"cells": made, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    return path


def assignments(values: dict[str, Any]) -> str:
    """A line `NAME = literal` for each value."""
    return "\n".join(f"{name} = {value!r}" for name, value in values.items())


def sources(work: Work) -> list[str]:
    """The code of the whole work, a text for each cell."""
    return [work.imports, assignments(dict(work.parameters)), work.functions, *(s.source for s in work.steps)]


def tagged_cells(work: Work, *, order: bool) -> list[Cell]:
    """The whole work with Kale's tags; with `order` each step also names the steps before it, which Kale needs."""
    imports, parameters, functions, *_ = sources(work)
    cells: list[Cell] = [(imports, ["imports"]), (parameters, ["pipeline-parameters"]), (functions, ["functions"])]
    for step in work.steps:
        before = [f"prev:{name}" for name in work.upstream(step)] if order else []
        cells.append((step.source, [f"step:{step.name}", *before]))
    return [*cells, (f"print({work.metric})", ["pipeline-metrics"])]


def step_cells(work: Work, step: Step, head: str, load: Callable[[str], str], save: Callable[[str], str]) -> list[Cell]:
    """One step as a notebook of its own: `head` holds its parameters, values come from files and go to files.

    `load` and `save` give the expression that names a value's file.
    """
    loads = "\n".join(["import joblib", *(f"{name} = joblib.load({load(name)})" for name in step.takes)])
    saves = "\n".join(f"joblib.dump({name}, {save(name)})" for name in step.makes)
    code = [work.imports, work.functions, loads, step.source, saves or "pass"]
    return [(head, ["parameters"]), *((source, ()) for source in code)]


def printed(text: str, name: str) -> float:
    """The value that was last printed as a line `NAME VALUE`. Raises ValueError if there is none."""
    found = re.findall(rf"^{re.escape(name)} (\S+)$", text, flags=re.MULTILINE)
    if not found:
        raise ValueError(f"nothing printed {name}")
    return float(found[-1])


def written_metric(path: Path, name: str) -> float:
    """The metric that an executed notebook's cells printed. Raises ValueError if they did not."""
    outputs = (output for cell in _cells(path) for output in cell["outputs"])
    return printed("".join("".join(o["text"]) for o in outputs if o["output_type"] == "stream"), name)


def _cells(path: Path) -> list[dict[str, Any]]:
    cells: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return cells
