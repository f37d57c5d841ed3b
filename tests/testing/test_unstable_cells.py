"""`kaleyard test --update`: which cells give another output each time they run, and what it says of them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from test_verb import stored

from kaleyard.api.test import update_outputs
from kaleyard.cli.test import test as command
from kaleyard.testing.output_update import Updated
from kaleyard.testing.unstable_cells import Unstable, difference

RANDOM = "import random\nprint('always', 'the same ' * 3, random.random())"
PICTURE = (
    "import os\nfrom IPython.display import display\n"
    "display({'image/png': os.urandom(3).hex(), 'text/plain': 'a picture'}, raw=True)"
)
COUNT = "with open('{0}.txt', 'a') as file:\n    _ = file.write('x')"
QUIET = (
    "import sys, warnings\nfrom pathlib import Path\nif not Path('warned').exists():\n    Path('warned').touch()\n"
    "    print('a.py:21: TqdmWarning: IProgress not found.', file=sys.stderr)\nprint(object())"
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project that `found` is about."""
    return tmp_path_factory.mktemp("unstable")


@pytest.fixture(scope="module")
def found(root: Path) -> dict[str, Updated]:
    """What an update says of all that can be unstable or not; some notebooks count their runs in a file."""
    (root / "pyproject.toml").write_text("[tool.kaleyard]\n")
    at = root / "notebooks"
    path = stored(
        at / "mixed.ipynb",
        (COUNT.format("mixed"), ""),
        ("print('steady')", "old\n"),
        (RANDOM, "old\n"),
        (RANDOM, "old\n"),
        (f"# NBVAL_IGNORE_OUTPUT\n{RANDOM}", "old\n"),
        (PICTURE, ""),
        (QUIET, ""),
        ("print(1 + random.random() * 1e-12)", "old\n"),
        ("random.random()", ""),
        kaleyard={"tolerance": 1e-9},
    )
    whole = json.loads(path.read_text())
    whole["cells"][3]["metadata"]["tags"] = ["nbval-ignore-output"]
    whole["cells"].insert(0, {"cell_type": "markdown", "id": "m", "metadata": {}, "source": ["Cells count from here"]})
    path.write_text(json.dumps(whole, indent=1))
    stored(at / "same.ipynb", (COUNT.format("same"), ""), ("print(1)", "1\n"))
    stored(at / "ignored.ipynb", (COUNT.format("ignored"), ""), (f"# NBVAL_IGNORE_OUTPUT\n{RANDOM}", "old\n"))
    stored(
        at / "once.ipynb",
        (RANDOM, "old\n"),
        ("import os\nos.mkdir('made')", ""),
        ("print(random.random())", "old\n"),
    )
    stored(
        at / "dies.ipynb",
        ("import os\nprint(1)", "0\n"),
        ("if os.path.exists('ran'): os._exit(3)\nopen('ran', 'w').close()", ""),
    )
    return {Path(one.notebook).stem: one for one in update_outputs(at)}


def test_only_what_is_stored_anew_and_never_the_same_is_told(found: dict[str, Updated]) -> None:
    mixed = found["mixed"]
    assert mixed.cells == (3, 4, 5, 6, 7, 8, 9, 10)
    assert [(one.cell, one.tag) for one in mixed.unstable] == [(4, "nbval-ignore-output"), (10, "nbval-ignore-output")]
    assert re.fullmatch(r"stdout line 1: '\.\.\..* 0\.\d+', then '\.\.\..* 0\.\d+'", mixed.unstable[0].difference)
    assert mixed.unstable[1].difference.startswith("text/plain line 1: '0.")


def test_a_notebook_runs_twice_only_for_new_outputs_that_are_compared(found: dict[str, Updated], root: Path) -> None:
    times = {name: len((root / f"notebooks/{name}.txt").read_text()) for name in ("mixed", "same", "ignored")}
    assert times == {"mixed": 2, "same": 1, "ignored": 1}
    assert (found["same"].cells, found["ignored"].cells, found["ignored"].unstable) == ((), (2,), ())


def test_a_cell_that_fails_the_second_time_is_told_without_a_tag(found: dict[str, Updated]) -> None:
    once = found["once"].unstable
    assert [(one.cell, one.tag) for one in once] == [(1, "nbval-ignore-output"), (2, "")]
    assert once[1].difference == "FileExistsError: [Errno 17] File exists:..."
    assert str(once[1]).startswith("cell 2 fails when it runs again (FileExistsError")
    assert found["dies"].unstable == (Unstable(2, "the kernel ended its own process with exit code 3", tag=""),)


def test_the_verb_says_it_and_proposes_the_tag(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    path = stored(project / "notebooks/a.ipynb", ("print('steady')", "steady\n"), (RANDOM, "old\n"))
    told = json.loads(CliRunner().invoke(command, ["--update", "--json"]).stdout)
    (cell,) = told[0].pop("unstable")
    assert told == [{"notebook": "notebooks/a.ipynb", "cells": [2]}]
    assert (cell["cell"], cell["tag"]) == (2, "nbval-ignore-output")
    assert cell["difference"].startswith("stdout line 1: ")
    first, second = CliRunner().invoke(command, ["--update"]).stdout.splitlines()
    assert first == "notebooks/a.ipynb: new outputs in cell 2"
    assert second.startswith("notebooks/a.ipynb: cell 2 gives another output each time (stdout line 1: ")
    assert second.endswith("): make it give the same, or tag it nbval-ignore-output")
    assert "tags" not in json.loads(path.read_text())["cells"][1]["metadata"]


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        ({"stdout": ["a\n"]}, {"stdout": ["a\n"]}, ""),
        ({"stdout": ["a\nb\n"]}, {"stdout": ["a\nc\n"]}, "stdout line 2: 'b', then 'c'"),
        ({"stdout": ["a\n"]}, {"stdout": ["a"]}, "stdout line 2: '', then nothing"),
        ({"stdout": ["a"]}, {"stdout": ["a\nb"]}, "stdout line 2: nothing, then 'b'"),
        ({"stdout": ["\x1b[1ma\x1b[0m"]}, {"stdout": ["\x1b[1mb\x1b[0m"]}, "stdout line 1: 'a', then 'b'"),
        ({"stdout": ["a"]}, {"stdout": ["a"], "stderr": ["b"]}, "stderr: only the second time"),
        ({"stdout": ["a"], "text/html": ["b"]}, {"stdout": ["a"]}, "text/html: only the first time"),
        ({"text/html": ["a", "b"]}, {"text/html": ["a"]}, "text/html: 2 outputs, then 1"),
        ({"application/json": [{"a": 1}]}, {"application/json": [{"a": 2}]}, "application/json line 1: "),
    ],
)
def test_a_difference_is_told_in_a_few_words(one: dict[str, Any], other: dict[str, Any], words: str) -> None:
    told = difference(one, other)
    assert told.startswith(words) if words.endswith(": ") else told == words
    assert len(told) < 150


def test_a_long_line_is_shown_where_it_differs() -> None:
    told = difference({"stdout": ["x" * 500 + "1" + "y" * 500]}, {"stdout": ["x" * 500 + "2" + "y" * 500]})
    shown = "...xxxxxxxxxxxxxxx{0}yyyyyyyyyyyyyyyyyyyyyyyy..."
    assert told == f"stdout line 1: '{shown.format(1)}', then '{shown.format(2)}'"
