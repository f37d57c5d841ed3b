"""What `%kaleyard` shows in a notebook: HTML where the front end shows it, the terminal's text where not."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from kaleyard.cli.screen import Screen, counted, finding_lines
from kaleyard.config import find_project
from kaleyard.errors import NotebookError
from kaleyard.jupyter.notebook_reporter import NotebookReporter
from kaleyard.notebook.document import read_notebook
from kaleyard.pipeline import Pipeline
from kaleyard.reporting.graph import as_svg, as_text, render
from kaleyard.rules.findings import Finding

__all__ = ["NotebookScreen"]


class NotebookScreen(Screen):
    """The output of a notebook's cell. `here` is the notebook, if known: links are relative to its folder."""

    def __init__(self, here: Path | None) -> None:
        self.here = here

    def graph(self, pipeline: Pipeline) -> None:
        """The drawing, in the colours of the notebook's theme."""
        from markupsafe import Markup

        svg = as_svg(pipeline)
        page = render("output_graph.html.j2", svg=Markup(svg))  # noqa: S704 - escaped by its own template
        _display({"text/html": page, "image/svg+xml": svg, "text/plain": as_text(pipeline)})

    def findings(self, findings: Sequence[Finding]) -> None:
        """A row for each finding; its cell is a link if it stands in a notebook that this one can lead to."""
        rows = [{"finding": finding, "link": self._link(finding)} for finding in findings]
        page = render("output_findings.html.j2", rows=rows, counted=counted(findings))
        _display({"text/html": page, "text/plain": "\n".join(finding_lines(findings))})

    def reporter(self) -> NotebookReporter:
        """One output that changes as the run does."""
        return NotebookReporter(Path.cwd())

    def _link(self, finding: Finding) -> str:
        """The address of the finding's cell as Jupyter understands it, empty if there is none."""
        place = finding.place
        if self.here is None or place.notebook is None or place.cell is None:
            return ""
        path = find_project(self.here).root / place.notebook
        try:
            cell = read_notebook(path).cells[place.cell - 1]
        except (NotebookError, IndexError):
            return ""
        relative = Path(os.path.relpath(path, self.here.resolve().parent)).as_posix()
        return f"{quote(relative)}#cell-id={quote(cell.id)}" if cell.id else ""


def _display(bundle: dict[str, Any]) -> None:
    from IPython.display import display

    display(bundle, raw=True)
