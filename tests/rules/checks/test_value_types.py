"""The rules about values that go from step to step, case by case."""

from __future__ import annotations

from pathlib import Path

import pytest

from notebook_builder import NotebookCells
from rule_findings import codes, found

SHOW = ("print(v)", "step:show")


@pytest.mark.parametrize(
    ("source", "what", "advice"),
    [
        ("v = (x for x in [1])", "a generator, which can be read only once", "`v = list(v)`"),
        ("v = w = (x for x in [1])", "a generator", "`v = list(v)`"),
        ("def g():\n    yield 1\nv = g()", "a generator", "`v = list(v)`"),
        ("def g():\n    for x in [1]:\n        yield from [x]\nv = g()", "a generator", "`v = list(v)`"),
        ("async def g(): return 1\nv = g()", "a coroutine", "Await it"),
        ("async def g():\n    yield 1\nv = g()", "a generator", "`v = list(v)`"),
        ("v = open('x')", "an open file", "`pathlib.Path`"),
        ("v = zip([1], [2])", "an iterator, which can be read only once", "`v = list(v)`"),
        ("v = memoryview(b'a')", "a view of memory", "`v = bytes(v)`"),
        ("import itertools\nv = itertools.chain([1])", "an iterator", "`v = list(v)`"),
        ("from itertools import chain\nv = chain([1])", "an iterator", "`v = list(v)`"),
        ("import itertools as it\nv = it.chain([1])", "an iterator", "`v = list(v)`"),
        ("import threading as th\nv = th.Lock()", "bound to this process", "Create a new one"),
        ("import json, threading as th\nv = th.Lock()", "bound to this process", "Create a new one"),
        ("from threading import active_count, Lock as L\nv = L()", "bound to this process", "Create a new one"),
        ("import concurrent.futures\nv = concurrent.futures.ThreadPoolExecutor()", "bound to", "Create a new one"),
        ("from concurrent import futures\nv = futures.ProcessPoolExecutor()", "bound to this process", "Create a new"),
        ("import sqlite3\nv = sqlite3.connect('x')", "connected to something outside", "Open it in the step"),
        ("v = 1\nif v:\n    pass\nv = iter([1])", "an iterator", "`v = list(v)`"),
    ],
)
def test_a_value_that_cannot_travel_is_told_with_the_way_out(
    source: str, what: str, advice: str, tmp_path: Path
) -> None:
    (one,) = found(tmp_path, ("1", "step:first"), (source, "step:make"), SHOW)
    assert (one.code, one.is_error, one.place.cell, one.place.step) == ("KY502", True, 2, "make")
    assert one.line == source.count("\n") + 1
    assert one.what.startswith(f"`v` is {what}")
    assert advice in one.advice


@pytest.mark.parametrize(
    "source",
    [
        "v = [x for x in [1]]",
        "v = list(x for x in [1])",
        "v = open('x').read()",
        "v = None",
        "v = open",
        "async def g(): return 1\nv = await g()",
        "def g():\n    def inner():\n        yield 1\n    return list(inner())\nv = g()",
        "def g():\n    return [(lambda: (yield)) for x in []]\nv = g()",
        "def chain(x): return x\nv = chain([1])",
        "def zip(x): return x\nv = zip(1)",
        "import contextlib\n@contextlib.contextmanager\ndef g():\n    yield 1\nwith g() as v: pass",
        "def twice(f): return lambda: 2\n@twice\ndef g():\n    yield 1\nv = g()",
        "import itertools\nv = list(itertools.chain([1]))",
        "import threading\nv = threading.active_count()",
        "v, w = zip([1], [2])",
        "v = open('x')\nif len('a'):\n    v = 1",
        "v = [1]; w = open('x')",
        "v = zip([1])\nv = [1]",
        "d = {}\nd['v'] = v = [1]",
        "d = {}\nd['v'] = open('x') if d else 1\nv = 1",
    ],
)
def test_a_value_that_can_travel_is_not_told(source: str, tmp_path: Path) -> None:
    assert codes(tmp_path, (source, "step:make"), SHOW) == []


@pytest.mark.parametrize("imports", ["import threading as th", "from concurrent import futures as th"])
def test_the_import_may_stand_in_a_shared_cell(imports: str, tmp_path: Path) -> None:
    made = "th.Lock()" if "threading" in imports else "th.ThreadPoolExecutor()"
    assert codes(tmp_path, (imports, "imports"), (f"v = {made}", "step:make"), SHOW) == ["KY502"]


def test_what_cannot_travel_and_stays_in_its_step_is_not_told(tmp_path: Path) -> None:
    assert codes(tmp_path, ("v = open('x')\nprint(v)", "step:make"), ("print(1)", "step:show")) == []


CLASS = "class A:\n    pass"


@pytest.mark.parametrize(
    ("source", "what"),
    [
        (f"{CLASS}\nv = A()", "`v` is an instance of A, a class of the notebook: it is saved as a pickle"),
        ("import re\nv = re.compile('a')", "`v` is a compiled pattern: it is saved as a pickle"),
        ("import functools\nv = functools.partial(len, [])", "`v` is a partial function: it is saved as a pickle"),
        ("from functools import partial as p\nv = p(len, [])", "`v` is a partial function"),
        ("class A(dict): pass\nv = A()", "`v` is an instance of A, a class of the notebook"),
        ("def twice(c): return c\n@twice\nclass A: pass\nv = A()", "`v` is an instance of A, a class of the notebook"),
    ],
)
def test_a_value_that_goes_as_a_pickle_is_told(source: str, what: str, tmp_path: Path) -> None:
    (one,) = found(tmp_path, (source, "step:make"), SHOW)
    assert (one.code, one.is_error, one.place.cell, one.place.step) == ("KY501", False, 1, "make")
    assert one.line == source.count("\n") + 1
    assert one.what.startswith(what)


def test_the_class_may_stand_in_a_shared_cell(tmp_path: Path) -> None:
    assert codes(tmp_path, (CLASS, "functions"), ("v = A()", "step:make"), SHOW) == ["KY501"]


@pytest.mark.parametrize(
    "source",
    [
        "from dataclasses import dataclass\n@dataclass\nclass A:\n    x: int = 1\nv = A()",
        "import dataclasses as d\n@d.dataclass(frozen=True)\nclass A:\n    x: int = 1\nv = A()",
        "import enum\nclass A(enum.Enum):\n    X = 1\nv = A(1)",
        "import enum\nclass A(enum.IntFlag):\n    X = 1\nv = A(1)",
        "from typing import NamedTuple\nclass A(NamedTuple):\n    x: int = 1\nv = A()",
        f"{CLASS}\nv = A",
        f"{CLASS}\nv = [A()] and 1",
        f"{CLASS}\ndef A(): return 1\nv = A()",
        "import re\nv = re.findall('a', 'a')",
        "def partial(x): return x\nv = partial(1)",
    ],
)
def test_a_value_that_has_an_open_format_is_not_told(source: str, tmp_path: Path) -> None:
    assert codes(tmp_path, (source, "step:make"), SHOW) == []


def test_each_value_of_a_step_is_told_where_it_is_made_last(tmp_path: Path) -> None:
    cells: list[NotebookCells] = [
        ("v = 1\nw = open('x')\nv = open('y')", "step:make"),
        ("if len('a'):\n    u = open('z')", ""),
        ("print(u, v, w)", "step:show"),
    ]
    told = [(f.what.split()[0], f.place.cell, f.line) for f in found(tmp_path, *cells)]
    assert told == [("`w`", 1, 2), ("`v`", 1, 3)]
