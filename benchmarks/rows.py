"""What was measured: a row for each phase of each run, and a file of them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

__all__ = ["AGAIN", "ALONE", "CHANGED", "DONE", "FIRST", "Results", "Row"]

DONE = "done"
# The phases that a run may have: everything from nothing, again as it is, again after an edit of a late step; and
# that step by itself, from values that are there.
FIRST, AGAIN, CHANGED, ALONE = "nothing cached", "nothing changed", "one late step changed", "the late step alone"


@dataclass(frozen=True, slots=True)
class Row:
    """One phase of one run. `state` is done, or says why the figures must not be used.

    `wall`, `cpu`, `pss`, `rss`, `others` and `left` are `Measurement`'s; `load` is the load average when it began;
    `details` are figures that the runner itself tells, by name.
    """

    workload: str
    runner: str
    phase: str
    repeat: int
    state: str
    wall: float = 0.0
    cpu: float = 0.0
    pss: float = 0.0
    rss: float = 0.0
    others: float = 0.0
    load: float = 0.0
    left: tuple[str, ...] = ()
    details: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class Results:
    """All rows of one benchmark, with the machine, the versions and remarks they belong to."""

    machine: str
    versions: str
    remarks: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write them as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Results:
        """The results that `save` wrote. Raises OSError, ValueError, KeyError or TypeError for anything else."""
        data = json.loads(path.read_text(encoding="utf-8"))
        rows = [Row(**row | {"left": tuple(row["left"])}) for row in data.pop("rows")]
        return cls(**data, rows=rows)
