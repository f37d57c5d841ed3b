"""What Kaleyard wants to reach, as a table of what was measured and whether that is enough."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.limits import ONE_KERNEL, SCRIPT
from benchmarks.ours import PER_STEP
from benchmarks.rows import AGAIN, ALONE, CHANGED, FIRST
from benchmarks.table import Summaries, Summary, markdown
from benchmarks.workloads import LONG

__all__ = ["goals_table"]


class _MissingError(Exception):
    """What a goal is judged by was not measured, or failed."""


@dataclass(frozen=True, slots=True)
class _Goal:
    """A goal, and the function that tells what was measured and whether the goal is met."""

    matter: str
    aim: str
    judge: Callable[[Summaries], tuple[str, bool]]


def goals_table(summaries: Summaries) -> str:
    """A line for each goal: met, not met, or why it cannot be said."""
    lines = []
    for goal in _GOALS:
        try:
            measured, met = goal.judge(summaries)
        except _MissingError as error:
            measured, verdict = str(error), ""
        else:
            verdict = "met" if met else "**not met**"
        lines.append((goal.matter, goal.aim, measured, verdict))
    return markdown(("goal for Kaleyard", "at most", "measured", ""), lines, left=4)


def _take(summaries: Summaries, workload: str, runner: str = "kaleyard", phase: str = FIRST) -> Summary:
    found = summaries.get((workload, runner, phase))
    if found is None:
        raise _MissingError("not measured")
    if found.failure:
        raise _MissingError("failed")
    return found


def _ratio(workload: str, most: float) -> Callable[[Summaries], tuple[str, bool]]:
    """The wall time over that of one kernel."""

    def judge(summaries: Summaries) -> tuple[str, bool]:
        ratio = _take(summaries, workload).wall / _take(summaries, workload, ONE_KERNEL).wall
        return f"{ratio:.2f} x one kernel", ratio <= most

    return judge


def _wall(workload: str, phase: str, most: float) -> Callable[[Summaries], tuple[str, bool]]:
    """The wall time."""

    def judge(summaries: Summaries) -> tuple[str, bool]:
        wall = _take(summaries, workload, phase=phase).wall
        return f"{wall:.2f} s", wall <= most

    return judge


def _late_step(summaries: Summaries) -> tuple[str, bool]:
    """The wall time without that of the step itself: as a script, with its imports, from values that are there."""
    wall = _take(summaries, "housing", phase=CHANGED).wall
    own = _take(summaries, "housing", SCRIPT, ALONE).wall
    return f"{wall:.2f} s; the step alone as a script {own:.2f} s", wall - own <= _LATE


def _linear(summaries: Summaries) -> tuple[str, bool]:
    """What a step adds between 100 and 300 steps over what it adds between 10 and 100."""
    ten, hundred, most = (_take(summaries, f"compile-{n}").wall for n in (10, 100, 300))
    early, late = (hundred - ten) / 90, (most - hundred) / 200
    return f"{late * 1000:.1f} ms a step above 100, {early * 1000:.1f} below", late <= early * _LINEAR


def _long_steps(summaries: Summaries) -> tuple[str, bool]:
    """The wall time of the long chain by its steps, over the time from step to step in the short one."""
    steps = int(LONG.partition("-")[2])
    cost, short = _take(summaries, LONG).wall / steps, _take(summaries, "chain-10").details[PER_STEP]
    return f"{cost / short:.2f} x ({cost:.3f} s, {short:.3f} s)", cost / short <= _LONG


def _long_memory(summaries: Summaries) -> tuple[str, bool]:
    ratio = _take(summaries, LONG).pss / _take(summaries, "chain-10").pss
    return f"{ratio:.2f} x", ratio <= _LONG


def _memory(summaries: Summaries) -> tuple[str, bool]:
    ratio = _take(summaries, "housing").pss / _take(summaries, "housing", ONE_KERNEL).pss
    return f"{ratio:.2f} x one kernel", ratio <= _MEMORY


_LATE, _LINEAR, _LONG, _MEMORY = 1.5, 1.25, 1.2, 2.0
_GOALS = (
    _Goal("housing, nothing cached", "1.0 x one kernel", _ratio("housing", 1.0)),
    _Goal("chain-10, nothing cached", "1.5 x one kernel", _ratio("chain-10", 1.5)),
    _Goal("fan-8, eight sleeps of 1 s", "4 s", _wall("fan-8", FIRST, 4.0)),
    _Goal("housing, nothing changed", "0.7 s", _wall("housing", AGAIN, 0.7)),
    _Goal("housing, one late step changed", f"{_LATE} s + the step alone", _late_step),
    _Goal("compile 300 steps", "3.5 s", _wall("compile-300", FIRST, 3.5)),
    _Goal("compile, linear in steps", f"{_LINEAR} x 10 to 100 steps'", _linear),
    _Goal("check of housing, first", "3 s", _wall("check", FIRST, 3.0)),
    _Goal("check of housing, nothing changed", "0.7 s", _wall("check", AGAIN, 0.7)),
    _Goal("1,000 steps in a row: cost of a step", f"{_LONG} x chain-10's", _long_steps),
    _Goal("1,000 steps in a row: peak memory (PSS)", f"{_LONG} x chain-10's", _long_memory),
    _Goal("housing: peak memory (PSS)", f"{_MEMORY} x one kernel", _memory),
)
