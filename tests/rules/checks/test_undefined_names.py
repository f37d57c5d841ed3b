"""The rules about names, case by case."""

from __future__ import annotations

from pathlib import Path

import pytest

from composed_notebook import compose
from kaleyard.config import find_project
from kaleyard.rules.checker import check
from notebook_builder import NotebookCells, notebook
from rule_findings import codes, found

LOAD = ("rows = [1]", "step:load")
JOIN = ("print(x)", "step:join prev:one")


def test_prev_to_the_first_of_two_makers_is_told_with_both_and_the_one_taken(tmp_path: Path) -> None:
    cells = [("x = 1", "step:one"), ("x = 2", "step:two"), ("y = 0\nprint(x, x)", "step:join prev:one")]
    (one,) = found(tmp_path, *cells)
    assert (one.code, one.is_error, one.place.cell, one.place.step, one.line) == ("KY211", False, 3, "join", 2)
    assert "`x` is defined by steps one and two, and `prev:` selects that of one" in one.what
    assert "run from top to bottom, the notebook uses that of two" in one.what


PICKED: dict[str, list[NotebookCells]] = {
    "the last of three makers is told of": [
        ("x = 1", "step:one"),
        ("x = 2", "step:two"),
        ("x = 3", "step:three"),
        JOIN,
    ],
    "a maker after the one taken": [("x = 1", "step:one"), ("x += 1", "step:two"), JOIN],
    "made on some paths": [("x = 1", "step:one"), ("if len('a') > 2:\n    x = 2", "step:two"), JOIN],
    "a function made anew": [("def x(): return 1", "step:one"), ("def x(): return 2", "step:two"), JOIN],
    "made of different values": [
        LOAD,
        ("rows = [1, 2]\nx = rows", "step:one prev:load"),
        ("x = rows", "step:two prev:load"),
        JOIN,
    ],
    "made of values of different steps": [
        LOAD,
        ("rows = [2]", "step:more prev:load"),
        ("x = rows", "step:one prev:load"),
        ("x = rows", "step:two prev:more"),
        JOIN,
    ],
    "made by the same call": [
        ("import random", "imports"),
        ("x = random.random()", "step:one"),
        ("x = random.random()", "step:two"),
        JOIN,
    ],
    "used by a function": [
        ("x = 1", "step:one"),
        ("x = 2", "step:two"),
        ("def f(): return x\nprint(f())", "step:join prev:one"),
    ],
    "needed by a function that goes along": [
        ("def f(): return x", "functions"),
        ("x = 1", "step:one"),
        ("x = 2", "step:two"),
        ("print(f())", "step:join prev:one"),
    ],
}


@pytest.mark.parametrize("case", PICKED)
def test_prev_that_passes_over_a_later_maker_is_told(case: str, tmp_path: Path) -> None:
    told = [f for f in found(tmp_path, *PICKED[case]) if f.code == "KY211"]
    assert [f.place.step for f in told if f.place.step == "join"] == ["join"]
    if case == "the last of three makers is told of":
        assert "steps one and three" in told[0].what


NOT_PICKED: dict[str, list[NotebookCells]] = {
    "prev to the last maker": [("x = 1", "step:one"), ("x = 2", "step:two"), ("print(x)", "step:join prev:two")],
    "the other maker is upstream": [("x = 1", "step:load"), ("x = x + 1", "step:one"), JOIN],
    "the other maker is upstream by prev": [("x = 1", "step:load"), ("x = 2", "step:one prev:load"), JOIN],
    "no prev": [("x = 1", "step:one"), ("x = 2", "step:two prev:one"), ("print(x)", "step:join")],
    "the name is not used": [("x = 1", "step:one"), ("x = 2", "step:two"), ("print(1)", "step:join prev:one")],
    "the step makes it itself": [
        ("x = 1", "step:one"),
        ("x = 2", "step:two"),
        ("x = 3\nprint(x)", "step:join prev:one"),
    ],
    "one shared value": [LOAD, ("x = rows", "step:one"), ("x = rows", "step:two"), JOIN],
    "one literal": [("x = [1, 2]", "step:one"), ("x = [1, 2]", "step:two"), JOIN],
    "one import": [("import json as x", "step:one"), ("import json as x", "step:two"), JOIN],
    "one function": [("def x(): return len('a')", "step:one"), ("def x(): return len('a')", "step:two"), JOIN],
    "a parameter's value": [
        ("K = 3", "pipeline-parameters"),
        ("x = K", "step:one"),
        ("x = K", "step:two"),
        JOIN,
    ],
    "made in a later step only": [("x = 1", "step:one"), JOIN, ("x = 2\nprint(x)", "step:two")],
    "a default value that was set before": [
        ("x = 1", "step:one"),
        ("def f(y=x): return y", "step:two"),
        ("x = 2", "step:three prev:two"),
        ("print(f())", "step:join prev:two"),
    ],
}


