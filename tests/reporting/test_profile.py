"""Where a step's time went, in the run's data, on the terminal and in the report."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import kaleyard
from kaleyard.records.run_record import Run
from kaleyard.reporting.console import SilentReporter
from kaleyard.reporting.profile import MEANINGS, PHASES, phases, profile_table
from notebook_builder import notebook


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with a slow cell, a slow save and a step that waits for a place."""
    root = tmp_path_factory.mktemp("profile")
    (root / "pyproject.toml").write_text("[tool.kaleyard]\n", encoding="utf-8")
    path = notebook(
        root / "notebooks" / "slow.ipynb",
        ("import time", "imports"),
        ("class Slow:\n    def __reduce__(self):\n        time.sleep(0.7)\n        return (Slow, ())", "functions"),
        ("time.sleep(0.9)\na = 1", "step:cells"),
        ("b = Slow()", "step:saves"),
        ("c = (a, b is None)", "step:takes"),
    )
    return kaleyard.run(path, jobs=1, reporter=SilentReporter())


def test_the_phases_say_where_the_time_went_and_add_up(done: Run) -> None:
    assert done.state == "done"
    for step in done.steps.values():
        assert set(step.times) == set(MEANINGS)
        assert sum(step.times[p] for p in PHASES) == pytest.approx(step.seconds, abs=0.01)
    steps = done.steps
    assert steps["cells"].times["cells"] > 0.9
    assert steps["saves"].times["save"] > 0.7
    assert steps["saves"].times["cells"] < 0.5
    # It had all it needs from the start, and one place was there for two.
    assert steps["saves"].times["waiting"] == pytest.approx(steps["cells"].seconds, abs=0.6)
    assert steps["takes"].times["waiting"] < 0.5


def test_the_table_names_the_longest_step_and_its_phase(done: Run) -> None:
    lines = profile_table(done)
    assert lines[1].split() == ["seconds", *MEANINGS]
    assert [line.split()[0] for line in lines[2:5]] == ["cells", "saves", "takes"]
    assert lines[5].split()[0] == "all"
    assert re.fullmatch(r"slowest step: (cells|saves), mostly (cells|save|kernel) \(.+\)", lines[-1])


def test_the_report_draws_the_phases(done: Run) -> None:
    page = done.report.read_text()
    for name in ("kernel", "cells", "save"):
        assert page.count(f'<i class="{name}" style="width:') == 3
    assert re.search(r'class="line waiting" style="left:[\d.]+%;width:[\d.]+%" title="waiting', page)
    assert re.search(r'class="line report"', page)
    for meaning in MEANINGS.values():
        assert meaning in page


def test_a_cached_run_has_no_profile_and_says_so(done: Run) -> None:
    path = done.folder.parents[2] / "notebooks" / "slow.ipynb"
    command = [sys.executable, "-m", "kaleyard", "run", "--profile", str(path)]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "every step was cached (3)" in out
    assert out.splitlines()[-1] == "profile: no step ran"


def test_a_notebook_without_times_has_no_phases(tmp_path: Path) -> None:
    path = tmp_path / "n.ipynb"
    assert phases(path, "2026-01-01T00:00:00+00:00", 1.0) == {}
    path.write_text('{"cells": [{"cell_type": "code", "metadata": {}}]}')
    assert phases(path, "2026-01-01T00:00:00+00:00", 1.0) == {}
