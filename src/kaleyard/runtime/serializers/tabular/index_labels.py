"""An index of pandas as JSON: the labels of columns and the categories of a column, which Parquet has no place for."""

from __future__ import annotations

from typing import Any

from kaleyard.errors import DataError
from kaleyard.runtime.serializers.plain.encoding import Decoder, Encoder
from kaleyard.runtime.serializers.plain.scalars import decode_zone, encode_zone

__all__ = ["decode_labels", "encode_dtype", "encode_labels"]


def encode_labels(encoder: Encoder, index: Any) -> dict[str, Any]:
    """Any index by its class, values and names."""
    pd = _pandas()

    if isinstance(index, pd.MultiIndex):
        levels = [encode_labels(encoder, index.get_level_values(level)) for level in range(index.nlevels)]
        return {"kind": "multi", "levels": levels}
    told = {"name": encoder.encode(index.name)}
    if isinstance(index, pd.RangeIndex):
        return told | {"kind": "range", "range": [index.start, index.stop, index.step]}
    if isinstance(index, pd.CategoricalIndex):
        categories = encode_labels(encoder, index.categories)
        codes = index.codes.tolist()
        return told | {"kind": "category", "codes": codes, "categories": categories, "ordered": bool(index.ordered)}
    if isinstance(index, pd.IntervalIndex):
        ends = [encode_labels(encoder, end) for end in (index.left, index.right)]
        return told | {"kind": "interval", "ends": ends, "closed": index.closed}
    if isinstance(index, pd.PeriodIndex):
        return told | {"kind": "period", "freq": index.freqstr, "values": index.asi8.tolist()}
    if isinstance(index, (pd.DatetimeIndex, pd.TimedeltaIndex)):
        zone = getattr(index, "tz", None)
        told |= {"kind": "moments", "dtype": index.asi8.dtype.str.replace("i8", index.dtype.kind + "8")}
        told |= {"unit": index.unit, "zone": None if zone is None else encode_zone(encoder, zone)}
        return told | {"freq": index.freqstr, "values": index.asi8.tolist()}
    if type(index) is not pd.Index:
        raise DataError(f"it has an index of the type {type(index).__qualname__}")
    return told | {"kind": "index", "dtype": encode_dtype(index.dtype), "values": [encoder.encode(v) for v in index]}


def decode_labels(decoder: Decoder, told: dict[str, Any]) -> Any:
    """The index that `encode_labels` told."""
    pd = _pandas()

    kind = told["kind"]
    if kind == "multi":
        levels = [decode_labels(decoder, level) for level in told["levels"]]
        return pd.MultiIndex.from_arrays(levels, names=[level.name for level in levels])
    name = decoder.decode(told["name"])
    if kind == "range":
        return pd.RangeIndex(*told["range"], name=name)
    if kind == "category":
        categories = decode_labels(decoder, told["categories"])
        return pd.CategoricalIndex(
            pd.Categorical.from_codes(told["codes"], categories=categories, ordered=told["ordered"]), name=name
        )
    if kind == "interval":
        left, right = (decode_labels(decoder, end) for end in told["ends"])
        return pd.IntervalIndex.from_arrays(left, right, closed=told["closed"], name=name)
    if kind == "period":
        return pd.PeriodIndex.from_ordinals(told["values"], freq=told["freq"], name=name)
    if kind == "moments":
        return _moments(decoder, told, name)
    values = [decoder.decode(value) for value in told["values"]]
    return pd.Index(values, dtype=told["dtype"], name=name, tupleize_cols=False)


def _pandas() -> Any:
    # As Any: the stubs of pandas do not know half of what is asked here.
    import pandas as pd

    return pd


def _moments(decoder: Decoder, told: dict[str, Any], name: Any) -> Any:
    import numpy as np
    import pandas as pd

    values = np.array(told["values"], "i8").view(f"{told['dtype'][1]}8[{told['unit']}]")
    index: Any = (
        pd.DatetimeIndex(values, name=name) if values.dtype.kind == "M" else pd.TimedeltaIndex(values, name=name)
    )
    if told["zone"] is not None:
        index = index.tz_localize("UTC").tz_convert(decode_zone(decoder, told["zone"]))
    index.freq = told["freq"]
    return index


def encode_dtype(dtype: Any) -> str:
    """A dtype by the name that pandas makes it from."""
    # The name of the string dtype does not say where it keeps its strings.
    return f"string[{dtype.storage}]" if dtype.name == "string" and hasattr(dtype, "storage") else str(dtype)
