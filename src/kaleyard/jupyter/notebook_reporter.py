"""A run as a notebook shows it: one output that changes until the report's link stands in it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from kaleyard.errors import from_dict
from kaleyard.pipeline import Pipeline
from kaleyard.records.run_record import Run, StepRun
from kaleyard.reporting.console import SilentReporter, summary
from kaleyard.reporting.graph import StepLook, as_svg, render

__all__ = ["NotebookReporter"]

_PAUSE = 0.5  # seconds between two updates, at least; drawing may take no more than a tenth of the time
_DRAWN = 60  # steps; what is larger is told in the table alone


class NotebookReporter(SilentReporter):
    """Shows the graph with each step's state, a table, errors, and at the end the report's link from `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._run: Run | None = None
        self._handle: Any = None
        self._since: dict[str, float] = {}
        self._next = 0.0

    def started(self, run: Run) -> None:
        """The output appears."""
        from IPython.display import display

        self._run = run
        self._handle = display(self._bundle(), raw=True, display_id=True)

    def changed(self, step: StepRun) -> None:
        """The step's time begins when it runs."""
        if step.state == "running":
            self._since[step.name] = time.monotonic()

    def tick(self) -> None:
        """The output follows the run."""
        began = time.monotonic()
        if began >= self._next:
            self._update()
            self._next = time.monotonic() + max(_PAUSE, 9 * (time.monotonic() - began))

    def finished(self, run: Run) -> None:
        """The output stays as it is now, with the outcome and the link."""
        self._run = run
        self._update()

    def _update(self) -> None:
        self._handle.update(self._bundle(), raw=True)

    def _bundle(self) -> dict[str, str]:
        run = self._run
        assert run is not None
        rows = list(self._rows(run))
        over = run.state != "running"
        text = "\n".join(summary(run)).strip() if over else f"running {run.pipeline}, run {run.id}"
        errors = [(s.name, str(from_dict(s.error))) for s in run.steps.values() if s.state == "failed" and s.error]
        relative = Path(os.path.relpath(run.report, self._folder)).as_posix()
        page = render(
            "output_run.html.j2",
            run=run,
            rows=rows,
            svg=self._drawing(run, rows),
            errors=errors,
            cached=all(s.state == "cached" for s in run.steps.values()),
            report=relative if over else "",
            link=quote(relative),
        )
        return {"text/html": page, "text/plain": text}

    def _rows(self, run: Run) -> Iterator[dict[str, str]]:
        for step in run.steps.values():
            seconds = step.seconds
            if step.state == "running" and step.name in self._since:
                seconds = time.monotonic() - self._since[step.name]
            details = [f"{name} = {value:.6g}" for name, value in step.metrics.items()]
            details += [step.reason] if step.reason else []
            took = f"{seconds:.1f} s" if seconds else ""
            yield {"name": step.name, "state": step.state, "time": took, "told": ", ".join(details)}

    def _drawing(self, run: Run, rows: list[dict[str, str]]) -> Any:
        from markupsafe import Markup

        if not run.pipeline_data or len(run.steps) > _DRAWN:
            return ""
        looks = {row["name"]: StepLook(row["state"], row["time"]) for row in rows}
        svg = as_svg(Pipeline.from_dict(run.pipeline_data), looks)
        return Markup(svg)  # noqa: S704 - escaped by its own template
