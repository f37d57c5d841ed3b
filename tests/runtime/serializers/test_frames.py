"""Frames of pandas: kept as Parquet with everything that makes them equal, or left to cloudpickle."""

import datetime as dt
import decimal
import zoneinfo
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pandas.testing as pt
import pytest

from kaleyard.runtime import serializers as formats
from kaleyard.runtime.serializers.tabular import frames

BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
DAYS = pd.date_range("2024-01-01", periods=3, freq="D")


def frame(values: Any, **kind: Any) -> Any:
    return pd.DataFrame({"a": pd.Series(values, **kind)})


def indexed(index: Any, name: Any = None) -> Any:
    index = pd.Index(index) if isinstance(index, list) else index
    return pd.DataFrame({"a": range(len(index))}, index=index.rename(name) if name is not None else index)


def labelled(columns: Any) -> Any:
    return pd.DataFrame([range(len(columns))], columns=columns)


def with_attrs(value: Any, **attrs: Any) -> Any:
    value.attrs = attrs
    return value


KEPT: dict[str, Any] = {
    "texts and nothing": frame(["x", None]),
    "texts and nan": frame(["x", np.nan]),
    "texts and NA": frame(["x", pd.NA]),
    "texts and NaT": frame(["x", pd.NaT]),
    "nothing but None": frame([None, None]),
    "bytes": frame([b"x", None]),
    "dates": frame([dt.date(2024, 1, 1), None]),
    "decimals": frame([decimal.Decimal("1.10"), decimal.Decimal("-22.20")]),
    "objects that are integers": frame([1, None], dtype=object),
    "objects that are booleans": frame([True, False], dtype=object),
    "all numbers": pd.DataFrame(
        {d: np.array([0, 1], d) for d in ["?", "i1", "u1", "i2", "u4", "i8", "u8", "f2", "f4"]}
    ),
    "floats": frame([0.1, np.nan, np.inf, -0.0]),
    "categories": frame(pd.Categorical(["b", "a", None], ["c", "b", "a"], ordered=True)),
    "categories that are numbers": frame(pd.Categorical([3, 1], [3, 2, 1])),
    "categories that are moments": frame(pd.Categorical(DAYS)),
    "categories that are intervals": frame(pd.cut([1, 2, 3], 2)),
    "nullable": pd.DataFrame({d: pd.Series([1, None], dtype=d) for d in ["Int64", "UInt8", "Float64", "boolean"]}),
    "strings": pd.DataFrame({d: pd.Series(["x", None], dtype=d) for d in ["string[python]", "string[pyarrow]"]}),
    "arrow integers": frame([1, None], dtype="int64[pyarrow]"),
    "moments of all units": pd.DataFrame({u: np.array([1, "NaT"], f"M8[{u}]") for u in ["s", "ms", "us", "ns"]}),
    "durations of all units": pd.DataFrame({u: np.array([1, "NaT"], f"m8[{u}]") for u in ["s", "ms", "us", "ns"]}),
    "moments of pytz": frame(DAYS.tz_localize("Europe/Berlin")),
    "moments of zoneinfo": frame(DAYS.tz_localize(BERLIN)),
    "moments in UTC": frame(DAYS.tz_localize("UTC").as_unit("s")),
    "moments of a fixed offset": frame(pd.to_datetime(["2024-01-01T00:00+02:00"])),
    "the hour that is there twice": frame(
        pd.to_datetime([1729990800, 1729994400], unit="s", utc=True).tz_convert(BERLIN)
    ),
    "periods": frame(pd.period_range("2024-01", periods=2, freq="M")),
    "intervals": frame(pd.interval_range(0, 2)),
    "no rows": pd.DataFrame({"a": pd.Series([], dtype=object), "b": pd.Series([], dtype="i8")}),
    "no columns": pd.DataFrame(index=["x", "y"]),
    "nothing": pd.DataFrame(),
    "range": indexed(pd.RangeIndex(10, 40, 10), "r"),
    "integers as index": indexed([1, 2]),
    "floats as index": indexed([0.5, np.nan]),
    "texts twice as index": indexed(["a", "a"], 5),
    "days": indexed(DAYS),
    "business days in a zone": indexed(pd.date_range("2024-01-05", periods=3, freq="B", tz="Europe/Berlin"), "day"),
    "days without frequency": indexed(DAYS[[0, 2]]),
    "durations as index": indexed(pd.timedelta_range("1h", periods=2)),
    "periods as index": indexed(pd.period_range("2024-01", periods=2, freq="Q")),
    "categories as index": indexed(pd.CategoricalIndex(["u", "v"], ["v", "u", "w"])),
    "intervals as index": indexed(pd.interval_range(0.0, 2.0, closed="left")),
    "levels": indexed(pd.MultiIndex.from_tuples([("x", 1), ("y", 2)], names=["k", ("t", 3)])),
    "levels of zones and categories": indexed(
        pd.MultiIndex.from_arrays([DAYS.tz_localize(BERLIN), pd.Categorical(["b", "a", "b"], ["b", "a"])])
    ),
    "index and column of one name": indexed([1, 2], "a"),
    "numbered columns": pd.DataFrame(np.eye(2)),
    "columns twice": labelled(["a", "a", "b"]),
    "columns of any kind": labelled(pd.Index(["a", 1, (2, "b"), None], dtype=object)),
    "columns of levels": labelled(pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["u", None])),
    "columns with a name": labelled(pd.Index(["a", "b"], name="kind")),
    "columns that are months": labelled(pd.date_range("2024-01", periods=2, freq="MS", tz="UTC")),
    "columns that are periods": labelled(pd.period_range("2024-01", periods=2, freq="M")),
    "columns that are categories": labelled(pd.CategoricalIndex(["a", "b"], ["b", "a"])),
    "columns that are intervals": labelled(pd.interval_range(0, 2)),
    "columns that are strings": labelled(pd.Index(["a"], dtype="string")),
    "columns that are booleans": labelled([True, False]),
    "a column without a letter": labelled([""]),
    "a column called as a level is": labelled(["__index_level_0__", "column_0"]),
    "attrs": with_attrs(frame([1]), unit="m", sizes=(1, [2])),
    "no duplicates allowed": frame([1]).set_flags(allows_duplicate_labels=False),
    "series": pd.Series([1, 2], name=("a", 1)),
    "series of texts": with_attrs(pd.Series(["a", np.nan], DAYS[:2], name="s"), k=1),
    "series without name": pd.Series([1.5]),
    "series with a number for a name": pd.Series([], dtype="f4", name=3),
    "index": pd.Index(["a", "b"], name="n"),
    "index of a range": pd.RangeIndex(3),
    "index of days": DAYS,
    "index of levels": pd.MultiIndex.from_product([[1, 2], ["a", "b"]]),
}


