"""One step's cells as a notebook that papermill runs: parameters, setup, load, the user's cells, save.

The bytes depend on nothing but the step: they are part of its content key, and the same in a process, a container
and a pod.
"""

from __future__ import annotations

import json
from typing import Any

from kaleyard.pipeline import Input, Pipeline, Step
from kaleyard.runtime.contract import METADATA, RANDOM_STATE

__all__ = ["cell_numbers", "code_only", "step_notebook"]

_IMPORT = "from kaleyard.runtime import values as _kaleyard_values"


def step_notebook(pipeline: Pipeline, step: Step) -> bytes:
    """The step's notebook, format 4.5, as UTF-8 JSON with a final newline."""
    types = {p.name: p for p in pipeline.parameters}
    cells = []
    if step.parameters:
        lines = [f"{n} = {types[n].default!r}" for n in step.parameters]
        cells.append(_cell("parameters", lines, role="parameters", tags=["parameters"]))
    cells += [_cell(f"setup-{n}", [c.source], role="setup") for n, c in enumerate(step.setup, 1)]
    if step.inputs or step.remade:
        lines = [_IMPORT, "", *(_load(i) for i in step.inputs if i.name != RANDOM_STATE)]
        lines += ["_kaleyard_values.note_remade(globals())"] if step.remade else []
        if any(i.name == RANDOM_STATE for i in step.inputs):
            lines.append("_kaleyard_values.load_random_state()")
        cells.append(_cell("load", lines, role="load"))
    cells += [_cell(f"cell-{n}", [c.source], role="user", kind=c.kind) for n, c in enumerate(step.cells, 1)]
    # First: keeping a value may draw numbers.
    lines = [f"_kaleyard_values.save_random_state({list(step.random_state)!r})"] if step.random_state else []
    lines += [f"_kaleyard_values.save({name!r}, {name})" for name in step.outputs if name != RANDOM_STATE]
    lines += [f"_kaleyard_values.metric({name!r}, {name})" for name in step.metrics]
    if len(step.outputs) > 1:
        lines.append(f"_kaleyard_values.note_shared({', '.join(repr(list(names)) for names in step.together)})")
    if step.inputs or step.remade:
        lines.append("_kaleyard_values.check_inputs(globals())")
    if lines:
        cells.append(_cell("save", [_IMPORT, "", *lines], role="save"))
    notebook = {
        "cells": cells,
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
            METADATA: _interface(pipeline, step),
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return (json.dumps(notebook, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def code_only(notebook: bytes) -> bytes:
    """What counts of a step notebook in a content key: the code, and what it takes and gives.

    Prose does not, so that better words rebuild and re-run nothing; nor do the defaults of parameters, whose values
    every run hands over.
    """
    data = json.loads(notebook)
    told = data["metadata"][METADATA]
    told["parameters"] = {name: p["type"] for name, p in told["parameters"].items()}
    code = [c for c in data["cells"] if c["cell_type"] == "code" and c["metadata"][METADATA]["role"] != "parameters"]
    sources = [(c["metadata"][METADATA]["role"], "".join(c["source"])) for c in code]
    return json.dumps([told, sources], sort_keys=True, ensure_ascii=False).encode()


def cell_numbers(step: Step) -> str:
    """Which cells of the user's notebook the setup and user cells of the step notebook are, in their order: "3,14,15".

    It is told to the step beside its notebook: numbers shift with every cell added above, the content does not.
    """
    return ",".join(str(c.number) for c in (*step.setup, *step.cells))


def _load(taken: Input) -> str:
    changed = f", changed={taken.changed!r}" if taken.changed else ""
    return f"{taken.name} = _kaleyard_values.load({taken.name!r}{changed})"


def _interface(pipeline: Pipeline, step: Step) -> dict[str, Any]:
    """What the step runner has to know: names, types, and where the notebook stood."""
    types = {p.name: p for p in pipeline.parameters}
    return {
        "pipeline": pipeline.name,
        "step": step.name,
        "notebook": step.notebook,
        "parameters": {n: {"type": types[n].type, "default": types[n].default} for n in step.parameters},
        "inputs": [i.name for i in step.inputs],
        "outputs": list(step.outputs),
        "metrics": list(step.metrics),
        "module_path": list(step.module_path),
        "project": sorted({*step.modules, *step.files}),
        "report": step.settings.report,
    }


def _cell(
    name: str, lines: list[str], *, role: str, kind: str = "code", tags: list[str] | None = None
) -> dict[str, Any]:
    metadata: dict[str, Any] = {METADATA: {"role": role}} | ({"tags": tags} if tags else {})
    cell: dict[str, Any] = {
        "cell_type": kind,
        "id": name,
        "metadata": metadata,
        "source": "\n".join(lines).splitlines(keepends=True),
    }
    return cell | ({"execution_count": None, "outputs": []} if kind == "code" else {})
