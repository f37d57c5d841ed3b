"""Runs the runners on the workloads in turn, measures each phase, and compares what they gave."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.environments import KALEYARD, LIMITS, variables
from benchmarks.limits import SCRIPT
from benchmarks.measure import Measurement, measure
from benchmarks.rows import DONE, FIRST, Row
from benchmarks.runner import Found, Phase, Runner, Task, VoidError
from benchmarks.workloads import LONG, Work

__all__ = ["Bench"]

_SAME = 1e-9  # the most that a metric may differ from the script's, as a share of it
_TAIL = 15  # lines of a failed command's output that are told


@dataclass
class Bench:
    """A benchmark of these runners on these workloads.

    `programs` are the folders of the environments' programs; for one that could not be made it is a text that says
    why. `tell` shows progress, `keep_row` is given every row as soon as it is there.
    """

    runners: Sequence[Runner]
    works: Sequence[Work]
    programs: dict[str, Path | str]
    scratch: Path
    tell: Callable[[str], None]
    keep_row: Callable[[Row], None]
    keep_files: bool = False
    _metrics: dict[str, float] = field(default_factory=dict)

    def run(self, repeats: int, peer_repeats: int = 1) -> None:
        """Kaleyard and the limits so many times, peers `peer_repeats` times, the long workload once.

        A repeat is outermost and a runner innermost, so that a machine that slows down slows all of them alike.
        """
        for repeat in range(1, max(repeats, peer_repeats) + 1):
            for work in self.works:
                for runner in self.runners:
                    most = repeats if runner.environment in (KALEYARD, LIMITS) else peer_repeats
                    if runner.takes(work.name) and repeat <= (1 if work.name == LONG else most):
                        self._run(runner, work, repeat)

    def _run(self, runner: Runner, work: Work, repeat: int) -> None:
        programs = self.programs[runner.environment]
        if isinstance(programs, str):
            self.keep_row(Row(work.name, runner.name, FIRST, repeat, f"failed: {programs}"))
            return
        folder = self.scratch / f"{work.name}-{runner.name}-{repeat}"
        folder.mkdir(parents=True)
        with closing(runner.phases(Task(work, folder, programs))) as phases:
            for number, phase in enumerate(phases, 1):
                logs = self.scratch / f"{folder.name}-{number}.log"
                row = self._measure(runner, Task(work, folder, programs), phase, repeat, logs)
                self.keep_row(row)
                if row.state != DONE:
                    break
        if not self.keep_files:
            shutil.rmtree(folder)

    def _measure(self, runner: Runner, task: Task, phase: Phase, repeat: int, log: Path) -> Row:
        """The row of one phase."""
        self.tell(f"{repeat}: {task.work.name}, {runner.name}, {phase.name}")
        load, total, output = os.getloadavg()[0], Measurement(), ""
        for command in phase.commands:
            environment = variables(task.programs, phase.settings)
            total += measure(command, task.folder, log, environment, runner.limit)
            output += log.read_text(encoding="utf-8", errors="replace")
            if total.code:
                break
        found, state = Found(), f"failed: exit code {total.code}" if total.code else DONE
        if total.expired:
            state = f"failed: stopped after {runner.limit:g} s"
        if state == DONE:
            found, state = self._found(runner, task.work, phase, output)
        if state != DONE:
            self.tell("\n".join([f"  {state}", *(f"  | {line}" for line in output.splitlines()[-_TAIL:])]))
        return Row(
            task.work.name,
            runner.name,
            phase.name,
            repeat,
            state,
            round(total.wall, 3),
            round(total.cpu, 3),
            round(total.pss, 1),
            round(total.rss, 1),
            round(total.others, 2),
            round(load, 2),
            total.left,
            found.details,
        )

    def _found(self, runner: Runner, work: Work, phase: Phase, output: str) -> tuple[Found, str]:
        """What the phase gave, and its state: done only if that is what the plain script gave."""
        try:
            found = phase.read(output)
        except (VoidError, ValueError, KeyError, OSError) as error:
            return Found(), f"void: {error}"
        if found.metric is None:
            return found, DONE
        if runner.name == SCRIPT:
            self._metrics.setdefault(work.name, found.metric)
        expected = self._metrics.get(work.name)
        if expected is None:
            return found, "void: no plain script to compare with"
        if not math.isclose(found.metric, expected, rel_tol=_SAME):
            return found, f"void: {work.metric} is {found.metric!r}, the plain script's {expected!r}"
        return found, DONE
