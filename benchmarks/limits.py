"""The two limits: the workload as a plain script, and as a notebook run once in one kernel."""

from __future__ import annotations

import subprocess
from collections.abc import Generator

from benchmarks.environments import LIMITS
from benchmarks.notebooks import assignments, printed, sources, step_cells, write_notebook, written_metric
from benchmarks.rows import ALONE, FIRST
from benchmarks.runner import Command, Found, Phase, Runner, Task

__all__ = ["ONE_KERNEL", "RUNNERS", "SCRIPT"]

SCRIPT, ONE_KERNEL = "script", "one-kernel"


def _script(task: Task) -> Generator[Phase, None, None]:
    """All cells as one script, whose metric is what every other runner's is compared with; then the late step's."""
    work = task.work
    script = task.folder / "all.py"
    script.write_text("\n".join(sources(work)) + "\n", encoding="utf-8")
    yield Phase(FIRST, [[task.programs / "python", script]], lambda output: Found(printed(output, work.metric)))
    for step in work.steps:
        if step.name == work.late:
            saves = (f"joblib.dump({name}, '{name}.pkl')" for name in step.takes)
            before = task.folder / "before.py"
            before.write_text("\n".join([*sources(work), "import joblib", *saves]) + "\n", encoding="utf-8")
            subprocess.run([task.programs / "python", before], cwd=task.folder, check=True, capture_output=True)
            head, alone = assignments(dict(work.used(step))), task.folder / "alone.py"
            cells = step_cells(work, step, head, "'{}.pkl'".format, "'{}.made.pkl'".format)
            alone.write_text("\n".join(source for source, _ in cells) + "\n", encoding="utf-8")
            command: Command = [task.programs / "python", alone]
            yield Phase(ALONE, [command], lambda output: Found(printed(output, work.metric)))


def _one_kernel(task: Task) -> Generator[Phase, None, None]:
    """The notebook without tags, run from top to bottom and saved, as a person would."""
    notebook = write_notebook(task.folder / "all.ipynb", ((source, ()) for source in sources(task.work)))
    command: Command = [task.programs / "jupyter-execute", "--inplace", notebook]
    yield Phase(FIRST, [command], lambda _output: Found(written_metric(notebook, task.work.metric)))


_RUNS = ("housing", "chain-*", "fan-*")
RUNNERS = (Runner(SCRIPT, LIMITS, _RUNS, _script), Runner(ONE_KERNEL, LIMITS, _RUNS, _one_kernel))
