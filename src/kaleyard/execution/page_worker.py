"""Renders executed notebooks as HTML pages, in separate processes while other steps run."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from kaleyard.execution.executors.step_process import Job, start_process

__all__ = ["main", "make_page"]

_TIMEOUT = 600.0  # seconds; 5 MB of HTML take five


def make_page(notebook: Path, target: Path, title: str) -> None:
    """Write the page of an executed notebook. Raises OSError or `subprocess.TimeoutExpired` if that fails."""
    log = target.with_suffix(".log")
    arguments = [str(notebook), str(target), title]
    process = start_process(Job("kaleyard.execution.page_worker", arguments, target.parent, log, dict(os.environ)))
    if process.wait(_TIMEOUT):
        raise OSError(0, f"the page could not be rendered; see {log}", str(target))
    log.unlink(missing_ok=True)


def main(arguments: Sequence[str]) -> int:
    """Write one page: NOTEBOOK TARGET TITLE."""
    from kaleyard.runtime.notebook_page import write_page

    notebook, target, title = arguments
    write_page(Path(notebook), Path(target), title)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
