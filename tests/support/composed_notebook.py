"""Notebooks composed of others, and what passes between the steps of a pipeline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kaleyard.pipeline import Pipeline
from notebook_builder import NotebookCells, notebook


def compose(path: Path, *cells: NotebookCells, **told: dict[str, Any]) -> Path:
    """A notebook whose `notebook:` cells have the metadata told for them by name."""
    notebook(path, *cells)
    data = json.loads(path.read_text())
    for cell in data["cells"]:
        for tag in cell["metadata"].get("tags", []):
            if tag.startswith("notebook:"):
                name = tag.partition(":")[2]
                cell["metadata"] |= {"notebook_path": f"{name}.ipynb"} | told.get(name, {})
    path.write_text(json.dumps(data))
    return path


def flows(pipeline: Pipeline) -> dict[str, list[tuple[str, str]]]:
    return {s.name: [(i.name, i.step) for i in s.inputs] for s in pipeline.steps}
