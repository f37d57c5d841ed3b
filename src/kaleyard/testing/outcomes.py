"""What became of each cell, for programs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import pytest

from kaleyard.runtime.terminal_text import without_escapes

__all__ = ["Outcome", "Outcomes", "Tested"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """A cell's outcome; `cell` is "cell 3", or "stored outputs" for whether there is anything to compare."""

    notebook: str
    cell: str
    outcome: Literal["passed", "failed", "skipped"]
    seconds: float
    message: str = ""


@dataclass(frozen=True, slots=True)
class Tested:
    """How a test of notebooks ended: its exit code, and each cell's outcome in order."""

    exit_code: int
    cells: list[Outcome]

    def to_dict(self) -> dict[str, Any]:
        """It as JSON values."""
        return asdict(self)


class Outcomes:
    """A plugin of pytest's that writes down what became of each cell, or that a notebook could not be read."""

    def __init__(self) -> None:
        self.found: list[Outcome] = []

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A notebook that is none."""
        if report.failed:
            self.found.append(Outcome(report.nodeid, "", "failed", 0.0, without_escapes(report.longreprtext)))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A cell that was compared, or was not because of what came before."""
        if report.when == "call" or not report.passed:
            notebook, _, cell = report.nodeid.partition("::")
            message = "" if report.passed else without_escapes(report.longreprtext)
            if report.skipped and isinstance(report.longrepr, tuple):
                message = str(report.longrepr[2]).removeprefix("Skipped: ")
            self.found.append(Outcome(notebook, cell, report.outcome, round(report.duration, 3), message))
