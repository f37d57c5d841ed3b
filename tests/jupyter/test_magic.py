"""`%kaleyard` in a real kernel and in terminal IPython: the verbs, their errors, which notebook they mean."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from kaleyard.jupyter.current_notebook import this_notebook
from notebook_builder import NotebookCells, notebook, notebook_bytes
from notebook_kernel import Kernel, refused

STEPS: tuple[NotebookCells, ...] = (
    ("N = 2", "pipeline-parameters"),
    ("double = 2 * N", "step:double"),
    ("total = double + 1\ntotal", "step:total"),
    ("print(total)", "pipeline-metrics"),
)
WRONG: tuple[NotebookCells, ...] = (("print(missing)", "step:show"),)


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    root = tmp_path_factory.mktemp("project")
    (root / "pyproject.toml").write_text("[tool.kaleyard]\n")
    notebook(root / "notebooks" / "here.ipynb", *STEPS)
    (root / "notebooks" / "other").mkdir()
    made = Kernel(root / "notebooks")
    yield made
    made.client._cleanup_kernel()


def shown(outputs: list[Any]) -> dict[str, str]:
    """The one thing that is shown."""
    (one,) = outputs
    assert one.output_type == "display_data", one
    return dict(one.data)


def test_a_verb_without_a_notebook_means_the_one_it_stands_in(kernel: Kernel) -> None:
    assert shown(kernel.run("%kaleyard check"))["text/plain"] == "no findings"
    assert "here · 2 steps" in shown(kernel.run("%kaleyard show"))["text/plain"]


def test_show_draws_the_pipeline_as_svg_in_the_themes_colours(kernel: Kernel) -> None:
    data = shown(kernel.run("%kaleyard show"))
    assert data["image/svg+xml"].startswith("<svg")
    assert data["image/svg+xml"] in data["text/html"] + "\n"
    assert '[data-jp-theme-light="false"]' in data["text/html"]


def test_show_in_a_form_that_was_asked_for_prints_it(kernel: Kernel) -> None:
    (one,) = kernel.run("%kaleyard show --format text")
    assert one.output_type == "stream"
    assert "total" in one.text


def test_findings_are_a_table_that_leads_to_their_cells_and_fail_the_cell(kernel: Kernel) -> None:
    data = json.loads(notebook_bytes(*WRONG))
    data["cells"][0]["id"] = "the-cell"
    (kernel.folder / "other" / "wrong.ipynb").write_text(json.dumps(data))
    table, error = kernel.run("%kaleyard check other/wrong.ipynb")
    assert "error: notebooks/other/wrong.ipynb: cell 1, step show: KY201" in table.data["text/plain"]
    assert '<a href="other/wrong.ipynb#cell-id=the-cell">cell 1</a>' in table.data["text/html"]
    assert "missing" in table.data["text/html"]
    assert refused([error]) == "error: there are findings, or stale components"


def test_a_run_ends_with_its_metrics_and_a_link_to_its_report(kernel: Kernel) -> None:
    data = shown(kernel.run("%kaleyard run -p N=4"))
    assert data["text/plain"].startswith("done: 2 done")
    assert "total = 9" in data["text/plain"]
    assert 'href="../runs/here/' in data["text/html"]
    assert "<svg" in data["text/html"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nothing", "No such command 'nothing'"),
        ("check nope.ipynb", "there is no such file"),
        ("run --jobs 0", "0 is not in the range"),
        ("check 'half", "No closing quotation"),
        ("run -p NO=1", "NO"),
    ],
)
def test_errors_are_the_commands_message_without_a_traceback(line: str, message: str, kernel: Kernel) -> None:
    assert message in refused(kernel.run(f"%kaleyard {line}"))


def test_help_and_json_are_the_commands_own(kernel: Kernel) -> None:
    (told,) = kernel.run("%kaleyard run --help")
    assert "Usage: %kaleyard run" in told.text
    (told,) = kernel.run("%kaleyard check --json")
    assert told.text.strip() == "[]"
    (told,) = kernel.run("%kaleyard")
    assert "doctor" in told.text


def test_a_step_that_raises_is_shown_with_its_message(kernel: Kernel) -> None:
    notebook(kernel.folder / "fails.ipynb", ("1 / 0", "step:divide"))
    table, error = kernel.run("%kaleyard run fails.ipynb")
    assert "ZeroDivisionError" in table.data["text/plain"]
    assert "ZeroDivisionError" in table.data["text/html"]
    assert refused([error]) == "error: a step, cell or test failed"


def test_text_in_notebooks_cannot_become_markup(kernel: Kernel) -> None:
    notebook(kernel.folder / "markup.ipynb", ("print(1)\nraise ValueError('<img src=x>')", "step:show"))
    table = kernel.run("%kaleyard run markup.ipynb")[0]
    assert "<img" not in table.data["text/html"]


def test_loading_twice_and_unloading_are_fine(kernel: Kernel) -> None:
    assert kernel.run("%reload_ext kaleyard") == []
    kernel.run("%unload_ext kaleyard")
    assert "kaleyard" not in kernel.run("print(*get_ipython().magics_manager.magics['line'])")[0].text.split()
    assert kernel.run("%load_ext kaleyard") == []


def test_terminal_ipython_gets_plain_text(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.kaleyard]\n")
    notebook(tmp_path / "notebooks" / "here.ipynb", *STEPS)
    lines = "%load_ext kaleyard\n%kaleyard check\n%kaleyard show notebooks/here.ipynb\n%kaleyard show nope.ipynb\n"
    (tmp_path / "session.ipy").write_text(lines)
    done = subprocess.run(
        [sys.executable, "-m", "IPython", "--colors=NoColor", "session.ipy"],
        cwd=tmp_path,
        env=os.environ | {"IPYTHONDIR": str(tmp_path / "ipython"), "JPY_SESSION_NAME": "elsewhere.ipynb"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert "no findings" in done.stdout, done
    assert "here · 2 steps" in done.stdout
    assert "there is no such file" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert "<svg" not in done.stdout


@pytest.mark.parametrize(
    ("names", "variable", "kernel_runs", "found"),
    [
        ({}, "/a/b.ipynb", True, Path("/a/b.ipynb")),
        ({}, "sub/b.ipynb", True, Path("b.ipynb")),
        ({"__vsc_ipynb_file__": "/v/c.ipynb"}, "/a/b.ipynb", True, Path("/v/c.ipynb")),
        ({}, "/a/console-1-0f", True, None),
        ({}, "/a/b.py", True, None),
        ({}, "/a/b.ipynb", False, None),
        ({}, "", True, None),
    ],
)
def test_the_notebook_is_what_the_front_end_tells(
    names: dict[str, str], variable: str, kernel_runs: bool, found: Path | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JPY_SESSION_NAME", variable)
    shell = SimpleNamespace(user_ns=names, kernel=object() if kernel_runs else None)
    assert this_notebook(shell) == found


def test_interrupting_the_kernel_stops_the_run_and_leaves_no_step_behind(kernel: Kernel) -> None:
    mark = kernel.folder / "mark"
    source = f"import os, time, pathlib\npathlib.Path({str(mark)!r}).write_text(str(os.getpid()))\ntime.sleep(600)"
    notebook(kernel.folder / "slow.ipynb", (source, "step:slow"))
    manager = kernel.client.km
    assert manager is not None

    def interrupt() -> None:
        deadline = time.monotonic() + 120
        while not (mark.exists() and mark.read_text()) and time.monotonic() < deadline:
            time.sleep(0.05)
        asyncio.run(manager.interrupt_kernel())

    waiting = threading.Thread(target=interrupt)
    waiting.start()
    outputs = kernel.run("%kaleyard run slow.ipynb")
    waiting.join()
    assert "interrupted" in refused(outputs)
    assert not psutil.pid_exists(int(mark.read_text()))
    assert kernel.run("1 + 1")[0].data["text/plain"] == "2"
