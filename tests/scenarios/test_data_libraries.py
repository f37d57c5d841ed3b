"""Values of the libraries people use, from one real kernel to another: equal, and in the format that is said."""

from __future__ import annotations

from pathlib import Path

import pytest

import kaleyard
from kaleyard.reporting.console import SilentReporter
from notebook_builder import notebook

for _library in ("scipy", "PIL", "matplotlib", "polars", "pyarrow"):
    pytest.importorskip(_library)

IMPORTS = """
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import scipy.sparse
from matplotlib.figure import Figure
from PIL import Image
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
"""
CLASSES = """
class Doubler(BaseEstimator, TransformerMixin):
    def fit(self, X, y=None):
        self.seen_ = len(X)
        return self

    def transform(self, X):
        return np.asarray(X) * 2


def twins():
    return pd.DataFrame([[1, "a"], [2, "b"]], columns=["x", "x"])


def times():
    return pd.DataFrame({"v": [1.5, None]}, index=pd.date_range("2026-03-29", periods=2, freq="h", tz="Europe/Paris"))
"""
FIRST = """
sparse = scipy.sparse.csr_matrix(([1.0, 2.0], ([0, 2], [1, 0])), shape=(3, 3))
objects = np.array(["a", None, (1, 2)], dtype=object)
image = Image.new("RGB", (3, 2), (1, 2, 3))
figure = Figure()
figure.subplots().plot([1, 2], label="line")
table = pa.table({"n": [1, None, 3], "s": ["a", "b", None]})
polars = pl.DataFrame({"n": [1, 2], "l": [[1], [2, 3]]})
named_twice = twins()
timed = times()
codes = pd.Series(["u", "v", None], dtype="category", name="codes")
own_parts = make_pipeline(Doubler(), LinearRegression()).fit([[0.0], [1.0]], [1.0, 5.0])
"""
SECOND = """
assert type(sparse) is scipy.sparse.csr_matrix and sparse.toarray().tolist() == [[0, 1, 0], [0, 0, 0], [2, 0, 0]]
assert objects.dtype == object and objects.tolist() == ["a", None, (1, 2)]
assert image.mode == "RGB" and image.size == (3, 2) and image.getpixel((2, 1)) == (1, 2, 3)
assert figure.axes[0].lines[0].get_label() == "line" and list(figure.axes[0].lines[0].get_ydata()) == [1, 2]
assert table.equals(pa.table({"n": [1, None, 3], "s": ["a", "b", None]}))
assert polars.equals(pl.DataFrame({"n": [1, 2], "l": [[1], [2, 3]]})) and polars.schema["l"] == pl.List(pl.Int64)
pd.testing.assert_frame_equal(named_twice, twins())
pd.testing.assert_frame_equal(timed, times(), check_freq=True)
pd.testing.assert_series_equal(codes, pd.Series(["u", "v", None], dtype="category", name="codes"))
assert own_parts[0].seen_ == 2 and abs(own_parts.predict([[2.0]])[0] - 9.0) < 1e-9
checked = True
"""


def test_values_of_libraries_reach_the_next_step_as_they_were(project: Path) -> None:
    path = notebook(
        project / "notebooks" / "libraries.ipynb",
        (IMPORTS, "imports"),
        (CLASSES, "functions"),
        (FIRST, "step:first"),
        (SECOND, "step:second"),
        ("checked", ""),
    )
    done = kaleyard.run(path, reporter=SilentReporter())
    assert done.state == "done", [s.error for s in done.steps.values() if s.error]
    formats = {a.name: a.format for a in done.steps["first"].artifacts}
    closed = {name for name, form in formats.items() if form == "cloudpickle"}
    assert all(any(f"`{name}`" in note for note in done.notes) for name in closed)
    assert closed == {"figure", "objects", "own_parts"}, formats
