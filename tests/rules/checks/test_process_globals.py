"""The rules about what lives in the process and in no name, case by case."""

from __future__ import annotations

from pathlib import Path

import pytest

from notebook_builder import NotebookCells
from rule_findings import codes, found

NUMPY = ("import logging\nimport random\nimport warnings\nimport numpy as np\nimport os", "imports")


def told(tmp_path: Path, code: str, *cells: NotebookCells) -> list[tuple[int | None, str | None, int | None, str]]:
    findings = [f for f in found(tmp_path, *cells) if f.code == code]
    return [(f.place.cell, f.place.step, f.line, f.what) for f in findings]


def test_a_seed_of_a_generator_that_cannot_travel_is_told(tmp_path: Path) -> None:
    imports = ("# kaleyard: disable=KY401\nimport tensorflow as tf", "imports")
    cells = (imports, ("x = 1\ntf.random.set_seed(1)", "step:a"), ("print(tf.random.uniform([1]))", "step:b"))
    assert told(tmp_path, "KY212", *cells) == [
        (2, "a", 2, "tensorflow is seeded in this step only, but step b uses it")
    ]


@pytest.mark.parametrize(
    "cells",
    [
        [("np.random.seed(1)\nprint(np.random.rand(2))", "step:a"), ("print(np.mean([1]))", "step:b")],
        [("np.random.seed(1)", "step:a"), ("print(np.random.rand(2))", "step:b")],
        [("random.seed(1)", "step:a"), ("def f(): return random.choice([1])\nprint(f())", "step:b")],
        [("np.random.seed(1)", "step:a"), ("np.random.seed(2)\nprint(np.random.rand(2))", "step:b")],
        [("np.random.seed(1)", "step:a"), ("print(np.random.default_rng(2).random())", "step:b")],
        [("random.seed(1)", "step:a"), ("print(random.Random(1).random())", "step:b")],
        [("np.random.seed(1)", "functions"), ("x = 1", "step:a"), ("print(np.random.rand(2))", "step:b")],
        [
            ("class Dice:\n    def seed(self, n): return n\ndice = Dice()\ndice.seed(1)", "step:a"),
            ("print(1)", "step:b"),
        ],
    ],
)
def test_a_seed_that_nobody_counts_on_is_let_through(cells: list[NotebookCells], tmp_path: Path) -> None:
    assert "KY212" not in codes(tmp_path, NUMPY, *cells)


ALONE = "applies to this step only, but step b uses"


@pytest.mark.parametrize(
    ("setting", "later", "what"),
    [
        ("np.seterr(all='raise')", "print(np.ones(1))", f"`np.seterr` {ALONE} `np`"),
        ("warnings.simplefilter('ignore')", "warnings.warn('x')", f"`warnings.simplefilter` {ALONE} `warnings`"),
        ("logging.getLogger('x').setLevel(10)", "logging.info('x')", f"`logging.setLevel` {ALONE} `logging`"),
        ("os.chdir('/')", "print(1)", "`os.chdir` affects this step only: step b runs in its own folder"),
        (
            "%env M=1",
            "print(os.environ['M'])",
            "the environment variable M is set in this step only, but step b uses it",
        ),
    ],
)
def test_a_setting_that_a_later_step_counts_on_is_told(setting: str, later: str, what: str, tmp_path: Path) -> None:
    inside = f"with open('log.txt', 'w'):\n    {setting}"
    assert [t[3] for t in told(tmp_path, "KY213", NUMPY, (inside, "step:a"), (later, "step:b"))] == [what]
    # A statement of its own goes along.
    assert told(tmp_path, "KY213", NUMPY, (setting, "step:a"), (later, "step:b")) == []


