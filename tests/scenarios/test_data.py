"""Values of every kind, from one real kernel to another: equal and of the same type, or refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

import kaleyard
from kaleyard.records.run_record import Run
from kaleyard.reporting.console import SilentReporter
from notebook_builder import notebook

IMPORTS = """
import collections, datetime, decimal, enum, functools, math, pathlib, zoneinfo
from dataclasses import dataclass
import numpy as np
import pandas as pd
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
"""
CLASSES = """
class Colour(enum.Enum):
    RED = 1
    BLUE = "b"


@dataclass(frozen=True)
class Point:
    x: int
    y: float = 0.5


class Doubler:
    factor = 2

    def __init__(self, base):
        self.base = base

    def __eq__(self, other):
        return isinstance(other, Doubler) and self.base == other.base

    def __hash__(self):
        return hash(self.base)

    def __call__(self, x):
        return x * self.factor + self.base


def adder(n):
    def add(x):
        return x + n
    return add


def table():
    index = pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1)], names=["letter", None])
    frame = pd.DataFrame({"n": [1, 2, 3], "t": pd.date_range("2026-01-01", periods=3, tz="Europe/Paris")}, index=index)
    frame["c"] = pd.Categorical(["u", "v", "u"], categories=["v", "u", "w"], ordered=True)
    frame.attrs["source"] = "made"
    return frame
"""
PLAIN = {
    "tuple_value": "(1, (2, 'x'), [3, {4}])",
    "int_keys": "{1: 'a', (2, 3): 'b', None: 'c'}",
    "huge": "10**60 + 1",
    "special": "[math.inf, -0.0, 1e-300]",
    "raw": "b'\\x00\\xff'",
    "money": "decimal.Decimal('1.10')",
    "moment": "datetime.datetime(2026, 11, 23, 12, tzinfo=zoneinfo.ZoneInfo('Europe/Paris'))",
    "folder": "pathlib.Path('some/where')",
    "colour": "[Colour.RED, Colour.BLUE]",
    "point": "{'p': Point(3), 'q': [Point(4, 2.0)]}",
    "thing": "Doubler(7)",
    "many": "collections.Counter('hello')",
    "queue": "collections.deque([1, 2], maxlen=3)",
    "scalar": "np.float64(2.5)",
}
FIRST = (
    "\n".join(f"{name} = {code}" for name, code in PLAIN.items())
    + """
nan = math.nan
zero_d = np.array(3.5)
structured = np.array([(1, 'a'), (2, 'b')], dtype=[('n', 'i4'), ('s', 'U3')])
masked = np.ma.array([1, 2, 3], mask=[0, 1, 0], fill_value=9)
frame = table()
series = pd.Series([1, None, 3], dtype="Int64", name=("a", 1))
empty = pd.DataFrame({"a": pd.Series([], dtype="float64")})
nested = {"train": table(), "arrays": [np.arange(3), np.eye(2)]}
fitted = make_pipeline(StandardScaler(), LinearRegression()).fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0])
plus = adder(4)
times = functools.partial(pow, 2)
"""
)
SECOND = (
    "\n".join(f"assert {n} == {c} and type({n}) is type({c}), {n!r}" for n, c in PLAIN.items())
    + """
assert isinstance(thing, Doubler) and thing(1) == 9
assert math.isnan(nan)
assert zero_d.shape == () and zero_d == 3.5
assert structured.dtype.names == ('n', 's') and structured['s'].tolist() == ['a', 'b']
assert masked.mask.tolist() == [False, True, False] and masked.fill_value == 9
pd.testing.assert_frame_equal(frame, table()); assert frame.attrs == {"source": "made"}
assert frame["c"].cat.categories.tolist() == ["v", "u", "w"] and frame["c"].cat.ordered
pd.testing.assert_series_equal(series, pd.Series([1, None, 3], dtype="Int64", name=("a", 1)))
assert empty.shape == (0, 1) and empty.dtypes["a"] == "float64"
pd.testing.assert_frame_equal(nested["train"], table()); assert nested["arrays"][1].tolist() == [[1, 0], [0, 1]]
assert abs(fitted.predict([[3.0]])[0] - 7.0) < 1e-9
assert plus(1) == 5 and times(5) == 32
checked = True
"""
)


def run(path: Path) -> Run:
    return kaleyard.run(path, reporter=SilentReporter())


def test_values_of_every_kind_reach_the_next_step_as_they_were(project: Path) -> None:
    path = notebook(
        project / "notebooks" / "kinds.ipynb",
        (IMPORTS, "imports"),
        (CLASSES, "functions"),
        (FIRST, "step:first"),
        (SECOND, "step:second"),
        ("checked", ""),
    )
    done = run(path)
    assert done.state == "done", [s.error for s in done.steps.values() if s.error]
    formats = {a.name: a.format for a in done.steps["first"].artifacts}
    assert formats["frame"] == formats["series"] == formats["empty"] == "parquet"
    assert formats["fitted"] == "skops"
    assert formats["nested"] == "tree"
    assert formats["structured"] == "npy"
    closed = {n for n, form in formats.items() if form == "cloudpickle"}
    assert closed == {"thing", "plus", "times"}
    assert all(any(f"`{n}`" in note for note in done.notes) for n in closed)


MAKES_FILES = """
made = Path('out/model')
made.mkdir(parents=True)
(made / 'a.txt').write_text('A')
(made / 'sub').mkdir()
(made / 'sub' / 'b.txt').write_text('B')
one = Path('one.txt')
one.write_text('1')
"""


def test_a_path_travels_with_its_file_and_its_folder(project: Path) -> None:
    path = notebook(
        project / "notebooks" / "paths.ipynb",
        ("from pathlib import Path", "imports"),
        (MAKES_FILES, "step:make"),
        (
            "found = [(made / 'a.txt').read_text(), (made / 'sub/b.txt').read_text(), one.read_text(), str(made)]",
            "step:use",
        ),
        ("found", ""),
    )
    done = run(path)
    assert done.state == "done", [s.error for s in done.steps.values() if s.error]
    assert done.artifact("use", "found").read_text().strip() == '["A", "B", "1", "out/model"]'
    assert (done.artifact("make", "made") / "sub" / "b.txt").read_text() == "B"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("rows = iter([1, 2])", "rows"),
        ("import threading\nlock = [threading.Lock()]", "lock"),
    ],
)
def test_what_cannot_travel_is_refused_by_name(project: Path, source: str, words: str) -> None:
    cells = (("# kaleyard: disable=KY502\n" + source, "step:make"), (f"used = {words}", "step:use"))
    done = run(notebook(project / "notebooks" / "stuck.ipynb", *cells))
    error = done.steps["make"].error
    assert error is not None
    assert error["kind"] == "DataError"
    assert f"`{words}`" in error["what"]
    assert error["fix"]
