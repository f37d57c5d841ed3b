"""Single values of numpy and pandas: kept as JSON, of the same type when they come back."""

from pathlib import Path
from typing import Any

import pytest

from kaleyard.runtime import serializers as formats


def kept(value: Any, path: Path) -> Any:
    """The value as the next step gets it, from an open format."""
    saved = formats.save("x", value, path)
    assert saved.format == "json", saved
    return formats.load("x", saved.format, path, saved.sha256, saved.extra)


NUMPY = ["float16(0.1)", "float32(0.1)", "float64('nan')", "float64(-0.0)", "float32('inf')", "longdouble(1) / 3"]
NUMPY += ["int8(-1)", "uint64(2**64 - 1)", "int64(1)", "longlong(1)", "bool_(True)", "str_('a\\0')", "bytes_(b'a')"]
NUMPY += ["complex64(1j)", "complex128(complex('nan'))", "datetime64('2024-01-01', 'ns')", "datetime64('NaT')"]
NUMPY += ["timedelta64(3, 'D')", "datetime64('2024', '25s')"]


@pytest.mark.parametrize("code", NUMPY)
def test_a_numpy_scalar_comes_back_as_the_same_type(code: str, tmp_path: Path) -> None:
    np = pytest.importorskip("numpy")
    value = eval(f"np.{code}", {"np": np})
    for again, kind in (
        (kept(value, tmp_path / "x"), "alone"),
        (kept({"a": [(value,)]}, tmp_path / "x")["a"][0][0], "inside"),
    ):
        assert type(again) is type(value), kind
        assert again.dtype == value.dtype
        assert again.tobytes() == value.tobytes()


PANDAS = ["Timestamp('2024-01-01 00:00:00.000000001')", "Timestamp('2024-01-01', tz='Europe/Berlin')", "NaT", "NA"]
PANDAS += ["Timestamp('2024-10-27 02:30', tz='UTC').tz_convert('Europe/Berlin').as_unit('s')", "Timedelta(5, 'ns')"]
PANDAS += ["Timestamp('2024-01-01T00:00+05:30')", "Timestamp.max", "Timedelta(5, 'h').as_unit('ms')"]


@pytest.mark.parametrize("code", PANDAS)
def test_a_moment_of_pandas_comes_back_equal(code: str, tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    value = eval(f"pd.{code}", {"pd": pd})
    again = kept([value], tmp_path / "x")[0]
    assert type(again) is type(value)
    assert repr(again) == repr(value)
    assert getattr(again, "unit", None) == getattr(value, "unit", None)
    assert type(getattr(again, "tzinfo", None)) is type(getattr(value, "tzinfo", None))
