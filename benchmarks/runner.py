"""A tool that is given workloads: its phases, their commands, and where each leaves the metric.

A runner's phases come one after the other from a generator: what it does between two of them, such as an edit, is
not measured.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from benchmarks.workloads import Work

__all__ = ["SLOW", "Command", "Found", "Phase", "Runner", "Task", "VoidError"]

SLOW = 900.0  # seconds, for what is known to take minutes

Command = Sequence[str | Path]


class VoidError(Exception):
    """A command that ended well but did not do what was to be measured."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a phase gave: the workload's metric if it ran the steps, and further figures by name."""

    metric: float | None = None
    details: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Phase:
    """Commands that are measured as one, and the function that finds in their output, or in files, what they gave.

    It may raise VoidError, ValueError, KeyError or OSError. `settings` are further environment variables.
    """

    name: str
    commands: Sequence[Command]
    read: Callable[[str], Found]
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Task:
    """What a runner is given: a workload, an empty folder, and the folder of its environment's programs."""

    work: Work
    folder: Path
    programs: Path


@dataclass(frozen=True, slots=True)
class Runner:
    """A tool on some workloads (patterns of their names), in an environment; `limit` is in seconds, for a command."""

    name: str
    environment: str
    workloads: tuple[str, ...]
    phases: Callable[[Task], Generator[Phase, None, None]]
    limit: float = 240.0

    def takes(self, workload: str) -> bool:
        """Whether it runs that workload."""
        return any(fnmatch(workload, pattern) for pattern in self.workloads)
