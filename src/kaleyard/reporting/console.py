"""Shows the progress of a run: a live table on a terminal, plain lines elsewhere, nothing for `--json`."""

from __future__ import annotations

import os
import re
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from kaleyard.errors import from_dict
from kaleyard.records.run_record import Run, StepRun

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

__all__ = [
    "LiveReporter",
    "PlainReporter",
    "Reporter",
    "SilentReporter",
    "error_lines",
    "make_reporter",
    "some_of",
    "summary",
]

_MOST_NAMES = 5
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_MARKS = {
    "waiting": ("·", "dim"),
    "running": ("▸", "cyan"),
    "done": ("✓", "green"),
    "cached": ("=", "blue"),
    "failed": ("✗", "red"),
    "skipped": ("-", "yellow"),
    "stopped": ("■", "yellow"),
}


class Reporter(Protocol):
    """Receives the events of a run."""

    def started(self, run: Run) -> None:
        """The run has started; all its steps are known."""
        ...

    def changed(self, step: StepRun) -> None:
        """A step has a new state."""
        ...

    def tick(self) -> None:
        """Some time has passed."""
        ...

    def finished(self, run: Run) -> None:
        """The run has finished; its report is written."""
        ...


class SilentReporter:
    """Shows nothing."""

    def started(self, run: Run) -> None:
        """Do nothing."""

    def changed(self, step: StepRun) -> None:
        """Do nothing."""

    def tick(self) -> None:
        """Do nothing."""

    def finished(self, run: Run) -> None:
        """Do nothing."""


class PlainReporter(SilentReporter):
    """Prints a line for each event."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout

    def started(self, run: Run) -> None:
        """Print the run's id, its pipeline and the number of steps."""
        self._print(f"run {run.id} of {run.pipeline} ({run.notebook}), {len(run.steps)} steps")

    def changed(self, step: StepRun) -> None:
        """Print the step, its state, and its time or reason."""
        if step.state == "waiting":
            return
        took = f" in {step.seconds:.1f} s" if step.state in ("done", "failed", "stopped") else ""
        why = f" ({step.reason})" if step.reason else ""
        values = "".join(f"  {n}={v:.6g}" for n, v in step.metrics.items()) if step.state != "running" else ""
        self._print(f"  {step.name}: {step.state}{took}{why}{values}")

    def finished(self, run: Run) -> None:
        """Print the errors, the outcome and the path of the report."""
        for line in summary(run):
            self._print(line)

    def _print(self, line: str) -> None:
        print(line, file=self._stream, flush=True)


class LiveReporter(SilentReporter):
    """Shows a table of the steps, kept up to date."""

    def __init__(self) -> None:
        self._run: Run | None = None
        self._live: Live | None = None
        self._since: dict[str, float] = {}

    def started(self, run: Run) -> None:
        """Show the table."""
        from rich.live import Live

        self._run = run
        self._live = Live(self._table(), refresh_per_second=8, transient=False)
        self._live.start()

    def changed(self, step: StepRun) -> None:
        """Update the step's row."""
        if step.state == "running":
            self._since[step.name] = time.monotonic()
        self.tick()

    def tick(self) -> None:
        """Update the times of running steps."""
        if self._live:
            self._live.update(self._table())

    def finished(self, run: Run) -> None:
        """Leave the table as it is, and print the outcome below it."""
        self.close()
        for line in summary(run, colour="NO_COLOR" not in os.environ):
            print(line, flush=True)  # noqa: T201 - output is its purpose

    def close(self) -> None:
        """Stop updating the table."""
        if self._live:
            self._live.update(self._table(), refresh=True)
            self._live.stop()

    def _table(self) -> Table:
        from rich.table import Table
        from rich.text import Text

        run = self._run
        assert run is not None
        table = Table(box=None, pad_edge=False, title=f"{run.pipeline}  {run.id}", title_justify="left")
        for heading in ("", "step", "state", "time", "metrics, reason"):
            table.add_column(heading, justify="right" if heading == "time" else "left")
        for step in run.steps.values():
            mark, style = _MARKS[step.state]
            seconds = step.seconds
            if step.state == "running" and step.name in self._since:
                seconds = time.monotonic() - self._since[step.name]
            details = [f"{n}={v:.6g}" for n, v in step.metrics.items()] + ([step.reason] if step.reason else [])
            took = f"{seconds:.1f} s" if seconds else ""
            cells = (mark, step.name, step.state, took, "  ".join(details))
            table.add_row(*(Text(c, style=style if i != 1 else "bold") for i, c in enumerate(cells)))
        return table


def make_reporter(*, json: bool) -> Reporter:
    """The right reporter: silent for `--json`, a live table on a terminal, plain lines elsewhere."""
    if json:
        return SilentReporter()
    return LiveReporter() if sys.stdout.isatty() else PlainReporter()


def summary(run: Run, *, colour: bool = False) -> list[str]:
    """A finished run in a few lines: each failed step's error, counts, metrics, files, and the path of the report.

    With `colour` the tracebacks keep IPython's colours.
    """
    lines: list[str] = []
    for step in run.steps.values():
        if step.state == "failed" and step.error:
            lines += ["", *error_lines(step.error, colour=colour)]
    counts = Counter(step.state for step in run.steps.values())
    outcome = ", ".join(f"{n} {state}" for state, n in counts.items())
    if set(counts) == {"cached"}:
        outcome = f"every step was cached ({counts['cached']})"
    lines += ["", f"{run.state}: {outcome}, in {run.seconds:.1f} s"]
    if run.metrics:
        lines.append("metrics: " + "  ".join(f"{n} = {v:.6g}" for n, v in run.metrics.items()))
    if files := run.files:
        count = f"{len(files)} file{'' if len(files) == 1 else 's'}"
        lines.append(f"{count}: {some_of(list(files))} (in {run.files_folder})")
    lines += [f"note: {note}" for note in run.notes]
    return [*lines, f"report: {run.report}"]


def some_of(names: Sequence[str]) -> str:
    """The first names and the number of others; unprintable characters become replacement characters."""
    shown = ["".join(c if c.isprintable() else "\ufffd" for c in name) for name in names[:_MOST_NAMES]]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def error_lines(error: dict[str, Any], *, colour: bool = False) -> list[str]:
    """A step's error as lines: the traceback, then what happened, where, and what to do."""
    traceback = str(error.get("traceback") or "").rstrip()
    if not colour:
        traceback = _COLOURS.sub("", traceback)
    return [*([traceback, ""] if traceback else []), f"error: {from_dict(error)}"]
