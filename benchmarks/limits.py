"""The two limits: the workload as a plain script, and as a notebook run once in one kernel."""

from __future__ import annotations

from collections.abc import Generator

from benchmarks.environments import LIMITS
from benchmarks.notebooks import cell_seconds, printed, sources, write_notebook, written_metric
from benchmarks.rows import FIRST
from benchmarks.runner import Found, Phase, Runner, Task

__all__ = ["LATE_STEP", "ONE_KERNEL", "RUNNERS", "SCRIPT"]

SCRIPT, ONE_KERNEL = "script", "one-kernel"
LATE_STEP = "late step"  # the detail that holds the seconds of the late step's own code


def _script(task: Task) -> Generator[Phase, None, None]:
    """All cells as one script. Its metric is what every other runner's is compared with."""
    script = task.folder / "all.py"
    script.write_text("\n".join(sources(task.work)) + "\n", encoding="utf-8")
    yield Phase(FIRST, [[task.programs / "python", script]], lambda output: Found(printed(output, task.work.metric)))


def _one_kernel(task: Task) -> Generator[Phase, None, None]:
    """The notebook without tags, run from top to bottom and saved, as a person would."""
    notebook = write_notebook(task.folder / "all.ipynb", ((source, ()) for source in sources(task.work)))

    def read(_output: str) -> Found:
        found = Found(written_metric(notebook, task.work.metric))
        for step in task.work.steps:
            if step.name == task.work.late:
                found.details[LATE_STEP] = cell_seconds(notebook, step.source)
        return found

    yield Phase(FIRST, [[task.programs / "jupyter-execute", "--inplace", notebook]], read)


_RUNS = ("housing", "chain-*", "fan-*")
RUNNERS = (Runner(SCRIPT, LIMITS, _RUNS, _script), Runner(ONE_KERNEL, LIMITS, _RUNS, _one_kernel))
