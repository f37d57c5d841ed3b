"""The rules about tags and the steps they make, case by case."""

from __future__ import annotations

from pathlib import Path

import pytest

from notebook_builder import NotebookCells
from rule_findings import codes, found


def test_a_tag_that_is_nearly_right_is_told_with_the_right_one(tmp_path: Path) -> None:
    one, other, *_ = found(tmp_path, ("x = 1", "Step:sum nbval-ignore-output"), ("x = 2", "pipeline_metrics step:sum"))
    assert (one.code, one.place.cell, one.advice) == ("KY101", 1, "Did you mean `step:sum`?")
    assert (other.code, other.place.cell) == ("KY101", 2)
    assert "pipeline-metrics" in other.advice


@pytest.mark.parametrize(
    ("cells", "step", "what", "advice"),
    [
        ([("1", "step:load"), ("2", "prev:load functions")], None, "on a cell without a step", "Add a `step:` tag."),
        ([("1", "step:load prev:load")], "load", "step load cannot depend on itself", "Remove the tag."),
        (
            [("1", "step:load"), ("2", "step:train prev:laod")],
            "train",
            "`prev:laod`: there is no step laod",
            "Did you mean `prev:load`?",
        ),
        (
            [("1", "step:load"), ("2", "step:train prev:elsewhere")],
            "train",
            "`prev:elsewhere`: there is no step elsewhere",
            "The steps are: load, train.",
        ),
        ([("1", "functions prev:load")], None, "on a cell without a step", "Add a `step:` tag."),
        (
            [("1", "step:load prev:train"), ("2", "step:train")],
            "load",
            "`prev:train`: step train comes later, in cell 2",
            "Name a step above; ",
        ),
    ],
)
def test_prev_to_a_step_that_does_not_stand_above_is_told(
    cells: list[NotebookCells], step: str | None, what: str, advice: str, tmp_path: Path
) -> None:
    one = next(f for f in found(tmp_path, *cells) if f.code == "KY102")
    assert one.place.step == step
    assert what in one.what
    assert one.advice.startswith(advice)


@pytest.mark.parametrize(
    "cells",
    [
        [("1", "step:load"), ("2", "step:train prev:load")],
        [("1", "step:load"), ("2", "step:train"), ("3", "step:train prev:load")],
        [("1", "step:load"), ("2", "step:train"), ("3", "step:test prev:load prev:train")],
        [("1", "step:load limit:cpu:1"), ("2", "step:train prev:load label:a:b")],
    ],
)
def test_prev_to_steps_above_is_let_through(cells: list[NotebookCells], tmp_path: Path) -> None:
    assert codes(tmp_path, *cells) == []


def test_prev_to_a_step_that_also_has_cells_below_is_let_through(tmp_path: Path) -> None:
    cells = [("a = 1", "step:load"), ("b = 2", "step:train prev:load"), ("c = 3", "step:load")]
    assert codes(tmp_path, *cells) == ["KY105"]


@pytest.mark.parametrize(
    ("tags", "what"),
    [
        ("step:load step:train", "`step:load` and `step:train`"),
        ("imports functions", "`imports` and `functions`"),
        ("step:load functions", "`functions`"),
        ("step:load skip", "`skip`"),
        ("imports step:load", "`imports` and `step:load`"),
    ],
)
def test_a_cell_of_two_roles_is_told_with_both(tags: str, what: str, tmp_path: Path) -> None:
    (one,) = [f for f in found(tmp_path, ("print(1)", tags)) if f.code == "KY103"]
    assert one.place.cell == 1
    assert what in one.what


@pytest.mark.parametrize("tags", ["step:b prev:a", "step:b limit:cpu:1 label:x:y", "step:b other-tool", "imports"])
def test_a_cell_of_one_role_and_other_tags_is_let_through(tags: str, tmp_path: Path) -> None:
    assert codes(tmp_path, ("print(1)", "step:a"), ("print(2)", tags)) == []


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        ([("1", "step:kaleyard_x")], [(1, "kaleyard_x")]),
        ([("1", "step:my_kaleyard")], []),
        ([("1", "step:a_b"), ("2", "step:a__b")], [(2, "a__b")]),
        ([("1", "step:a_b"), ("2", "step:_a_b")], [(2, "_a_b")]),
        ([("1", "step:a_b"), ("2", "step:ab")], []),
        ([("1", "step:a_b"), ("2", "step:a_b")], []),
        ([("1", "step:a"), ("2", "step:b prev:a label:a:a")], []),
    ],
)
def test_step_names_that_a_cluster_could_not_tell_apart_are_told(
    cells: list[NotebookCells], told: list[tuple[int, str]], tmp_path: Path
) -> None:
    assert [(f.place.cell, f.place.step) for f in found(tmp_path, *cells) if f.code == "KY104"] == told


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        ([("1", "step:a"), ("2", "step:b"), ("3", "step:a")], [(3, "a", "step a comes back after step b")]),
        ([("1", "step:a"), ("2", "step:b"), ("3", ""), ("4", "step:a")], [(4, "a", "step a comes back after step b")]),
        ([("1", "step:a"), ("2", "step:a"), ("3", ""), ("4", "step:b"), ("5", "step:b")], []),
        ([("1", "step:a"), ("import json", "imports"), ("2", "step:a"), ("3", "skip"), ("4", "step:a")], []),
        (
            [("1", "step:a"), ("2", "step:b"), ("3", "step:a"), ("4", "step:a"), ("5", "step:b")],
            [(3, "a", "step a comes back after step b"), (5, "b", "step b comes back after step a")],
        ),
    ],
)
def test_a_step_in_two_places_is_told_where_it_comes_back(
    cells: list[NotebookCells], told: list[tuple[int, str, str]], tmp_path: Path
) -> None:
    assert [(f.place.cell, f.place.step, f.what) for f in found(tmp_path, *cells) if f.code == "KY105"] == told


def test_a_misspelt_step_is_told_once_and_not_its_order_too(tmp_path: Path) -> None:
    cells = [("print(1)", "step:load"), ("print(2)", "block:train prev:load"), ("print(3)", "prev:load")]
    assert codes(tmp_path, *cells) == ["KY101", "KY102"]
