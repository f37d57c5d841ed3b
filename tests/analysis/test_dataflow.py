"""Where each step's names come from: what a step takes and carries, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from kaleyard.errors import CheckError
from kaleyard.pipeline import Input
from notebook_builder import NotebookCells, load, reading

REFUSED: dict[str, tuple[str, list[NotebookCells]]] = {
    "names made by parallel steps": (
        "KY203",
        [("k = 1", "step:a"), ("k = 2", "step:b"), ("print(k)", "step:c prev:a prev:b")],
    ),
    "default value made anew": ("KY205", [("k = 1\nf = lambda k=k: k\nk = 2", "step:a"), ("print(f())", "step:b")]),
    "default value deleted": ("KY205", [("k = 1\ndef f(x=k): return x\ndel k", "step:a"), ("print(f())", "step:b")]),
    "shared cell on a step's list": (
        "KY206",
        [("m = []", "step:a"), ("m.append(1)", "functions"), ("print(m)", "step:b")],
    ),
    "parameter and value at once": (
        "KY205",
        [("P = 1", "pipeline-parameters"), ("Q = P * 2", "functions"), ("P = 5", "step:a"), ("print(P, Q)", "step:b")],
    ),
    "later part of a step": (
        "KY208",
        [("a = 1", "step:p"), ("print(a)", "step:q"), ("a = 2", "step:p"), ("print(a)", "step:r")],
    ),
    "steps that need each other": (
        "KY202",
        [("a = 1", "step:p"), ("b = a", "step:q"), ("c = b", "step:p"), ("print(c)", "step:r")],
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_steps_would_get_wrong_is_refused(what: str, tmp_path: Path) -> None:
    code, cells = REFUSED[what]
    with pytest.raises(CheckError, match=code):
        load(tmp_path, *cells)


def test_a_step_takes_only_what_it_uses(tmp_path: Path) -> None:
    pipeline = load(
        tmp_path,
        ("import json\nimport math", "imports"),
        ("def up(x): return math.ceil(x)\ndef text(x): return json.dumps(x)", "functions"),
        ("A = 1\nB = 2", "pipeline-parameters"),
        ("x = up(A)\ny = 5", "step:one"),
        ("print(text(x), B)", "step:two"),
    )
    one, two = pipeline.steps
    assert [c.source for c in one.setup] == ["import math", "def up(x): return math.ceil(x)"]
    assert [c.source for c in two.setup] == ["import json", "def text(x): return json.dumps(x)"]
    assert (one.parameters, two.parameters) == (("A",), ("B",))
    assert (one.outputs, two.inputs) == (("x",), (Input("x", "one"),))


def test_a_cell_all_of_which_is_carried_stays_as_it_was_written(tmp_path: Path) -> None:
    source = "# About f.\ndef f():\n    return 1\n\n\n# About g.\ndef g():\n    return f()"
    pipeline = load(tmp_path, (source, "functions"), ("print(g())", "step:a"))
    assert [c.source for c in pipeline.steps[0].setup] == [source]


def test_prev_adds_order_and_no_value(tmp_path: Path) -> None:
    pipeline = load(tmp_path, ("x = 1", "step:a"), ("print(2)", "step:b prev:a"))
    assert (pipeline.steps[1].inputs, pipeline.steps[1].after) == ((), ("a",))


def test_prev_says_which_of_two_makers_is_meant(tmp_path: Path) -> None:
    pipeline = load(
        tmp_path, ("m = 1", "step:a"), ("m = 2", "step:b"), ("print(m)", "step:c prev:a"), ("print(m)", "step:d prev:b")
    )
    assert [s.inputs for s in pipeline.steps[2:]] == [(Input("m", "a"),), (Input("m", "b"),)]


def test_a_value_changed_in_place_is_taken_from_the_step_that_changed_it_last(tmp_path: Path) -> None:
    pipeline = load(
        tmp_path, ("rows = []", "step:a"), ("rows.append(1)", "step:b"), ("rows.sort()", "step:c"), ("rows", "step:d")
    )
    assert [s.inputs for s in pipeline.steps[1:]] == [(Input("rows", s),) for s in ("a", "b", "c")]


def test_an_import_whose_attribute_a_step_calls_is_no_value_of_the_step(tmp_path: Path) -> None:
    pipeline = load(
        tmp_path, ("import re", "imports"), ("p = re.compile('a')", "step:a"), ("print(re.escape('.'))", "step:b")
    )
    assert pipeline.steps[1].inputs == ()


def test_steps_with_only_reads_in_common_stay_parallel(tmp_path: Path) -> None:
    cells = [("rows = [1]", "step:load"), *((f"s{n} = sum(rows)", f"step:fit{n}") for n in range(3))]
    assert {s.upstream for s in load(tmp_path, *cells).steps[1:]} == {("load",)}


def test_names_told_as_missing_have_their_place(tmp_path: Path) -> None:
    found = reading(tmp_path, ("x = 1", "step:a"), ("\nprint(y)", "step:b")).flows["b"].missing
    assert [(m.name, m.step, m.site) for m in found] == [("y", "b", (2, 2))]


def test_an_extension_is_loaded_where_its_magics_are(tmp_path: Path) -> None:
    """Without it, IPython says that there is no such magic, and goes on with the next cell."""
    cells = [("%load_ext memory_profiler", "step:load"), ("x = 1", "step:make"), ("%memit x + 1", "step:use")]
    _, make, use = load(tmp_path, *cells).steps
    assert [c.source for c in make.setup] == []
    assert [c.source for c in use.setup] == ["%load_ext memory_profiler"]


def test_what_cython_compiles_goes_to_the_steps_that_use_it(tmp_path: Path) -> None:
    compiled = "%%cython\ndef run(int n):\n    return 2 * n"
    cells = [("%load_ext Cython", "step:load"), (compiled, "step:make"), ("print(run(4))", "step:use")]
    _, make, use = load(tmp_path, *cells).steps
    assert [c.source for c in make.setup] == ["%load_ext Cython"]
    assert [c.source for c in use.setup] == ["%load_ext Cython", compiled]


@pytest.mark.parametrize("view", ["a[:2, :2]", "a[:2]", "a[1, 1:]"])
def test_a_view_of_an_array_is_handed_on_by_the_step_that_hands_on_the_array(view: str, tmp_path: Path) -> None:
    """Where both come from one step, the step that changes one of them notices that the other is not changed."""
    cells = [
        ("import numpy as np\na = np.arange(12).reshape(3, 4)", "step:make"),
        (f"view = {view}", "step:cut"),
        ("view[0] = 99\nprint(a)", "step:change"),
    ]
    change = load(tmp_path, *cells).steps[-1]
    assert {i.name: i.step for i in change.inputs} == {"a": "cut", "view": "cut"}
