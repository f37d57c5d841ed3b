"""One step's cells as a notebook that papermill runs: parameters, setup, load, the user's cells, save.

The bytes depend on nothing but the step: they are part of its content key, and the same in a process, a container
and a pod.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from kaleyard.pipeline import Input, Pipeline, Step
from kaleyard.runtime.contract import METADATA, RAISES, RANDOM_STATE

__all__ = ["cell_numbers", "code_only", "step_notebook"]

_IMPORT = "from kaleyard.runtime.exchange import kernel_io as _kaleyard_values"


def step_notebook(pipeline: Pipeline, step: Step) -> bytes:
    """The step's notebook, format 4.5, as UTF-8 JSON with a final newline."""
    types = {p.name: p for p in pipeline.parameters}
    cells = []
    if step.parameters:
        lines = [f"{n} = {types[n].default!r}" for n in step.parameters]
        cells.append(_cell("parameters", lines, role="parameters", tags=["parameters"]))
    cells += [_cell(f"setup-{n}", [c.source], role="setup") for n, c in enumerate(step.setup, 1)]
    early = [i for i in step.inputs if i.name in step.early]
    if early:
        cells.append(_cell("load-early", [_IMPORT, "", *_loads(early)], role="load"))
    cells += [_cell(f"late-setup-{n}", [c.source], role="setup") for n, c in enumerate(step.late_setup, 1)]
    if step.inputs or step.remade:
        lines = [_IMPORT, ""]
        if step.evolving:
            lines.append(f"_kaleyard_values.trust_classes({', '.join(map(repr, step.evolving))})")
        lines += _loads(i for i in step.inputs if i.name not in step.early)
        lines += ["_kaleyard_values.note_remade(globals())"] if step.remade else []
        cells.append(_cell("load", lines, role="load"))
    for n, c in enumerate(step.cells, 1):
        cells.append(_cell(f"cell-{n}", [c.source], role="user", kind=c.kind, tags=[RAISES] if c.raises else None))
    # First: keeping a value may draw numbers.
    lines = [f"_kaleyard_values.save_random_state({list(step.random_state)!r})"] if step.random_state else []
    for name in (n for n in step.outputs if n != RANDOM_STATE):
        call = f"save_if_made({name!r}, globals())" if name in step.optional else f"save({name!r}, {name})"
        lines.append(f"_kaleyard_values.{call}")
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
    sources = [(c["metadata"][METADATA]["role"], "".join(c["source"]), *c["metadata"].get("tags", ())) for c in code]
    return json.dumps([told, sources], sort_keys=True, ensure_ascii=False).encode()


def cell_numbers(step: Step) -> str:
    """Which cells of the user's notebook the setup and user cells of the step notebook are, in their order: "3,14,15".

    It is told to the step beside its notebook: numbers shift with every cell added above, the content does not.
    """
    return ",".join(str(c.number) for c in (*step.setup, *step.late_setup, *step.cells))


def _loads(inputs: Iterable[Input]) -> list[str]:
    """The lines that load inputs; the random state comes last, since reading a value may draw."""
    lines, last = [], []
    for taken in inputs:
        if taken.name == RANDOM_STATE:
            last = ["_kaleyard_values.load_random_state()"]
        elif taken.optional:
            lines.append(f"_kaleyard_values.load_if_made({taken.name!r}, globals(), changed={taken.changed!r})")
        else:
            changed = f", changed={taken.changed!r}" if taken.changed else ""
            lines.append(f"{taken.name} = _kaleyard_values.load({taken.name!r}{changed})")
    return lines + last


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
        "files": [[i.step, list(i.paths)] for i in step.file_inputs],  # a later step's files replace an earlier one's
        "folders": list(step.folders),
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
