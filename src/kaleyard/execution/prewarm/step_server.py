"""The step server: a process that has imported what every step needs, and forks a child for each step.

`python -m kaleyard.execution.prewarm.step_server` reads requests from standard input, one per line, and forks a child
for each, which runs the requested module, such as `kaleyard.runtime.__main__` for a step. It reports the start and end
of each child on standard output. The server ends when its input closes.
"""

from __future__ import annotations

import gc
import json
import os
import select
import sys
import tempfile
from collections import deque
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

from kaleyard.execution.prewarm.forking import ended_children, fork, tell, wake_on_children
from kaleyard.runtime.import_shortcuts import skip_iri_grammar

__all__ = ["serve"]

# The first step can start as soon as the first group is imported.
_FIRST = ("papermill", "psutil", "kaleyard.runtime.__main__", "kaleyard.runtime.kernels.papermill_engine")
_LATER = ("jinja2", "nbconvert.exporters.html", "kaleyard.runtime.notebook_page")


def serve() -> None:
    """Serve until standard input ends; children continue, and end by themselves when their parent has ended."""
    # `-m` puts the current folder first.
    del sys.path[0]
    skip_iri_grammar()
    from kaleyard.execution.prewarm import provisioner as kernels

    for name in _FIRST:
        import_module(name)
    kernels.prepare()
    _compile_validators()
    later = deque(_LATER)
    wake, woken = wake_on_children()
    incomplete = b""
    while True:
        ready, _, _ = select.select([0, wake], [], [], 0 if later else None)
        if wake in ready:
            os.read(wake, 4096)
            for child, code in ended_children():
                tell({"ended": child, "code": code})
        if 0 in ready:
            data = os.read(0, 1 << 20)
            if not data:
                return
            *lines, incomplete = (incomplete + data).split(b"\n")
            for line in lines:
                _start(json.loads(line), (wake, woken))
        elif later:
            import_module(later.popleft())
            if not later:
                _render_first_page()
            gc.freeze()


def _compile_validators() -> None:
    """Compile nbformat's validators, which would otherwise take 0.15 s in each step."""
    from nbformat import v4
    from nbformat.validator import get_validator

    for minor in range(4, v4.nbformat_minor + 1):
        get_validator(v4.nbformat, minor)


def _render_first_page() -> None:
    """Render a page only to load lexers and templates, which makes later pages four times as fast."""
    from kaleyard.runtime.notebook_page import write_page

    outputs = [{"output_type": "stream", "name": "stdout", "text": "1"}]
    cell = {"cell_type": "code", "id": "a", "source": "print(1)", "metadata": {}, "outputs": outputs}
    text = {"cell_type": "markdown", "id": "b", "source": "# A *title*", "metadata": {}}
    cells = [cell | {"execution_count": 1}, text]
    with tempfile.TemporaryDirectory() as folder:
        notebook = Path(folder) / "page.ipynb"
        notebook.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}))
        write_page(notebook, Path(folder) / "page.html", "")


def _start(request: dict[str, Any], close: Iterable[int]) -> None:
    child = fork(lambda: _run(request), log=Path(request["log"]), close=close)
    tell({"id": request["id"], "started": child})


def _run(request: dict[str, Any]) -> int:
    """Run the requested module in the requested environment and folder."""
    os.environ.clear()
    os.environ.update(request["environment"])
    # Cached before the fork, for another environment.
    tempfile.tempdir = None
    os.chdir(request["folder"])
    from kaleyard.execution.prewarm import provisioner as kernels

    if request["kernels"]:
        kernels.use_kernels(request["kernels"], request["modules"])
    return int(import_module(request["module"]).main(request["arguments"]))


if __name__ == "__main__":
    serve()