@pytest.mark.parametrize(
    "cells",
    [
        [("np.seterr(all='raise')", "imports"), ("x = 1", "step:a"), ("print(np.ones(1))", "step:b")],
        [("x = 1", "step:a"), ("np.seterr(all='raise')\nos.chdir('/')", "step:b")],
        [("%env MODE=fast", "step:a"), ("print(os.environ['OTHER'])", "step:b")],
        [("%env", "step:a"), ("print('env')", "step:b")],
    ],
)
def test_a_setting_where_it_belongs_is_let_through(cells: list[NotebookCells], tmp_path: Path) -> None:
    assert "KY213" not in codes(tmp_path, NUMPY, *cells)


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("print(globals().get('x'))", True),
        ("print('x' in dir())", True),
        ("print(vars()['x'])", True),
        ("def f(): return globals()['x']\nprint(f())", True),
        ("def f(a): return locals()\nprint(f(1))", False),
        ("print(dir(str), vars(type))", False),
        ("def dir(): return 1\nprint(dir())", False),
    ],
)
def test_names_that_are_looked_up_are_told(source: str, wanted: bool, tmp_path: Path) -> None:
    assert ("KY214" in codes(tmp_path, ("x = 1", "step:a"), (source, "step:b"))) is wanted


@pytest.mark.parametrize(
    ("cells", "wanted"),
    [
        ([("1 + 1", "step:a"), ("print(_)", "step:b")], True),
        ([("1 + 1", "step:a"), ("print(Out[1])", "")], True),
        ([("1 + 1", "step:a"), ("print(_)", "")], False),
        ([("for _ in range(2): pass\nprint(_)", "step:a")], False),
        ([("from gettext import gettext as _", "imports"), ("print(_('text'))", "step:a")], False),
        ([("_, x = 1, 2", "step:a"), ("print(_, x)", "step:b")], False),
        ([("first, *_ = [1, 2]\nprint(first)", "step:a")], False),
    ],
)
def test_results_by_ipythons_names_are_told_where_they_mean_another_cell(
    cells: list[NotebookCells], wanted: bool, tmp_path: Path
) -> None:
    assert ("KY215" in codes(tmp_path, *cells)) is wanted


NOTE = "def note(x, seen=[]):\n    seen.append(x)\n    return len(seen)"


@pytest.mark.parametrize(
    ("cells", "wanted"),
    [
        # What a default has been given goes along with the function.
        ([(NOTE, "functions"), ("a = note(1)", "step:a"), ("print(note(2), a)", "step:b")], False),
        ([(f"{NOTE}\na = note(1)", "step:a"), ("print(note(2), a)", "step:b")], False),
        ([(NOTE, "functions"), ("a = note(1)\nprint(note(2), a)", "step:a"), ("print(1)", "step:b")], False),
        ([(NOTE, "step:a"), ("print(note(2))", "step:b")], False),
        ([(NOTE.replace("seen.append(x)", "seen = [*seen, x]"), "functions"), ("a = note(1)", "step:a"),
          ("print(note(2), a)", "step:b")], False),
        ([("import functools\nlog = []\n@functools.cache\ndef f(x):\n    log.append(x)\n    return x", "functions"),
          ("a = f(1)", "step:a"), ("print(f(1), a)", "step:b")], True),
        ([("import functools\n@functools.lru_cache(None)\ndef f(x):\n    log = []\n    log.append(x)\n    return log",
           "functions"), ("a = f(1)", "step:a"), ("print(f(1), a)", "step:b")], False),
        ([(NOTE.replace("=[]", ""), "functions"), ("a = note(1, [])", "step:a"), ("print(note(2, []), a)", "step:b")],
         False),
    ],
)  # fmt: skip
def test_functions_that_remember_from_call_to_call_are_told(
    cells: list[NotebookCells], wanted: bool, tmp_path: Path
) -> None:
    assert ("KY216" in codes(tmp_path, *cells)) is wanted


RATES = "from functools import cache\nrates = [1]\n@cache\ndef total(x=0):\n    return sum(rates) + x"


