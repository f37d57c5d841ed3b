"""An index of pandas as JSON: column labels and categories, which Parquet cannot hold."""

from __future__ import annotations

from typing import Any

from kaleyard.errors import DataError
from kaleyard.runtime.serializers.plain.encoding import Decoder, Encoder
from kaleyard.runtime.serializers.plain.scalars import decode_zone, encode_zone

__all__ = ["decode_labels", "encode_dtype", "encode_labels"]


def encode_labels(encoder: Encoder, index: Any) -> dict[str, Any]:
    """An index by its class, values and names."""
    pd = _pandas()

    if isinstance(index, pd.MultiIndex):
        levels = [encode_labels(encoder, index.get_level_values(level)) for level in range(index.nlevels)]
        return {"kind": "multi", "levels": levels}
    encoded = {"name": encoder.encode(index.name)}
    if isinstance(index, pd.RangeIndex):
        return encoded | {"kind": "range", "range": [index.start, index.stop, index.step]}
    if isinstance(index, pd.CategoricalIndex):
        categories = encode_labels(encoder, index.categories)
        codes = index.codes.tolist()
        return encoded | {"kind": "category", "codes": codes, "categories": categories, "ordered": bool(index.ordered)}
    if isinstance(index, pd.IntervalIndex):
        ends = [encode_labels(encoder, end) for end in (index.left, index.right)]
        return encoded | {"kind": "interval", "ends": ends, "closed": index.closed}
    if isinstance(index, pd.PeriodIndex):
        return encoded | {"kind": "period", "freq": index.freqstr, "values": index.asi8.tolist()}
    if isinstance(index, (pd.DatetimeIndex, pd.TimedeltaIndex)):
        zone = getattr(index, "tz", None)
        encoded |= {"kind": "moments", "dtype": index.asi8.dtype.str.replace("i8", index.dtype.kind + "8")}
        encoded |= {"unit": index.unit, "zone": None if zone is None else encode_zone(encoder, zone)}
        return encoded | {"freq": index.freqstr, "values": index.asi8.tolist()}
    if type(index) is not pd.Index:
        raise DataError(f"it has an index of the unsupported type {type(index).__qualname__}")
    return encoded | {"kind": "index", "dtype": encode_dtype(index.dtype), "values": [encoder.encode(v) for v in index]}


def decode_labels(decoder: Decoder, encoded: dict[str, Any]) -> Any:
    """The index that `encode_labels` encoded."""
    pd = _pandas()

    kind = encoded["kind"]
    if kind == "multi":
        levels = [decode_labels(decoder, level) for level in encoded["levels"]]
        return pd.MultiIndex.from_arrays(levels, names=[level.name for level in levels])
    name = decoder.decode(encoded["name"])
    if kind == "range":
        return pd.RangeIndex(*encoded["range"], name=name)
    if kind == "category":
        categories = decode_labels(decoder, encoded["categories"])
        return pd.CategoricalIndex(
            pd.Categorical.from_codes(encoded["codes"], categories=categories, ordered=encoded["ordered"]), name=name
        )
    if kind == "interval":
        left, right = (decode_labels(decoder, end) for end in encoded["ends"])
        return pd.IntervalIndex.from_arrays(left, right, closed=encoded["closed"], name=name)
    if kind == "period":
        return pd.PeriodIndex.from_ordinals(encoded["values"], freq=encoded["freq"], name=name)
    if kind == "moments":
        return _moments(decoder, encoded, name)
    values = [decoder.decode(value) for value in encoded["values"]]
    return pd.Index(values, dtype=encoded["dtype"], name=name, tupleize_cols=False)


def _pandas() -> Any:
    # As Any, because the type stubs of pandas lack much of what is used here.
    import pandas as pd

    return pd


def _moments(decoder: Decoder, encoded: dict[str, Any], name: Any) -> Any:
    import numpy as np
    import pandas as pd

    values = np.array(encoded["values"], "i8").view(f"{encoded['dtype'][1]}8[{encoded['unit']}]")
    index: Any = (
        pd.DatetimeIndex(values, name=name) if values.dtype.kind == "M" else pd.TimedeltaIndex(values, name=name)
    )
    if encoded["zone"] is not None:
        index = index.tz_localize("UTC").tz_convert(decode_zone(decoder, encoded["zone"]))
    index.freq = encoded["freq"]
    return index


def encode_dtype(dtype: Any) -> str:
    """The name of a dtype from which pandas can create it."""
    # The name of the string dtype does not include its storage.
    return f"string[{dtype.storage}]" if dtype.name == "string" and hasattr(dtype, "storage") else str(dtype)
