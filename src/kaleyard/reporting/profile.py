"""Shows where a step's time went, so that a user sees what to speed up."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from kaleyard.records.run_record import Run

__all__ = ["MEANINGS", "PHASES", "phases", "profile_rows", "profile_table"]

# In chronological order; `waiting` comes before the step's own time, `report` after it.
PHASES = ("kernel", "load", "cells", "save")
MEANINGS = {
    "waiting": "for a free slot, once its inputs were ready",
    "kernel": "until its first cell ran; a warm kernel has already imported its modules",
    "load": "reading its parameters and inputs",
    "cells": "its own code",
    "save": "saving its values, and shutting down",
    "report": "writing its page, while other steps ran",
}
_LOADS = frozenset({"parameters", "load"})


def phases(notebook: Path, started: str | None, seconds: float) -> dict[str, float]:
    """Seconds per phase of a step that began at `started` and took `seconds`, which is their sum.

    They come from the times in its executed notebook; empty if it has none.
    """
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        code = [c for c in cells if c["cell_type"] == "code" and c["metadata"]["papermill"]["start_time"]]
        begun = datetime.fromisoformat(started or "")
        first = datetime.fromisoformat(code[0]["metadata"]["papermill"]["start_time"])
        times = dict.fromkeys(PHASES, 0.0)
        for cell in code:
            times[_phase(cell)] += _duration(cell)
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return {}
    times["kernel"] = max(0.0, (first - begun).total_seconds())
    times["save"] += max(0.0, seconds - sum(times.values()))
    return {name: round(value, 3) for name, value in times.items()}


def profile_rows(run: Run) -> list[tuple[str, list[float]]]:
    """For each step that ran: its name, and the seconds waiting, in each phase, and for its report."""
    return [(s.name, [s.times.get(n, 0.0) for n in MEANINGS]) for s in run.steps.values() if s.times]


def profile_table(run: Run) -> list[str]:
    """The rows as lines of text, with the slowest step and its slowest phase below."""
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
    return [*lines, f"slowest step: {step}, mostly {most} ({MEANINGS[most]})"]


def _phase(cell: dict[str, Any]) -> str:
    role = cell["metadata"].get("kaleyard", {}).get("role", "parameters")
    return "load" if role in _LOADS else "save" if role == "save" else "cells"


def _duration(cell: dict[str, Any]) -> float:
    return float(cell["metadata"]["papermill"].get("duration") or 0.0)