@pytest.mark.parametrize(
    ("cells", "wanted"),
    [
        ([(f"{RATES}\na = total()", "step:a"), ("rates.append(2)\nprint(total())", "step:b")], True),
        ([(f"{RATES}\na = total()\nrates.append(2)", "step:a"), ("print(total())", "step:b")], True),
        ([(f"{RATES}\na = total()", "step:a"), ("rates = [2]", "step:b"), ("print(total())", "step:c")], True),
        ([(f"{RATES}\na = total()", "step:a"), ("print(total.cache_info())", "step:b")], True),
        ([(f"{RATES}\na = total()", "step:a"), ("def f(): return total()\nrates = [2]\nb = f()", "step:b")], True),
        ([(f"{RATES}\na = total()", "step:a"), ("print(total(1), a)", "step:b")], False),
        ([(RATES, "step:a"), ("rates.append(2)\nprint(total())", "step:b")], False),
        ([(f"{RATES}\na = total()", "step:a"), ("rates = [2]\nprint(1)", "step:b")], False),
        ([(f"{RATES}\na = total()", "step:a"), ("total.cache_clear()\nrates = [2]\nprint(total())", "step:b")], False),
        ([(f"{RATES}\na = total()", "step:a"), (f"{RATES}\nprint(total())", "step:b")], False),
    ],
)
def test_a_cache_that_is_out_of_date_in_the_notebook_and_empty_in_a_later_step_is_told(
    cells: list[NotebookCells], wanted: bool, tmp_path: Path
) -> None:
    assert ("KY217" in codes(tmp_path, *cells)) is wanted


META = """
class Meta(type):
    def __new__(mcs, *args):
        made.append(args[0])
        return super().__new__(mcs, *args)
"""
BASE = """
class Base:
    def __init_subclass__(cls):
        made.append(cls)
    def note(self):
        log.append(self)
"""
MARK = """
def mark(f):
    made.append(f)
    return f
def named(name):
    def inner(f):
        made.append(f)
        return f
    return inner
"""
LOGGED = """
def logged(f):
    def inner():
        made.append(f)
        return f()
    return inner
"""
MADE = ("made, log = [], []", "step:a")
SHOWN = ("print(len(made), log)", "step:b")


@pytest.mark.parametrize(
    ("cells", "wanted"),
    [
        ([MADE, (META, "functions"), ("class One(metaclass=Meta): pass", "functions"), SHOWN], True),
        ([MADE, (BASE, "functions"), ("class One(Base): pass\nclass Two(One): pass", "functions"), SHOWN], True),
        ([MADE, (MARK, "functions"), ("@mark\ndef one(): pass", "functions"), SHOWN], True),
        ([MADE, (MARK, "functions"), ("@named('x')\ndef one(): pass", "functions"), SHOWN], True),
        ([MADE, (BASE, "functions"), SHOWN], False),
        ([MADE, (LOGGED, "functions"), ("@logged\ndef one(): pass", "functions"), SHOWN], False),
        ([(MADE[0], "functions"), (BASE, "functions"), ("class One(Base): pass", "functions"), SHOWN], False),
    ],
)
def test_a_definition_of_a_shared_cell_that_enters_a_value_of_a_step_is_told(
    cells: list[NotebookCells], wanted: bool, tmp_path: Path
) -> None:
    assert ("KY218" in codes(tmp_path, *cells)) is wanted


def test_a_context_variable_set_in_a_step_is_told(tmp_path: Path) -> None:
    cells = [("from contextvars import ContextVar\nmode = ContextVar('mode', default='slow')", "functions")]
    cells += [("mode.set('fast')", "step:a"), ("print(mode.get())", "step:b")]
    (found_one,) = told(tmp_path, "KY213", *cells)
    assert found_one[1:] == ("a", 1, "`mode.set` applies to this step only, but step b uses `mode`")
    assert not told(tmp_path, "KY213", *[("mode = {1}", "functions"), *cells[1:]])
