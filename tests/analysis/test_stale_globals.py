"""A function inside a value, and a name it reads that has changed since: refused by name, never silently wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

import kaleyard
from kaleyard.records.run_record import Run
from kaleyard.reporting.console import SilentReporter
from notebook_builder import NotebookCells, load, notebook

HELD = "k = 5\ndef f(x): return x * k\nheld = {'f': f}"
# What makes a value with a function inside, what changes what it reads, and what calls the function.
REFUSED: dict[str, list[NotebookCells]] = {
    "bound anew by a step between": [
        (HELD, "step:a"),
        ("k = 7", "step:b prev:a"),
        ("print(held['f'](3))", "step:c prev:b"),
    ],
    "bound anew by the step that calls it": [(HELD, "step:a"), ("k = 7\nprint(held['f'](3))", "step:b")],
    "a lambda": [
        ("k = 5\nheld = [lambda x: x * k]", "step:a"),
        ("k = 7", "step:b prev:a"),
        ("print(held[0](3))", "step:c prev:b"),
    ],
    "changed in place": [
        ("k = [5]\ndef f(x): return x * k[0]\nheld = {'f': f}", "step:a"),
        ("k[0] = 7", "step:b"),
        ("print(held['f'](3))", "step:c prev:b"),
    ],
    "a function that it calls, defined anew": [
        ("def g(): return 5\ndef f(x): return x * g()\nheld = {'f': f}", "step:a"),
        ("def g(): return 7", "step:b prev:a"),
        ("print(held['f'](3))", "step:c prev:b"),
    ],
    "a function of a shared cell": [
        ("def f(x): return x * k", "functions"),
        ("k = 5\nheld = {'f': f}", "step:a"),
        ("k = 7", "step:b prev:a"),
        ("print(held['f'](3))", "step:c prev:b"),
    ],
    "handed on in another value": [
        (HELD, "step:a"),
        ("more = [held]", "step:b"),
        ("k = 7", "step:c prev:b"),
        ("print(more[0]['f'](3))", "step:d prev:c"),
    ],
}
SAME: dict[str, list[NotebookCells]] = {
    "nothing changed": [(HELD, "step:a"), ("m = 7", "step:b prev:a"), ("told = held['f'](3)\ntold", "step:c prev:b")],
    "another name changed": [
        ("k = 5\nm = 1\ndef f(x): return x * k\nheld = {'f': f, 'm': m}", "step:a"),
        ("m = 7", "step:b"),
        ("told = held['f'](3)\ntold", "step:c prev:b"),
    ],
    "changed before the value was made": [
        ("k = 4\ndef f(x): return x * k", "step:a"),
        ("k = 5\nheld = {'f': f}", "step:b"),
        ("told = held['f'](3)\ntold", "step:c"),
    ],
    "no function in the value": [
        ("k = 5\ndef f(x): return x * k\nheld = {'f': f(1)}", "step:a"),
        ("k = 7", "step:b prev:a"),
        ("told = held['f'] * 3\ntold", "step:c prev:b"),
    ],
    "imported again": [
        ("import math\ndef f(x): return math.floor(x * 5.0)\nheld = {'f': f}", "step:a"),
        ("import math\nz = math.pi", "step:b prev:a"),
        ("told = held['f'](3)\ntold", "step:c prev:b"),
    ],
}


def run(folder: Path, cells: list[NotebookCells]) -> Run:
    return kaleyard.run(notebook(folder / "notebooks" / "held.ipynb", *cells), reporter=SilentReporter())


@pytest.mark.parametrize("what", REFUSED)
def test_a_function_in_a_value_is_refused_where_a_name_it_reads_has_changed_since(what: str, project: Path) -> None:
    done = run(project, REFUSED[what])
    last = list(done.steps.values())[-1]
    assert (done.state, last.state) == ("failed", "failed")
    assert last.error is not None
    assert "a function in it reads `" in last.error["what"]
    assert "call the function by its name" in str(last.error["fix"])


@pytest.mark.parametrize("what", SAME)
def test_a_function_in_a_value_works_where_what_it_reads_is_as_it_was(what: str, project: Path) -> None:
    done = run(project, SAME[what])
    assert done.state == "done", [s.error for s in done.steps.values() if s.error]
    assert done.artifact(list(done.steps)[-1], "told").read_text().strip() == "15"


def test_a_step_looks_out_for_the_names_that_functions_read_and_no_others(tmp_path: Path) -> None:
    pipeline = load(
        tmp_path,
        ("def f(rows):\n    n = len(rows)\n    return n * k", "functions"),
        ("k = n = 1\nrows = [f([])]", "step:a"),
        ("k = n = 2\nprint(rows)", "step:b"),
    )
    (taken,) = pipeline.step("b").inputs
    assert (taken.name, taken.changed) == ("rows", ("k",))
