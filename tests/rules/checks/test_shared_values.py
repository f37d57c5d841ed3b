"""The rules about one value in several places, case by case."""

from __future__ import annotations

from pathlib import Path

import pytest

from notebook_builder import NotebookCells
from rule_findings import codes, found

ROWS = ("rows = [1]", "step:load")
SHOW = ("print(rows)", "step:show")


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("rows.append(2)", "this cell uses `rows`, which step load defines"),
        ("import json\ntotal = len(rows)", "this cell uses `rows`, which step load defines"),
        ("def add(): rows.append(2)\nadd()", "this cell uses `rows`, which step load defines"),
        ("def size(): return len(rows)\nsize()", "this cell uses `rows`, which step load defines"),
        ("rows = [5]", "this cell uses `rows`, which step load defines"),
        ("rows, other = [5], rows", "this cell uses `rows`, which step load defines"),
    ],
)
def test_a_shared_cell_that_works_on_a_steps_value_is_told_once(source: str, what: str, tmp_path: Path) -> None:
    told = [f for f in found(tmp_path, ROWS, (source, "functions"), SHOW) if f.code == "KY206"]
    assert [(f.place.cell, f.place.step, f.what) for f in told] == [(2, None, what)]
    assert told[0].line == (2 if "\n" in source else 1)


def test_a_shared_line_that_works_on_two_values_is_told_for_the_first(tmp_path: Path) -> None:
    cells = [("rows = [1]\nmore = [2]", "step:load"), ("rows.extend(more)", "functions"), SHOW]
    told = [f.what.split()[3] for f in found(tmp_path, *cells) if f.code == "KY206"]
    assert told == ["`more`,"]


@pytest.mark.parametrize(
    "cells",
    [
        [ROWS, ("def f(): return len(rows)", "functions"), ("print(f())", "step:show")],
        [("rows = [5]", "functions"), ("rows = [1]", "step:load"), SHOW],
        [ROWS, ("other = [5]", "functions"), ("print(rows, other)", "step:show")],
        [ROWS, ("import json", "imports"), ("print(json, rows)", "step:show")],
    ],
)
def test_a_shared_cell_that_defines_or_stands_above_is_let_through(cells: list[NotebookCells], tmp_path: Path) -> None:
    assert "KY206" not in codes(tmp_path, *cells)


