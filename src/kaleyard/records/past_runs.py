"""Past runs, local and remote, in one form: as a list, or compared side by side."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kaleyard.errors import UsageError

__all__ = ["REMOTE", "Comparison", "History", "PastRun", "Row", "StepLog", "compare", "table"]

REMOTE = "remote:"  # prefix of the name of a run on a server

_ABSENT = "-"
_HERE = "local"
_WIDEST = 60  # characters in a cell of the table


@dataclass(frozen=True, slots=True)
class PastRun:
    """A run, as lists and comparisons need it.

    `place` is "local" or a server's address. `started` is ISO 8601 in UTC, `seconds` wall time. `artifacts` are SHA-256
    digests by `step.name`.
    """

    id: str
    pipeline: str
    place: str
    state: str
    started: str = ""
    seconds: float = 0.0
    parameters: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    artifacts: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """PIPELINE/RUN, as the verbs take it."""
        return f"{'' if self.place == _HERE else REMOTE}{self.pipeline}/{self.id}"


@dataclass(frozen=True, slots=True)
class History:
    """Runs, newest first; the number of `more` runs; and, by folder, why some cannot be read."""

    runs: list[PastRun]
    more: int = 0
    unreadable: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The history as JSON values."""
        return asdict(self)

    def lines(self) -> list[str]:
        """The history as a table."""
        heads = ("state", "started (UTC)", "took", "run", "parameters", "metrics")
        rows = [
            (
                run.state,
                run.started[:16].replace("T", " "),
                f"{run.seconds:.1f} s" if run.seconds else _ABSENT,
                run.name,
                _clipped(" ".join(f"{n}={_text(v)}" for n, v in run.parameters.items())) or _ABSENT,
                _clipped(" ".join(f"{n}={v:.6g}" for n, v in run.metrics.items())) or _ABSENT,
            )
            for run in self.runs
        ]
        if not rows:
            return ["no runs"]
        return [*table([heads, *rows]), *([f"and {self.more} more: see --limit"] if self.more else [])]


@dataclass(frozen=True, slots=True)
class StepLog:
    """A step's logs: what its cells `printed`, what its processes wrote (`text`), and its `error`.

    If the kernel copies its processes' output to the notebook, `printed` repeats it. `notebook` is the executed
    notebook, None if it is not on this machine.
    """

    step: str
    state: str
    printed: str
    text: str
    error: str
    notebook: Path | None

    def to_dict(self) -> dict[str, Any]:
        """The log as JSON values."""
        return asdict(self) | {"notebook": str(self.notebook) if self.notebook else None}


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a comparison: `kind` is parameter, metric or artifact; `values` are by run, for runs that have one."""

    kind: str
    name: str
    values: dict[str, Any]
    same: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """Runs, and the values of each, row by row."""

    runs: list[PastRun]
    rows: list[Row]

    def to_dict(self) -> dict[str, Any]:
        """The comparison as JSON values."""
        return asdict(self)

    def lines(self, *, everything: bool = False) -> list[str]:
        """The comparison as a table: the differences, or everything."""
        names = [run.name for run in self.runs]
        shown = [row for row in self.rows if everything or not row.same]
        heads = [("", "", *names), ("", "state", *(r.state for r in self.runs))]
        heads.append(("", "started", *(r.started[:19].replace("T", " ") for r in self.runs)))
        heads.append(("", "took", *(f"{r.seconds:.1f} s" for r in self.runs)))
        body = [(row.kind, row.name, *(_cell(row, name) for name in names)) for row in shown]
        hidden = len(self.rows) - len(shown)
        equal = f"{hidden} more parameters, metrics and artifacts are equal: see --all"
        return [*table([*heads, *body]), *([equal] if hidden else [])]


def compare(runs: Sequence[PastRun]) -> Comparison:
    """Compare the values of runs. Raises UsageError if a run is named twice."""
    names = [run.name for run in runs]
    duplicate = next((name for name in names if names.count(name) > 1), None)
    if duplicate:
        raise UsageError(f"run {duplicate} is named twice", fix="Name each run once.")
    rows: list[Row] = []
    for kind, attribute in (("parameter", "parameters"), ("metric", "metrics"), ("artifact", "artifacts")):
        columns: list[dict[str, Any]] = [getattr(run, attribute) for run in runs]
        for name in dict.fromkeys(n for column in columns for n in column):
            values = {run.name: column[name] for run, column in zip(runs, columns, strict=True) if name in column}
            forms = {_form(kind, value) for value in values.values()}
            rows.append(Row(kind, name, values, same=len(forms) == 1 and len(values) == len(runs)))
    return Comparison(list(runs), rows)


def _form(kind: str, value: Any) -> str:
    """A text that is the same for equal values: 1, 1.0 and True differ as parameters; NaN equals NaN."""
    return repr(float(value)) if kind == "metric" else json.dumps(value, sort_keys=True)


def _cell(row: Row, run: str) -> str:
    if run not in row.values:
        return _ABSENT
    value = row.values[run]
    if row.kind == "artifact":
        return str(value)[:12]
    return f"{value:.6g}" if row.kind == "metric" and row.same else _clipped(_text(value))


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _clipped(text: str) -> str:
    return text if len(text) <= _WIDEST else text[: _WIDEST - 1] + "…"


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines of text with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows]
