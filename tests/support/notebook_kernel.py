"""A real kernel that cells are run in one by one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook


class Kernel:
    """One real kernel that stands in notebooks/here.ipynb, cells run in it one by one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.client = NotebookClient(new_notebook(), allow_errors=True, timeout=300)
        self.client.create_kernel_manager()
        environment = {k: v for k, v in os.environ.items() if not k.startswith("KALEYARD_")}
        environment["JPY_SESSION_NAME"] = str(folder / "here.ipynb")
        self.client.start_new_kernel(cwd=str(folder), env=environment)
        self.client.start_new_kernel_client()
        self.run("%load_ext kaleyard")

    def run(self, source: str) -> list[Any]:
        """The outputs of a cell with this source, warnings of the kernel aside."""
        cell = new_code_cell(source)
        self.client.nb.cells.append(cell)
        self.client.execute_cell(cell, len(self.client.nb.cells) - 1)
        return [o for o in cell.outputs if o.get("name") != "stderr"]


def refused(outputs: list[Any]) -> str:
    """The message of the error with which a cell ends, which is all that is told of it."""
    last = outputs[-1]
    assert last.output_type == "error"
    assert last.traceback == [last.evalue]
    return str(last.evalue)
