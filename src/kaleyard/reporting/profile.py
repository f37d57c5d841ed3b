"""Where a step's time went: so that a user sees what to speed up."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from kaleyard.records.run_record import Run

__all__ = ["MEANINGS", "PHASES", "phases", "profile_rows", "profile_table"]

# In the order in which a step goes through them; `waiting` is before its time, `report` after.
PHASES = ("kernel", "load", "cells", "save")
MEANINGS = {
    "waiting": "for a place to run, once its inputs were there",
    "kernel": "until its first cell could run; a warm kernel has its imports by then",
    "load": "reading its parameters and inputs",
    "cells": "its own code",
    "save": "handing over its values, and ending",
    "report": "its page, made while other steps ran",
}
_LOADS = frozenset({"parameters", "load"})


def phases(notebook: Path, started: str | None, seconds: float) -> dict[str, float]:
    """Seconds per phase of a step that began at `started` and took `seconds`; together they are `seconds`.

    From the times in its executed notebook; empty if these are not there.
    """
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        code = [c for c in cells if c["cell_type"] == "code" and c["metadata"]["papermill"]["start_time"]]
        begun = datetime.fromisoformat(started or "")
        first = datetime.fromisoformat(code[0]["metadata"]["papermill"]["start_time"])
        found = dict.fromkeys(PHASES, 0.0)
        for cell in code:
            found[_phase(cell)] += _duration(cell)
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return {}
    found["kernel"] = max(0.0, (first - begun).total_seconds())
    found["save"] += max(0.0, seconds - sum(found.values()))
    return {name: round(value, 3) for name, value in found.items()}


def profile_rows(run: Run) -> list[tuple[str, list[float]]]:
    """For each step that ran: its name, and seconds waiting, in each phase, for its report."""
    return [(s.name, [s.times.get(n, 0.0) for n in MEANINGS]) for s in run.steps.values() if s.times]


def profile_table(run: Run) -> list[str]:
    """The same as lines of text, the slowest phase of all named below."""
    rows = profile_rows(run)
    if not rows:
        return ["profile: no step ran"]
    width = max(len(name) for name, _ in rows)
    lines = ["", f"{'seconds':{width}}  " + "  ".join(f"{name:>7}" for name in MEANINGS)]
    lines += [f"{name:{width}}  " + "  ".join(f"{v:7.2f}" for v in values) for name, values in rows]
    sums = {name: sum(values[i] for _, values in rows) for i, name in enumerate(MEANINGS)}
    lines.append(f"{'all':{width}}  " + "  ".join(f"{v:7.2f}" for v in sums.values()))
    step, longest = max(rows, key=lambda row: sum(row[1][1:-1]))
    most = max(PHASES, key=lambda name: longest[list(MEANINGS).index(name)])
    return [*lines, f"longest: {step}, most of it {most} ({MEANINGS[most]})"]


def _phase(cell: dict[str, Any]) -> str:
    role = cell["metadata"].get("kaleyard", {}).get("role", "parameters")
    return "load" if role in _LOADS else "save" if role == "save" else "cells"


def _duration(cell: dict[str, Any]) -> float:
    return float(cell["metadata"]["papermill"].get("duration") or 0.0)
