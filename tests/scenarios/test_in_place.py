"""In-place changes that reading the code cannot see: carried on rightly, or refused by name; never silently wrong."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest

import kaleyard
from kaleyard.records.run_record import Run
from kaleyard.reporting.console import SilentReporter
from notebook_builder import NotebookCells, notebook


class Case(NamedTuple):
    """What a first step makes, how a second changes it, and what a third, beside the second, tells of it."""

    made: str
    changed: str
    told: str


FRAME = "{v} = pd.DataFrame({{'a': [1, 2], 'b': [3, 4]}})"
COLUMNS = "list({v}.columns)"
IMPORTS = ("import operator\nimport numpy as np\nimport pandas as pd", "imports")
FUNCTIONS = (
    """\
def ident(v): return v
def adder(x):
    def add(y): x.append(y)
    return add
class Box:
    def __init__(self): self.rows = []
K = 1
class Scaled:
    n = 0
    def scale(self): return K
""",
    "functions",
)
# What reading the code sees: the third step takes the value from the second.
SEEN = {
    "a closure over a list, made and called": Case("{v} = [1]", "adder({v})(5)", "{v}"),
    "a list in dicts": Case("{v} = {{'a': {{'b': [1]}}}}", "{v}['a']['b'].append(2)", "{v}"),
    "a list in dicts, by a second name": Case(
        "{v} = {{'a': {{'b': [1]}}}}", "inner = {v}['a']\ninner['b'].append(2)", "{v}"
    ),
    "a list of an object": Case("{v} = Box()", "rows = {v}.rows\nrows.append(2)", "{v}.rows"),
    "a column dropped in place": Case(FRAME, "{v}.drop(columns=['b'], inplace=True)", COLUMNS),
    "a column by a second name": Case(FRAME, "other = {v}\nother['c'] = 3", COLUMNS),
    "a global that a class of the notebook uses": Case("{v} = Scaled()", "K = {v}.scale() + 1", "{v}.scale()"),
    "a list put into an object": Case("{v} = [1]", "box = Box()\nbox.rows = {v}\nbox.rows.append(2)", "{v}"),
    "a list put into an object before": Case(
        "{v} = [1]\nbox_{v} = Box()\nbox_{v}.rows = {v}", "box_{v}.rows.append(2)", "{v}"
    ),
    "a list put into a dict": Case("{v} = [1]", "held = {{'k': {v}}}\nheld['k'].append(2)", "{v}"),
    "a list put into a dict before": Case("{v} = [1]\nheld_{v} = {{'k': {v}}}", "held_{v}['k'].append(2)", "{v}"),
    "a view of an array, set": Case("{v} = np.arange(4)", "{v}[1:][0] = 7", "{v}.tolist()"),
}
# What the runtime sees: the second step fails.
REFUSED = {
    "a list that a function gave back": Case("{v} = [1]", "same = ident({v})\nsame.append(2)", "{v}"),
    "operator.setitem": Case("{v} = [1]", "operator.setitem({v}, 0, 9)", "{v}"),
    "a bound method from a container": Case("{v} = [1]", "[{v}.append][0](2)", "{v}"),
    "a method by its name": Case("{v} = [1]", "getattr({v}, 'app' + 'end')(2)", "{v}"),
    "a list in dicts that a function gave back": Case(
        "{v} = {{'a': {{'b': [1]}}}}", "ident({v}['a'])['b'].append(2)", "{v}"
    ),
    "a view of an array": Case("{v} = np.arange(4)", "view = {v}[:2]\nview += 1", "{v}.tolist()"),
    "a transposed array": Case("{v} = np.ones((2, 3))", "np.multiply({v}.T, 2, out={v}.T)", "{v}.tolist()"),
    "a frame that a function gave back": Case(FRAME, "same = ident({v})\nsame['c'] = 3", COLUMNS),
    "an instance's attributes": Case("{v} = Box()", "vars({v})['rows'] = [5]", "{v}.rows"),
}
# One object under two names that both travel: two objects in the second step, which changes one of them. The step
# that made them has noted that they were one.
SHARED = {
    "a closure made before": Case("{v} = [1]\nadd_{v} = adder({v})", "add_{v}(5)", "{v}"),
    "a list that a function gave back before": Case("{v} = [1]\nsame_{v} = ident({v})", "same_{v}.append(2)", "{v}"),
    "a view of an array made before": Case("{v} = np.arange(4)\nview_{v} = {v}[:2]", "view_{v} += 1", "{v}.tolist()"),
}
CASES = SEEN | REFUSED | SHARED
NAMES = {case: f"v{number}" for number, case in enumerate(CASES)}


def _cells() -> list[NotebookCells]:
    told = ", ".join(f"{name!r}: {CASES[case].told.format(v=name)}" for case, name in NAMES.items())
    return [
        IMPORTS,
        FUNCTIONS,
        ("\n".join(CASES[case].made.format(v=name) for case, name in NAMES.items()), "step:make"),
        ("\n".join(CASES[case].changed.format(v=NAMES[case]) for case in SEEN), "step:seen"),
        *((CASES[c].changed.format(v=NAMES[c]), f"step:change_{NAMES[c]} prev:make") for c in (*REFUSED, *SHARED)),
        (f"told = {{{told}}}\ntold", "step:tell"),
    ]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any], Run]:
    """What the last cell tells when one kernel runs the notebook, what it tells by steps, and the run by steps."""
    root = tmp_path_factory.mktemp("in_place")
    (root / "pyproject.toml").write_text("[tool.kaleyard]\n", encoding="utf-8")
    cells = _cells()
    whole = notebook(
        root / "whole.ipynb", *((source, "step:all" if n == 0 else "") for n, (source, _) in enumerate(cells))
    )
    told = []
    for path, last in ((whole, "all"), (notebook(root / "steps.ipynb", *cells), "tell")):
        done = kaleyard.run(path, reporter=SilentReporter())
        assert done.steps[last].state == "done", done.steps[last].error
        told.append(json.loads(done.artifact(last, "told").read_text()))
    return told[0], told[1], done


@pytest.mark.parametrize("case", SEEN)
def test_a_change_that_can_be_seen_reaches_the_step_after_it(
    case: str, both: tuple[dict[str, Any], dict[str, Any], Run]
) -> None:
    whole, steps, done = both
    assert done.steps["seen"].state == "done"
    assert steps[NAMES[case]] == whole[NAMES[case]]


@pytest.mark.parametrize("case", [*REFUSED, *SHARED])
def test_a_change_that_cannot_be_seen_fails_its_step_and_names_the_value(
    case: str, both: tuple[dict[str, Any], dict[str, Any], Run]
) -> None:
    whole, steps, done = both
    name = NAMES[case]
    assert steps[name] != whole[name], "else there is nothing to refuse"
    step = done.steps[f"change_{name}"]
    assert step.state == "failed"
    assert step.error is not None
    assert step.error["kind"] == "DataError"
    assert f"`{name}`" in step.error["what"]
    assert "in place" in step.error["what"]
    assert "copy" in step.error["fix"].lower()
