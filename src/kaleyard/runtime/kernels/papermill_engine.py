"""papermill's engine for steps: our kernel, and a limit on the output of a cell.

An engine defines how papermill runs a notebook; see `papermill.engines`.
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

from nbformat import NotebookNode
from nbformat.v4 import new_output
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import Engine, papermill_engines

from kaleyard.runtime.contract import METADATA, RAISES
from kaleyard.runtime.executor_io import atomic_write
from kaleyard.runtime.kernels.bounded_output import BoundedOutput
from kaleyard.runtime.kernels.step_kernel import StepKernelManager
from kaleyard.runtime.terminal_text import without_rewritten

__all__ = ["ENGINE", "put_back_errors"]

ENGINE = "kaleyard"


class _Client(BoundedOutput, PapermillNotebookClient):  # type: ignore[misc]
    """papermill's client with a limit on the output of a cell."""


class StepEngine(Engine):  # type: ignore[misc]
    """Runs a notebook with the step's kernel and client."""

    @classmethod
    def execute_managed_notebook(
        cls, nb_man: Any, kernel_name: str, start_timeout: int = 60, **kwargs: Any
    ) -> NotebookNode:
        """Run the notebook's cells; their results are in the returned notebook."""
        del kwargs
        client = _Client(
            nb_man,
            kernel_name=kernel_name,
            kernel_manager_class=StepKernelManager,
            startup_timeout=start_timeout,
            timeout=None,
            # The step's values are already saved, so there is no need to wait for the kernel's own shutdown.
            shutdown_kernel="immediate",
            # nbclient's own way to join streams takes minutes for a line of a million characters.
            coalesce_streams=False,
            on_cell_executed=_join_streams,
        )
        notebook = client.execute()
        _set_aside_errors(nb_man.nb)
        return notebook


def _join_streams(cell: NotebookNode, **_: Any) -> None:
    """Join each stream of the cell into one text, without overwritten parts; stdout comes first."""
    texts: dict[str, list[str]] = {}
    for output in cell.outputs:
        if output.output_type == "stream":
            texts.setdefault(output.name, []).append(output.text)
    joined, seen = [], set()
    for output in cell.outputs:
        if output.output_type != "stream":
            joined.append(output)
        elif output.name not in seen:
            seen.add(output.name)
            joined.append(new_output("stream", name=output.name, text=without_rewritten("".join(texts[output.name]))))
    names = [output.get("name") for output in joined]
    if ("stderr", "stdout") in pairwise(names):
        # Their order varies between runs: stdout goes first.
        position = names.index("stderr")
        joined[position], joined[position + 1] = joined[position + 1], joined[position]
    cell.outputs = joined


def _set_aside_errors(notebook: NotebookNode) -> None:
    """Hide the errors of cells that may raise from papermill, which stops at any error."""
    for cell in notebook.cells:
        if RAISES in cell.metadata.get("tags", ()) and cell.cell_type == "code":
            raised = {str(n): output for n, output in enumerate(cell.outputs) if output.output_type == "error"}
            if raised:
                cell.metadata.setdefault(METADATA, {})["raised"] = raised
                cell.outputs = [output for output in cell.outputs if output.output_type != "error"]


def put_back_errors(path: Path) -> None:
    """Restore the errors that were set aside, in the notebook file at `path`."""
    text = path.read_text(encoding="utf-8")
    if f'"{RAISES}"' not in text:
        return
    data = json.loads(text)
    for cell in data["cells"]:
        raised = cell["metadata"].get(METADATA, {}).pop("raised", {})
        for position, output in raised.items():
            cell["outputs"].insert(int(position), output)
    atomic_write(path, json.dumps(data, indent=1))


papermill_engines.register(ENGINE, StepEngine)