@pytest.mark.parametrize("case", NOT_PICKED)
def test_prev_that_takes_what_the_whole_notebook_would_is_not_told(case: str, tmp_path: Path) -> None:
    assert "KY211" not in codes(tmp_path, *NOT_PICKED[case])


def test_prev_passes_over_no_maker_in_another_notebook(project: Path) -> None:
    folder = project / "notebooks"
    notebook(folder / "part.ipynb", ("x = 5\nprint(x)", "step:inner"))
    cells = [("x = 1", "step:start"), ("%run part.ipynb", "notebook:part"), ("print(x)", "step:end prev:start")]
    path = compose(folder / "root.ipynb", *cells)
    assert [str(f) for f in check(path, find_project(path))[0]] == []


def test_a_value_changed_in_place_beside_prev_is_told_once_by_its_own_rule(tmp_path: Path) -> None:
    cells = [("x = []", "step:one"), ("x.append(1)", "step:two"), ("print(x)", "step:join prev:one")]
    assert codes(tmp_path, *cells) == ["KY209"]


def test_a_name_used_above_its_own_making_in_one_step_is_made_by_nothing(tmp_path: Path) -> None:
    (one,) = found(tmp_path, ("print(x)\nx = 1", "step:a"))
    assert (one.code, one.place.cell, one.place.step, one.line) == ("KY201", 1, "a", 1)


@pytest.mark.parametrize(
    ("cell", "advice"),
    [
        (("total = 1", "skip"), "Cell 1 defines it but is tagged `skip`. Define it"),
        (("totals = 1", "skip"), "Define it"),
        (("print('total')", "skip"), "Define it"),
        (("def f():\n    total = 1", "functions"), "Define it"),
        (("SUBTOTAL = 1", "pipeline-parameters"), "Define it"),
        (("totale = 1", "pipeline-parameters"), "Did you mean `totale`? Define it"),
        (("totale = 1", "functions"), "Did you mean `totale`? Define it"),
        (("totale = 1", "step:b"), "Did you mean `totale`? Define it"),
    ],
)
def test_the_advice_about_a_missing_name_tells_what_is_near(cell: NotebookCells, advice: str, tmp_path: Path) -> None:
    one = next(f for f in found(tmp_path, cell, ("print(total)", "step:a")) if f.code == "KY201")
    assert one.advice.startswith(advice)


def test_a_name_of_a_later_step_and_a_circle_of_steps_are_told_apart(tmp_path: Path) -> None:
    (one,) = found(tmp_path, ("1\nprint(x)", "step:a"), ("x = 1", "step:b"))
    assert (one.what, one.place.cell, one.line) == ("`x` is defined by step b, which comes later", 1, 2)
    circle = [("a = 1", "step:p"), ("b = a", "step:q"), ("c = b", "step:r"), ("print(c)", "step:p")]
    told = [f for f in found(tmp_path, *circle) if f.code == "KY202"]
    assert [f.what for f in told] == ["steps p and r depend on each other: `c` is defined by r"]
    assert told[0].place.cell == 4


def test_parallel_makers_of_a_name_are_all_named_at_its_use(tmp_path: Path) -> None:
    cells = [
        ("x = 1", "step:a"),
        ("x = 2", "step:b"),
        ("x = 3", "step:c"),
        ("1\nprint(x)", "step:d prev:a prev:b prev:c"),
    ]
    (one,) = found(tmp_path, *cells)
    assert (one.code, one.what) == ("KY203", "`x` is defined by steps a and b and c")
    assert (one.place.cell, one.place.step, one.line) == (4, "d", 2)


def test_without_prev_the_last_maker_above_counts(tmp_path: Path) -> None:
    assert codes(tmp_path, ("x = 1", "step:a"), ("x = 2", "step:b"), ("x = 3", "step:c"), ("print(x)", "step:d")) == []


def test_a_name_that_a_step_deletes_is_missed_where_it_is_used(tmp_path: Path) -> None:
    (one,) = found(tmp_path, ("x = 1", "step:a"), ("del x", "step:b"), ("print(x)", "step:c"))
    assert (one.code, one.place.cell) == ("KY201", 3)
    assert one.what == "`x` is deleted by step b and not defined again"
    assert one.advice == "Remove the `del`, or define `x` again before this cell."


@pytest.mark.parametrize(
    "first",
    [
        "def f(): return later()\nprint(f)",
        "calls = {'a': lambda: later()}\nprint(len(calls))",
        "class A:\n    def m(self): return later()\na = A()\nprint(len([a]))",
        "if False:\n    print(later())",
    ],
)
def test_a_name_that_only_a_call_reads_is_not_needed_before_it(first: str, tmp_path: Path) -> None:
    told = found(tmp_path, (first, "step:a"), ("def later(): return 1\nprint(later())", "step:b"))
    assert [f for f in told if f.is_error] == []