def equal(one: Any, other: Any) -> None:
    """As strict as pandas can be, and the types of objects on top."""
    assert type(one) is type(other)
    if isinstance(one, pd.Index):
        pt.assert_index_equal(one, other, exact=True)
    elif isinstance(one, pd.Series):
        pt.assert_series_equal(one, other, check_exact=True)
    else:
        pt.assert_frame_equal(one, other, check_exact=True)
    assert repr(one.dtypes if one.ndim > 1 else one.dtype) == repr(other.dtypes if other.ndim > 1 else other.dtype)
    assert getattr(one, "attrs", {}) == getattr(other, "attrs", {})
    whole, again = (v.to_frame() if not isinstance(v, pd.DataFrame) else v for v in (one, other))
    for n in range(whole.shape[1]):
        assert [type(v) for v in whole.iloc[:, n]] == [type(v) for v in again.iloc[:, n]]
        zones = [type(getattr(v.dtypes.iloc[n], "tz", None)) for v in (whole, again)]
        assert zones[0] is zones[1]


@pytest.mark.parametrize("case", KEPT)
def test_a_frame_comes_back_the_same_from_parquet(case: str, tmp_path: Path) -> None:
    saved = formats.save("x", KEPT[case], tmp_path / "x")
    assert saved.format == "parquet", saved.closed
    equal(KEPT[case], formats.load("x", saved.format, tmp_path / "x", saved.sha256))


class Own(pd.DataFrame):
    """A frame of one's own."""


CLOSED: dict[str, Any] = {
    "texts, None and nan": frame(["x", None, np.nan]),
    "numbers and texts": frame(["x", 1]),
    "ones and True": frame([1, True], dtype=object),
    "lists": frame([[1], [2]]),
    "numpy's texts": frame([np.str_("x")], dtype=object),
    "decimals of unlike places": frame([decimal.Decimal("1.10"), decimal.Decimal("2.2")]),
    "a negative zero": frame([decimal.Decimal("-0.0")]),
    "datetimes as objects": frame([dt.datetime(2024, 1, 1, tzinfo=dt.UTC)], dtype=object),
    "moments as objects": frame([pd.Timestamp(0)], dtype=object),
    "complex numbers": frame([1j]),
    "half surrogates": frame(["\ud800"]),
    "mixed index": indexed(["a", 1]),
    "attrs of objects": with_attrs(frame([1]), made_by=object()),
    "a subclass": Own({"a": [1]}),
}


@pytest.mark.parametrize("case", CLOSED)
def test_a_frame_that_parquet_would_change_goes_to_cloudpickle(case: str, tmp_path: Path) -> None:
    saved = formats.save("x", CLOSED[case], tmp_path / "x")
    assert (saved.format, bool(saved.closed)) == ("cloudpickle", True)
    again: Any = formats.load("x", saved.format, tmp_path / "x")
    assert type(again) is type(CLOSED[case])
    pt.assert_frame_equal(again, CLOSED[case])


def test_a_column_with_two_kinds_of_nothing_is_found_before_it_is_written(tmp_path: Path) -> None:
    saved = formats.save("x", CLOSED["texts, None and nan"], tmp_path / "x")
    assert "the column `a` holds objects of other or of several types: NoneType, float, str" in saved.closed


def test_other_programs_find_the_index(tmp_path: Path) -> None:
    for value in (KEPT["levels"], indexed([1, 2], "n"), KEPT["range"]):
        formats.save("x", value, tmp_path / "x")
        again = pd.read_parquet(tmp_path / "x")
        assert again.index.tolist() == value.index.tolist()
        assert again.columns.tolist() == ["a"]


def test_a_folder_name_with_an_equals_sign_makes_no_column(tmp_path: Path) -> None:
    saved = formats.save("x", frame([1]), tmp_path / "year=2024" / "x")
    equal(formats.load("x", saved.format, tmp_path / "year=2024" / "x"), frame([1]))


def test_a_large_frame_is_checked_by_a_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "_LARGE", 10)
    value = pd.DataFrame({"a": range(9000), "b": ["x", np.nan, "y"] * 3000}, index=pd.date_range("2024", periods=9000))
    saved = formats.save("x", value, tmp_path / "x")
    assert saved.format == "parquet"
    equal(value, formats.load("x", saved.format, tmp_path / "x"))
    monkeypatch.setattr(frames, "_read", lambda _: value.iloc[:5])
    assert formats.save("x", value, tmp_path / "x").format == "cloudpickle"


def test_a_frame_that_is_not_read_back_the_same_is_not_left_as_parquet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames, "_read", lambda _: frame([2]))
    saved = formats.save("x", frame([1]), tmp_path / "x")
    assert saved.format == "cloudpickle"
    assert "Parquet does not give back the same" in saved.closed
