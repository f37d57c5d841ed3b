"""Kaleyard: `run`, `compile` and `check`, each in a project of its own in which nothing is cached yet."""

from __future__ import annotations

import json
import re
import shutil
import statistics
from collections.abc import Generator
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.environments import KALEYARD
from benchmarks.notebooks import tagged_cells, write_notebook
from benchmarks.rows import AGAIN, CHANGED, FIRST
from benchmarks.runner import Command, Found, Phase, Runner, Task, VoidError

__all__ = ["PER_STEP", "RUNNERS"]

PER_STEP = "per step"  # the detail that holds the seconds from one step's start to the next one's
_LOCK = Path(__file__).parents[1] / "requirements.lock"


def _run(task: Task) -> Generator[Phase, None, None]:
    """`kaleyard run`; for a workload with a late step also again, and again after that step's edit."""
    work, notebook = task.work, _project(task)
    commands: list[Command] = [[task.programs / "kaleyard", "run", notebook]]

    def phase(name: str, ran: set[str]) -> Phase:
        return Phase(name, commands, lambda _output: _read_run(task, ran), _settings(task))

    yield phase(FIRST, {step.name for step in work.steps})
    if work.late:
        yield phase(AGAIN, set())
        write_notebook(notebook, tagged_cells(work.changed(), order=False))
        # The edited step gives the values that it gave before, so the steps after it need not run.
        yield phase(CHANGED, {work.late})


def _compile(task: Task) -> Generator[Phase, None, None]:
    """`kaleyard compile`."""
    commands: list[Command] = [[task.programs / "kaleyard", "compile", _project(task)]]

    def read(_output: str) -> Found:
        made = len(list(task.folder.glob("components/*/*/component.yaml")))
        if made != len(task.work.steps) or not list(task.folder.glob("components/*/pipeline.yaml")):
            raise VoidError(f"{made} components were made, not a pipeline of {len(task.work.steps)}")
        return Found()

    yield Phase(FIRST, commands, read, _settings(task))


def _check(task: Task) -> Generator[Phase, None, None]:
    """`kaleyard check`, and again."""
    commands: list[Command] = [[task.programs / "kaleyard", "check", _project(task)]]

    def read(output: str) -> Found:
        if output.strip() != "no findings":
            raise VoidError(f"it said {output.strip()!r}")
        return Found()

    yield Phase(FIRST, commands, read, _settings(task))
    yield Phase(AGAIN, commands, read, _settings(task))


def _project(task: Task) -> Path:
    """The notebook of a new project."""
    settings = '[project]\nname = "work"\nversion = "0"\n\n[tool.kaleyard]\n'
    (task.folder / "pyproject.toml").write_text(settings, encoding="utf-8")
    shutil.copy(_LOCK, task.folder)
    return write_notebook(task.folder / "notebooks" / f"{task.work.name}.ipynb", tagged_cells(task.work, order=False))


def _settings(task: Task) -> dict[str, str]:
    """A cache for all of a person's projects, should there be one, is new as well."""
    return {"XDG_CACHE_HOME": str(task.folder / ".user-cache")}


def _read_run(task: Task, expected: set[str]) -> Found:
    """What the latest run gave. Raises VoidError unless just these steps ran and all others were cached."""
    records = [json.loads(path.read_text(encoding="utf-8")) for path in task.folder.glob("runs/*/*/run.json")]
    steps: dict[str, dict[str, Any]] = max(records, key=lambda run: (run["started"], len(run["id"]), run["id"]))[
        "steps"
    ]
    ran = {name for name, step in steps.items() if step["state"] != "cached"}
    if ran != expected or not all(step["state"] in ("done", "cached") for step in steps.values()):
        raise VoidError(f"the steps that ran were {', '.join(sorted(ran))}, not {', '.join(sorted(expected))}")
    metrics = {name: value for step in steps.values() for name, value in step["metrics"].items()}
    details = {}
    if re.fullmatch(r"chain-\d+", task.work.name) and len(steps) > 1:
        starts = sorted(datetime.fromisoformat(step["started"]) for step in steps.values())
        details[PER_STEP] = statistics.median((later - one).total_seconds() for one, later in pairwise(starts))
    return Found(metrics[task.work.metric], details)


RUNNERS = (
    Runner("kaleyard", KALEYARD, ("housing", "chain-?", "chain-??", "fan-*"), _run),
    Runner("kaleyard", KALEYARD, ("chain-???*",), _run, limit=3600),
    Runner("kaleyard", KALEYARD, ("compile-*",), _compile),
    Runner("kaleyard", KALEYARD, ("check",), _check),
)