@pytest.mark.parametrize(
    ("cells", "step"),
    [
        ([("kaleyard_x = 1", "step:a"), ("print(kaleyard_x)", "step:b")], "a"),
        ([("_kaleyard_x = 1", "step:a"), ("print(_kaleyard_x)", "step:b")], "a"),
        ([("kaleyard_x = 1", "step:a"), ("print(kaleyard_x)", "pipeline-metrics")], "a"),
        ([("kaleyard_x = 1", "pipeline-parameters"), ("print(kaleyard_x)", "step:b")], None),
        ([("kaleyard_x = 1\nprint(kaleyard_x)", "step:a")], ""),
        ([("my_kaleyard = 1", "step:a"), ("print(my_kaleyard)", "step:b")], ""),
    ],
)
def test_values_metrics_and_parameters_with_our_prefix_are_told(
    cells: list[NotebookCells], step: str | None, tmp_path: Path
) -> None:
    told = [(f.code, f.place.step) for f in found(tmp_path, *cells)]
    assert told == ([] if step == "" else [("KY204", step)])


def test_a_name_with_two_meanings_is_told_at_its_use_if_it_has_one(tmp_path: Path) -> None:
    (one,) = found(tmp_path, ("k = 1\ndef f(x=k): return x\nk = 2", "step:make"), ("print(f())", "step:show"))
    assert (one.code, one.place.cell, one.place.step, one.line) == ("KY205", 1, "show", 2)
    cells = [
        ("P = 1", "pipeline-parameters"),
        ("Q = P * 2", "functions"),
        ("P = 5", "step:a"),
        ("print(P, Q)", "step:b"),
    ]
    told = [f for f in found(tmp_path, *cells) if f.code == "KY205"]
    assert [(f.place.cell, f.place.step) for f in told] == [(None, "b")]
    assert "carried code uses this parameter, but step" in told[0].what


def test_a_generator_made_with_a_parameter_does_not_change_it(tmp_path: Path) -> None:
    cells = [("import random", "imports"), ("SEED = 1", "pipeline-parameters")]
    cells += [("dice = random.Random(SEED)\nroll = dice.random()", "step:throw"), ("print(roll, SEED)", "step:show")]
    assert found(tmp_path, *cells) == []


def test_a_variable_of_a_method_is_no_name_of_the_notebook(tmp_path: Path) -> None:
    base = "class Store:\n    def put(self, x):\n        self.x = x\n    def tell(self, others):\n"
    loop = "        for o in others:\n            o.put(1)\n"
    cells = [(f"{base}{loop}class Cold(Store): pass\nclass Ice(Cold): pass\no = Ice()", "step:a")]
    told = {f.code for f in found(tmp_path, *cells, ("print(isinstance(o, Ice))", "step:b"))}
    assert "KY205" not in told


BRANCHES: dict[str, str] = {
    "the words of a raise": "def f(x): raise Unimplemented(x)",
    "below a return": "def f(x):\n    return x\n    print(Unimplemented)",
    "one way of a function": "def f(x):\n    if x > 1:\n        return Unimplemented\n    return x",
    "another way of a function": "def f(x):\n    if x < 2:\n        return x\n    else:\n        return Unimplemented",
    "an expression of two ways": "def f(x): return x if x < 2 else Unimplemented",
    "the words of an assert": "def f(x):\n    assert x, Unimplemented\n    return x",
    "a handler": "def f(x):\n    try:\n        return x\n    except ValueError:\n        raise Unimplemented",
    "a lambda": "f = lambda x: x if x < 2 else Unimplemented",
    "a method": "class f:\n    def __init__(self, x): self.x = x\n    def area(self): raise Unimplemented()",
    "a function inside": "def f(x):\n    def g():\n        raise Unimplemented\n    return x",
}


@pytest.mark.parametrize("tag", ["functions", "step:make"])
@pytest.mark.parametrize("case", BRANCHES)
def test_a_missing_name_where_a_call_need_not_come_is_warned_of(case: str, tag: str, tmp_path: Path) -> None:
    """Run whole, the notebook runs to its end: the name is only looked up if the call comes there."""
    cells = [("x = 1", "step:load"), (BRANCHES[case], tag), ("print(f(x))", "step:show")]
    missing = [f for f in found(tmp_path, *cells) if f.code == "KY201"]
    assert missing
    assert not any(f.is_error for f in missing)


@pytest.mark.parametrize("tag", ["functions", "step:make"])
def test_a_missing_name_that_every_call_reads_is_an_error(tag: str, tmp_path: Path) -> None:
    bodies = ["if x: print(y)\n    return y", "for n in range(x): print(y)", "try: return y\n    finally: print(x)"]
    for body in bodies:
        cells = [("x = 1", "step:load"), (f"def f(x):\n    {body}", tag), ("print(f(x))", "step:show")]
        assert [f.is_error for f in found(tmp_path, *cells) if f.code == "KY201"] == [True]


def test_a_name_that_one_call_may_read_and_another_surely_does_is_an_error(tmp_path: Path) -> None:
    code = "def f(): raise y\ndef g(): return y\nif x: f()\nprint(g())"
    cells = [("x = 1", "step:load"), (code, "step:show")]
    assert [f.is_error for f in found(tmp_path, *cells) if f.code == "KY201"] == [True]
