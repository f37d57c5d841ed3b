"""Parameters and metrics as their cells say them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kaleyard.notebook.parameters import read_metrics, read_parameters
from notebook_builder import load, reading


@pytest.mark.parametrize(
    ("source", "kind", "default"),
    [
        ("x = True", "bool", True),
        ("x = -3", "int", -3),
        ("x = 4_000", "int", 4000),
        ("x = 1e-3", "float", 0.001),
        ("x = 'a' 'b'", "str", "ab"),
        ("x = [1, 'a', [True, None]]", "list", [1, "a", [True, None]]),
        ("x = {'a': {'b': 1.5}}", "dict", {"a": {"b": 1.5}}),
        ("x: float = 1.0  # a note", "float", 1.0),
        ("x = '''a\n\"b\\\\'''", "str", 'a\n"b\\'),
    ],
)
def test_a_parameter_is_typed_by_its_default(source: str, kind: str, default: Any) -> None:
    (found,) = read_parameters([(2, source)], "nb.ipynb").parameters
    assert (found.name, found.type, found.default, found.cell) == ("x", kind, default, 2)


@pytest.mark.parametrize(
    "source",
    [
        *("x = 6 * 7", "x = y", "x = None", "x = (1, 2)", "x = {1: 2}", "x = [(1,)]", "x = b'a'", "x = 1j", "x = {1}"),
        *("x: int", "x, y = 1, 2", "x = y = 1", "x += 1", "import a", "print(1)", "x.a = 1", "x[0] = 1", "x = f'{1}'"),
        "if True:\n    x = 1",
    ],
)
def test_a_line_that_declares_no_plain_literal_is_told(source: str) -> None:
    found = read_parameters([(1, source)], "nb.ipynb")
    assert (found.parameters, len(found.problems)) == ([], 1)
    assert (found.problems[0].cell, found.problems[0].line) == (1, 1)


def test_a_default_of_none_is_told_to_have_no_type() -> None:
    assert "has no type" in read_parameters([(1, "x = None")], "nb.ipynb").problems[0].what


def test_the_last_of_two_defaults_holds() -> None:
    found = read_parameters([(1, "x = 1\ny = 2"), (3, "x = 2.5\n'a comment in a string'")], "nb.ipynb")
    assert [(p.name, p.default, p.cell) for p in found.parameters] == [("y", 2, 1), ("x", 2.5, 3)]
    assert found.problems == []


def test_parameters_may_be_called_what_python_calls_something_else(tmp_path: Path) -> None:
    pipeline = load(tmp_path, ("id = 3\nlist = 'a'\ntype = 1.5", "pipeline-parameters"), ("print(id, list)", "step:a"))
    assert pipeline.steps[0].parameters == ("id", "list")


def test_the_tag_of_papermill_means_the_same(tmp_path: Path) -> None:
    assert load(tmp_path, ("x = 1", "parameters"), ("print(x)", "step:a")).steps[0].parameters == ("x",)


def test_metrics_are_printed_or_bare_names() -> None:
    found = read_metrics([(4, "print(a)\nb"), (5, "print(a)")], "nb.ipynb")
    assert (found.metrics, found.problems) == ({"a": 4, "b": 4}, [])


@pytest.mark.parametrize(
    "source", ["print(a, b)", "print('a')", "print(a, end='')", "a = 1", "print(a.b)", "1", "f(a)"]
)
def test_a_line_that_names_no_metric_is_told(source: str) -> None:
    found = read_metrics([(1, source)], "nb.ipynb")
    assert (found.metrics, len(found.problems)) == ({}, 1)


def test_a_metric_belongs_to_the_last_step_that_makes_it(tmp_path: Path) -> None:
    cells = [("m = 1", "step:a"), ("m = m + 1", "step:b"), ("x = 2", "step:c"), ("print(m)", "pipeline-metrics")]
    assert [s.metrics for s in reading(tmp_path, *cells).pipeline.steps] == [(), ("m",), ()]