LATE = "# kaleyard: disable=KY105\n"


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        ([("a = 1", "step:p"), ("print(a)", "step:q"), ("a = 2", "step:p")], [(3, "p", "q")]),
        ([("a = 1", "step:p"), ("a = 5\nprint(a)", "step:q"), ("a = 2", "step:p")], [(3, "p", "q")]),
        (
            [("a = 1", "step:p"), ("print(a)", "step:q"), ("print(a)", "step:r"), ("a = 2", "step:p")],
            [(4, "p", "q")],
        ),
        ([("a = 1", "step:p"), ("print(1)", "step:q"), ("a = 2", "step:p"), ("print(a)", "step:r")], []),
        ([("a = 1", "step:p"), ("print(a)", "step:q"), ("b = 2", "step:p")], []),
        ([("b = 1", "step:p"), ("a = 1", "step:o"), ("print(a)", "step:q"), ("b = 2", "step:p")], []),
        ([("a = 1", "step:p"), ("a = 2", ""), ("print(a)", "step:q"), ("b = 2", "step:p")], []),
        ([("a = 1", "step:p"), ("a = 5", "step:q"), ("a = 2", "step:p")], [(3, "p", "q")]),
        # The step between takes the name from another step.
        ([("a = 1", "step:o"), ("b = 1", "step:p"), ("print(a)", "step:q prev:o"), ("a = 2", "step:p")], []),
        # Both are split, and the other one uses the name in its own later part alone.
        ([("a = 1", "step:p"), ("b = 1", "step:q"), ("a = 2", "step:p"), ("print(a, b)", "step:q")], []),
        ([("a = 1", "step:p"), ("b = 1", "step:q"), ("a = 2", "step:p"), ("a = b", "step:q")], []),
        ([("a = 1", "step:p"), ("def f(): return a", "step:q"), ("a = 2", "step:p"), ("print(f())", "step:q")], []),
        ([("a = 1", "step:p"), ("b = a", "step:q"), ("a = 2", "step:p"), ("print(a, b)", "step:q")], [(3, "p", "q")]),
        (
            [("a = 1", "step:p"), ("def f(): return a\nf()", "step:q"), ("a = 2", "step:p"), ("print(a)", "step:q")],
            [(3, "p", "q")],
        ),
    ],
)
def test_a_later_part_of_a_step_that_gives_steps_between_a_new_value_is_told(
    cells: list[NotebookCells], told: list[tuple[int, str, str]], tmp_path: Path
) -> None:
    late = [f for f in found(tmp_path, *cells) if f.code == "KY208"]
    assert [(f.place.cell, f.place.step, f.what.split("below step ")[1].split(",")[0]) for f in late] == told


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        ([ROWS, ("1\nrows.append(2)", "step:grow"), ("print(rows)", "step:show prev:load")], [(2, "grow", 2)]),
        (
            [
                ROWS,
                ("rows.append(2)", "step:grow"),
                ("print(1)", "step:other prev:load"),
                ("print(rows)", "step:show prev:load"),
            ],
            [(2, "grow", 1)],
        ),
        ([ROWS, ("rows.append(2)", "step:grow"), SHOW], []),
        ([ROWS, ("rows = [2]\nrows.append(2)", "step:grow"), ("print(rows)", "step:show prev:load")], []),
        ([ROWS, ("rows = rows + [2]\nrows.append(3)", "step:grow"), ("print(rows)", "step:show prev:load")], []),
        ([ROWS, ("print(rows)", "step:show"), ("rows.append(2)", "step:grow")], []),
        ([("rows = [1]", "functions"), ("rows.append(2)", "step:grow"), ("print(rows)", "step:show")], []),
        ([ROWS, ("own = []\nown.append(2)", "step:grow"), ("own = 1\nprint(rows, own)", "step:show prev:load")], []),
    ],
)
def test_a_value_changed_beside_a_step_that_takes_it_as_it_was_is_told(
    cells: list[NotebookCells], told: list[tuple[int, str, int]], tmp_path: Path
) -> None:
    beside = [f for f in found(tmp_path, *cells) if f.code == "KY209"]
    assert [(f.place.cell, f.place.step, f.line) for f in beside] == told
    if told:
        assert beside[0].what == "`rows` is changed in place, but step show uses it as step load left it"
        assert not beside[0].is_error


OS = ("import os, warnings\nimport pandas as pd", "imports")
INSIDE = "with open('log.txt', 'w'):\n    "


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        ([OS, (f"1\n{INSIDE}os.environ['A'] = 'b'", "step:load"), ("os.getcwd()", "step:show")], ["`os.environ`"]),
        ([OS, (f"{INSIDE}os.environ.update(A='b')", "step:load"), ("os.getcwd()", "step:show")], ["`os.environ`"]),
        (
            [OS, (f"{INSIDE}pd.options.mode.copy = 1", "step:load"), ("pd.Series()", "step:show")],
            ["`pd.options.mode.copy`"],
        ),
        (
            [OS, (f"{INSIDE}os.environ['A'] = 'b'", "step:a"), ("print(1)", "step:b"), ("os.getcwd()", "step:c")],
            ["`os.environ`"],
        ),
        # A statement of its own goes along.
        ([OS, ("os.environ['A'] = 'b'", "step:load"), ("os.getcwd()", "step:show")], []),
        ([OS, ("os.getcwd()", "step:show"), ("os.environ['A'] = 'b'", "step:load")], []),
        ([OS, ("os.environ['A'] = 'b'\nos.getcwd()", "step:load"), ("print(1)", "step:show")], []),
        ([OS, ("os.environ['A'] = 'b'", "step:load"), ("pd.Series()", "step:show")], []),
        ([OS, ("os.getcwd()", "step:load"), ("os.getcwd()", "step:show")], []),
    ],
)
def test_a_module_changed_for_a_later_step_is_told(cells: list[NotebookCells], told: list[str], tmp_path: Path) -> None:
    changed = [f for f in found(tmp_path, *cells) if f.code == "KY210"]
    assert [f.what.split()[0] for f in changed] == told
    if told:
        assert (changed[0].place.cell, changed[0].line) == (2, 3 if cells[1][0].startswith("1") else 2)
