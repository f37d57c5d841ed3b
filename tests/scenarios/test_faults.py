"""Steps that fail, die, hang or are stopped: each has its message, and nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

import kaleyard
from kaleyard.records.run_record import Run
from kaleyard.reporting.console import SilentReporter
from notebook_builder import notebook

PLAIN = ("a = 1", "step:first")


def run(path: Path, **options: object) -> Run:
    return kaleyard.run(path, reporter=SilentReporter(), **options)  # type: ignore[arg-type]


def test_a_cell_that_raises_is_named_and_independent_steps_finish(project: Path) -> None:
    path = notebook(
        project / "notebooks" / "raises.ipynb",
        ("def inner(x):\n    return 1 / x", "functions"),
        PLAIN,
        ("## Words above it", "markdown"),
        ("b = a", "step:bad"),
        ("print('so far')\nc = inner(b - 1)", ""),
        ("d = c", "step:after"),
        ("e = a + 1", "step:beside"),
    )
    done = run(path)
    assert done.state == "failed"
    states = {n: s.state for n, s in done.steps.items()}
    assert states == {"first": "done", "bad": "failed", "after": "skipped", "beside": "done"}
    error = done.steps["bad"].error
    assert error is not None
    assert (error["kind"], error["notebook"], error["cell"], error["step"]) == (
        "CellError",
        "notebooks/raises.ipynb",
        5,
        "bad",
    )
    assert "division by zero" in error["what"]
    assert "inner" in error["traceback"]
    assert "so far" in (done.folder / str(done.steps["bad"].page)).read_text()
    assert "so far" in (done.folder / str(done.steps["bad"].notebook)).read_text()
    assert "division by zero" in done.report.read_text()
    assert done.steps["after"].reason == "bad failed"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "killed by SIGKILL"),
        ("import os\nos._exit(3)", "ended its own process"),
    ],
)
def test_a_kernel_that_dies_is_told_with_the_cell(project: Path, source: str, words: str) -> None:
    path = notebook(project / "notebooks" / "dies.ipynb", PLAIN, (source, "step:dies"), ("after = 1", ""))
    done = run(path)
    error = done.steps["dies"].error
    assert done.steps["dies"].state == "failed"
    assert error is not None
    assert error["kind"] == "KernelDiedError"
    assert words in error["what"]
    assert error["cell"] == 2
    assert done.steps["dies"].page


def test_a_step_past_its_time_is_stopped_with_notebook_page_and_no_process_left(project: Path) -> None:
    source = "import subprocess, time\nprint('here')\nchild = subprocess.Popen(['sleep', '987'])\ntime.sleep(600)"
    path = notebook(project / "notebooks" / "slow.ipynb", (source, "step:slow"))
    began = time.monotonic()
    done = run(path, timeout=12)
    assert time.monotonic() - began < 60
    error = done.steps["slow"].error
    assert error is not None
    assert error["kind"] == "StepTimeoutError"
    assert "longer than 12 s" in error["what"]
    assert error["cell"] == 1
    assert "here" in (done.folder / str(done.steps["slow"].page)).read_text()
    assert not [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", "987"]]


def test_a_step_whose_own_process_is_killed_still_has_its_cells_to_show(project: Path) -> None:
    path = notebook(
        project / "notebooks" / "killed.ipynb",
        ("import os, signal, time\nos.kill(os.getppid(), signal.SIGKILL)\ntime.sleep(60)", "step:killed"),
    )
    # A cold kernel is a child of the step's process.
    done = run(path, cold=True)
    step = done.steps["killed"]
    assert step.error is not None
    assert "killed by SIGKILL" in step.error["what"]
    assert "os.getppid()" in (done.folder / str(step.notebook)).read_text()
    assert "getppid" in (done.folder / str(step.page)).read_text()


def test_a_value_that_was_not_made_is_named_with_the_cell_that_could_have(project: Path) -> None:
    path = notebook(
        project / "notebooks" / "lost.ipynb",
        ("WANTED = False", "pipeline-parameters"),
        ("print('before')", "step:first"),
        ("if WANTED:\n    a = 1", ""),
        ("%time print('after')", ""),
        ("b = a", "step:second"),
        ("if WANTED:\n    def f(): return 1", "step:third"),
        ("g = [f]", "step:fourth"),
        ("if WANTED:\n    score = 1", "step:fifth"),
        ("print(score)", "pipeline-metrics"),
    )
    done = run(path)
    error = done.steps["first"].error
    assert error is not None
    assert (error["kind"], error["cell"]) == ("DataError", 3)
    assert error["what"].startswith("`a` has no value at the end of this step: it is assigned only in a branch")
    assert "`a = None` above the branch" in error["fix"]
    assert done.steps["second"].state == "skipped"
    errors = [done.steps[name].error or {} for name in ("third", "fifth")]
    assert [(e.get("cell"), e.get("what", "").split()[0]) for e in errors] == [(6, "`f`"), (8, "`score`")]


def test_sys_exit_before_the_values_are_saved_is_a_failure(project: Path) -> None:
    path = notebook(
        project / "notebooks" / "exits.ipynb",
        ("import sys\na = 1\nsys.exit(0)", "step:first"),
        ("b = a", "step:second"),
    )
    error = run(path).steps["first"].error
    assert error is not None
    assert "sys.exit" in error["what"]
    assert error["cell"] == 1


def test_a_value_changed_behind_the_back_of_a_later_step_is_refused(project: Path) -> None:
    path = notebook(
        project / "notebooks" / "changes.ipynb",
        ("import random", "imports"),
        ("rows = [3, 1, 2]\ndef tidy(x):\n    exec('x.sort()')", "step:first"),
        ("tidy(rows)\nsmallest = rows[0]", "step:second"),
        ("first = rows[0]", "step:third"),
    )
    done = run(path)
    error = done.steps["second"].error
    assert error is not None
    assert "changed `rows` in place" in error["what"]
    assert done.steps["third"].state == "done"


def kaleyard_process(path: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "kaleyard", "run", str(path), *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_no_process_and_a_whole_report(project: Path, number: signal.Signals) -> None:
    marker = project / "started"
    source = f"from pathlib import Path\nimport time\nPath({str(marker)!r}).write_text('x')\ntime.sleep(600)"
    path = notebook(project / "notebooks" / "long.ipynb", (source, "step:long"), ("b = 1", "step:other"))
    process = kaleyard_process(path, "--jobs", "1")
    deadline = time.monotonic() + 60
    while not marker.exists():
        assert time.monotonic() < deadline, "the step did not start"
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    family = psutil.Process(process.pid).children(recursive=True)
    assert family
    os.kill(process.pid, number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, (out, err)
    assert "interrupted" in err
    assert "Traceback" not in err
    gone, alive = psutil.wait_procs(family, timeout=5)
    assert len(gone) == len(family), alive
    (folder,) = (project / "runs" / "long").iterdir()
    data = json.loads((folder / "run.json").read_text())
    assert data["state"] == "stopped"
    assert {n: s["state"] for n, s in data["steps"].items()} == {"long": "stopped", "other": "stopped"}
    assert (folder / "index.html").is_file()


def test_two_runs_at_once_do_not_mix(project: Path) -> None:
    path = notebook(
        project / "notebooks" / "twice.ipynb",
        ("N = 1", "pipeline-parameters"),
        ("a = N * 10", "step:first"),
        ("b = a + N", "step:second"),
        ("print(b)", "pipeline-metrics"),
    )
    processes = [kaleyard_process(path, "-p", f"N={n}", "--json") for n in (1, 2)]
    results = [json.loads(p.communicate(timeout=120)[0]) for p in processes]
    assert [r["steps"]["second"]["metrics"] for r in results] == [{"b": 11}, {"b": 22}]
    assert results[0]["folder"] != results[1]["folder"]
