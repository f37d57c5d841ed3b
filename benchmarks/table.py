"""Rows as the Markdown tables that README carries."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from benchmarks.limits import ONE_KERNEL
from benchmarks.rows import DONE, FIRST, Results, Row

__all__ = ["Summaries", "Summary", "markdown", "notes", "summarise", "table"]

_HEAD = ("workload", "runner", "phase", "wall s", "spread s", "CPU s", "PSS MiB", "RSS MiB", "x one kernel")
_LEFT = 3  # columns of text
_READING = (
    "Times are those of whole commands, the spread is from the least to the most. CPU: of every process the command "
    "started. PSS and RSS: the most that all these held at one time, looked at every 0.1 s; a page that processes "
    "share counts in RSS for each of them, in PSS once. `one-kernel`: `jupyter-execute` of the notebook, in an "
    "environment that has JupyterLab, as a laptop has; the last column is the wall time divided by its."
)


@dataclass(frozen=True, slots=True)
class Summary:
    """One phase of a runner on a workload: medians over its repeats. `failure` tells of those that failed."""

    failure: str
    repeats: int
    wall: float
    least: float
    most: float
    cpu: float
    pss: float
    rss: float
    details: dict[str, float]


# By workload, runner and phase.
Summaries: TypeAlias = dict[tuple[str, str, str], Summary]


def summarise(rows: Iterable[Row]) -> Summaries:
    """The rows of equal workload, runner and phase as one, in the order in which they were first seen."""
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.workload, row.runner, row.phase), []).append(row)
    workloads = list(dict.fromkeys(workload for workload, _, _ in groups))
    ordered = sorted(groups.items(), key=lambda item: workloads.index(item[0][0]))
    return {key: _summary(group) for key, group in ordered}


def table(summaries: Summaries) -> str:
    """A line for each of them, with the ratio to the workload's run in one kernel."""
    lines = []
    for (workload, runner, phase), s in summaries.items():
        if s.failure:
            lines.append((workload, runner, phase, s.failure, "", "", "", "", ""))
            continue
        one = summaries.get((workload, ONE_KERNEL, FIRST))
        ratio = f"{s.wall / one.wall:.2f}" if one and not one.failure else ""
        spread = f"{s.least:.2f}-{s.most:.2f}"
        figures = (f"{s.wall:.2f}", spread, f"{s.cpu:.2f}", f"{s.pss:.0f}", f"{s.rss:.0f}", ratio)
        lines.append((workload, runner, phase, *figures))
    return markdown(_HEAD, lines, _LEFT)


def notes(results: Results) -> list[str]:
    """What must be known to read the table, a text for each matter."""
    repeats = {s.repeats for s in summarise(results.rows).values()}
    times = "-".join(str(n) for n in sorted({min(repeats, default=0), max(repeats, default=0)}))
    left: dict[str, int] = {}
    for row in results.rows:
        for name in row.left:
            left[f"{row.runner}: {name}"] = left.get(f"{row.runner}: {name}", 0) + 1
    told = [
        f"Medians; repeats: {times}. {_READING}",
        *results.remarks,
    ]
    if left:
        counted = ", ".join(f"{name} ({count})" for name, count in left.items())
        told.append(f"Processes still there 5 s after their command, counted and then killed: {counted}.")
    others = max((row.others for row in results.rows), default=0.0)
    told.append(f"While a row was taken, other work kept at most {others:.1f} processors busy.")
    return [*told, f"Machine: {results.machine}.", f"Versions: {results.versions or 'none'}."]


def markdown(head: Sequence[str], lines: Iterable[Sequence[str]], left: int) -> str:
    """A Markdown table whose first `left` columns are text, the others numbers."""
    rule = ["---" if n < left else "---:" for n in range(len(head))]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *lines))


def _summary(rows: Sequence[Row]) -> Summary:
    failed = [row.state for row in rows if row.state != DONE]
    # The text may be anything that a command said: on one line, and with no new columns.
    reason = " ".join(failed[0].split()).replace("|", "\\|") if failed else ""
    failure = f"**{reason}** ({len(failed)} of {len(rows)})" if failed else ""
    names = {name for row in rows for name in row.details}
    return Summary(
        failure,
        len(rows),
        statistics.median(row.wall for row in rows),
        min(row.wall for row in rows),
        max(row.wall for row in rows),
        statistics.median(row.cpu for row in rows),
        statistics.median(row.pss for row in rows),
        statistics.median(row.rss for row in rows),
        {n: statistics.median(row.details[n] for row in rows if n in row.details) for n in sorted(names)},
    )
