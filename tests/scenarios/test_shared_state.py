"""What shared cells make, each step makes for itself: a change that a later step would miss is refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import pytest

import kaleyard
from kaleyard.config import Project
from kaleyard.records.run_record import Run
from kaleyard.reporting.console import SilentReporter
from kaleyard.rules.checker import check
from kernels_unneeded import assert_same
from notebook_builder import NotebookCells, load, notebook


class Case(NamedTuple):
    """What a shared cell makes, and what each of two steps does with it; in one kernel the second tells otherwise."""

    made: str
    use: str


IMPORTS = "import random, threading\nimport numpy as np\n"
CHANGED = {
    "a generator of random numbers that a function gave back": Case(
        "def ident(g): return g\n{v} = np.random.default_rng(0)", "ident({v}).random()"
    ),
    "a method of it without a name": Case("{v} = random.Random(0)", "getattr({v}, 'ran' + 'dom')()"),
    "a counter in a closure": Case(
        "def make_{v}():\n    n = 0\n    def count():\n        nonlocal n\n        n += 1\n        return n\n"
        "    return count\n"
        "{v} = make_{v}()",
        "{v}()",
    ),
    "a default value": Case("def {v}(kept=[]):\n    kept += [1]\n    return len(kept)", "{v}()"),
    "a default value by keyword": Case("def {v}(*, kept=[]):\n    kept += [1]\n    return len(kept)", "{v}()"),
}
SAME = {
    "a list": Case("{v} = [1]", "len({v})"),
    "a lock": Case("{v} = threading.Lock()", "str({v}.locked())"),
    "an array": Case("{v} = np.arange(3)", "int({v}.sum())"),
    "a function with a plain default": Case("def {v}(k=2):\n    return k", "{v}()"),
    "a closure": Case("def outer_{v}(n):\n    return lambda x: x + n\n{v} = outer_{v}(1)", "{v}(1)"),
}
CASES = CHANGED | SAME
NAMES = {case: f"v{number}" for number, case in enumerate(CASES)}


def _cells() -> list[NotebookCells]:
    made = "\n".join(case.made.format(v=NAMES[name]) for name, case in CASES.items())
    uses = {name: case.use.format(v=NAMES[name]) for name, case in CASES.items()}
    return [
        (IMPORTS + made, "imports"),
        *((f"first_{NAMES[name]} = {use}", f"step:use_{NAMES[name]}") for name, use in uses.items()),
        ("told = {" + ", ".join(f"{NAMES[n]!r}: {use}" for n, use in uses.items()) + "}\ntold", "step:tell"),
    ]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The run by steps."""
    root = tmp_path_factory.mktemp("shared_state")
    (root / "pyproject.toml").write_text("[tool.kaleyard]\n", encoding="utf-8")
    return kaleyard.run(notebook(root / "steps.ipynb", *_cells()), reporter=SilentReporter())


@pytest.mark.parametrize("case", CHANGED)
def test_a_change_that_a_later_step_would_miss_fails_its_step_and_names_the_value(case: str, done: Run) -> None:
    step = done.steps[f"use_{NAMES[case]}"]
    assert step.error is not None, step
    assert step.error["kind"] == "DataError"
    assert step.error["what"].startswith(f"this step changed `{NAMES[case]}` in place")
    assert f"`{NAMES[case]} = {NAMES[case]}`" in step.error["fix"]


@pytest.mark.parametrize("case", SAME)
def test_use_that_changes_nothing_is_let_through(case: str, done: Run) -> None:
    assert done.steps[f"use_{NAMES[case]}"].state == "done", done.steps[f"use_{NAMES[case]}"].error
    told = json.loads(done.artifact("tell", "told").read_text())
    assert told[NAMES[case]] == {"a list": 1, "a lock": "False", "an array": 3}.get(case, 2)


@pytest.mark.parametrize("made", ["np.random.default_rng(0)", "random.Random(0)", "np.random.RandomState(0)"])
@pytest.mark.parametrize("where", ["imports", "step:make"])
def test_random_numbers_go_on_from_step_to_step_as_in_one_kernel(made: str, where: str, tmp_path: Path) -> None:
    cells: list[NotebookCells] = [
        ("import random\nimport numpy as np", "imports"),
        (f"rng = {made}", where),
        ("def draw(g): return [g.choice([1, 2, 3]) for _ in range(9)]", "functions"),
        ("print(rng.uniform(0, 1))", "step:first"),
        ("print(draw(rng))", "step:second"),
        ("values = [5, 6, 7, 8]\nrng.shuffle(values)\nprint(values)", "step:third"),
        ("print(rng.uniform(0, 1), np.random.default_rng(1).random())", "step:fourth"),
    ]
    assert_same(tmp_path, *cells)
    assert not [f for f in check(tmp_path / "nb.ipynb", Project(tmp_path))[0] if f.code == "KY210"]


def test_the_fix_hands_the_changed_value_on(project: Path) -> None:
    path = notebook(
        project / "notebooks" / "fixed.ipynb",
        ("import random\nrng = random.Random(0)", "imports"),
        ("a = vars(random)['Random'].random(rng)\nrng = rng", "step:first"),
        ("b = vars(random)['Random'].random(rng)\nb", "step:second"),
    )
    done = kaleyard.run(path, reporter=SilentReporter())
    assert done.state == "done", [s.error for s in done.steps.values() if s.error]
    whole: dict[str, float] = {}
    exec("import random\nrng = random.Random(0)\na = rng.random()\nb = rng.random()", whole)
    assert json.loads(done.artifact("second", "b").read_text()) == whole["b"]


def test_only_what_a_later_step_of_the_same_notebook_makes_again_is_watched(tmp_path: Path) -> None:
    cells: list[NotebookCells] = [
        ("class Box: pass\nrng = Box()\nrows = [1]\nown = [2]\ndef f(x=1): return x", "functions"),
        ("print(rng.read(), rows, f())", "step:first"),
        ("rows.append(2)\nprint(rng.read(), own, f())", "step:second"),
        ("print(rows, f())", "step:third"),
    ]
    pipeline = load(tmp_path, *cells)
    assert [pipeline.guarded(name) for name in pipeline.names] == [("rng", "rows"), (), ()]
    assert [[n for n, _ in s.remade] for s in pipeline.steps] == [["rng", "rows"], ["own", "rng", "rows"], []]
