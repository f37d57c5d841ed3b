"""What a run tells while it goes on: a live table on a terminal, plain lines elsewhere, nothing for `--json`."""

from __future__ import annotations

import os
import re
import sys
import time
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
    """Hears what happens in a run."""

    def started(self, run: Run) -> None:
        """The run begins; all its steps are known."""
        ...

    def changed(self, step: StepRun) -> None:
        """A step has a new state."""
        ...

    def tick(self) -> None:
        """Some time has passed."""
        ...

    def finished(self, run: Run) -> None:
        """The run is over; its report is written."""
        ...


class SilentReporter:
    """Tells nothing."""

    def started(self, run: Run) -> None:
        """Nothing is told."""

    def changed(self, step: StepRun) -> None:
        """Nothing is told."""

    def tick(self) -> None:
        """Nothing is told."""

    def finished(self, run: Run) -> None:
        """Nothing is told."""


class PlainReporter(SilentReporter):
    """A line for each thing that happens."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout

    def started(self, run: Run) -> None:
        """The pipeline, its parameters and where the run goes."""
        self._print(f"run {run.id} of {run.pipeline} ({run.notebook}), {len(run.steps)} steps")

    def changed(self, step: StepRun) -> None:
        """The step, its state, its time or reason."""
        if step.state == "waiting":
            return
        took = f" in {step.seconds:.1f} s" if step.state in ("done", "failed", "stopped") else ""
        why = f" ({step.reason})" if step.reason else ""
        values = "".join(f"  {n}={v:.6g}" for n, v in step.metrics.items()) if step.state != "running" else ""
        self._print(f"  {step.name}: {step.state}{took}{why}{values}")

    def finished(self, run: Run) -> None:
        """The errors, the outcome and where the report is."""
        for line in summary(run):
            self._print(line)

    def _print(self, line: str) -> None:
        print(line, file=self._stream, flush=True)


class LiveReporter(SilentReporter):
    """A table that changes as the steps do."""

    def __init__(self) -> None:
        self._run: Run | None = None
        self._live: Live | None = None
        self._since: dict[str, float] = {}

    def started(self, run: Run) -> None:
        """The table appears."""
        from rich.live import Live

        self._run = run
        self._live = Live(self._table(), refresh_per_second=8, transient=False)
        self._live.start()

    def changed(self, step: StepRun) -> None:
        """The step's row changes."""
        if step.state == "running":
            self._since[step.name] = time.monotonic()
        self.tick()

    def tick(self) -> None:
        """Running steps' times go on."""
        if self._live:
            self._live.update(self._table())

    def finished(self, run: Run) -> None:
        """The table stays as it is, with the outcome below."""
        self.close()
        for line in summary(run, colour="NO_COLOR" not in os.environ):
            print(line, flush=True)  # noqa: T201 - telling is its work

    def close(self) -> None:
        """The table stays as it is."""
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
            words = [f"{n}={v:.6g}" for n, v in step.metrics.items()] + ([step.reason] if step.reason else [])
            took = f"{seconds:.1f} s" if seconds else ""
            cells = (mark, step.name, step.state, took, "  ".join(words))
            table.add_row(*(Text(c, style=style if i != 1 else "bold") for i, c in enumerate(cells)))
        return table


def make_reporter(*, json: bool) -> Reporter:
    """The reporter that fits: silent for `--json`, live on a terminal, plain lines elsewhere."""
    if json:
        return SilentReporter()
    return LiveReporter() if sys.stdout.isatty() else PlainReporter()


def summary(run: Run, *, colour: bool = False) -> list[str]:
    """The end of a run in a few lines: each failed step's error, counts, metrics, files, and where the report is.

    With `colour` the tracebacks keep the colours IPython gave them.
    """
    lines: list[str] = []
    for step in run.steps.values():
        if step.state == "failed" and step.error:
            lines += ["", *error_lines(step.error, colour=colour)]
    counts: dict[str, int] = {}
    for step in run.steps.values():
        counts[step.state] = counts.get(step.state, 0) + 1
    told = ", ".join(f"{n} {state}" for state, n in counts.items())
    lines.append("")
    if set(counts) == {"cached"}:
        told = f"every step was cached ({counts['cached']})"
    lines.append(f"{run.state}: {told}, in {run.seconds:.1f} s")
    if run.metrics:
        lines.append("metrics: " + "  ".join(f"{n} = {v:.6g}" for n, v in run.metrics.items()))
    if files := run.files:
        count = f"{len(files)} file{'' if len(files) == 1 else 's'}"
        lines.append(f"{count}: {some_of(list(files))} (in {run.files_folder})")
    lines += [f"note: {note}" for note in run.notes]
    return [*lines, f"report: {run.report}"]


def some_of(names: Sequence[str]) -> str:
    """The first names, and how many more there are; what no terminal can show in them is a replacement character."""
    shown = ["".join(c if c.isprintable() else "\ufffd" for c in name) for name in names[:_MOST_NAMES]]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def error_lines(error: dict[str, Any], *, colour: bool = False) -> list[str]:
    """A step's error as lines: its traceback, then what happened, where, and what to do."""
    traceback = str(error.get("traceback") or "").rstrip()
    if not colour:
        traceback = _COLOURS.sub("", traceback)
    return [*([traceback, ""] if traceback else []), f"error: {from_dict(error)}"]
