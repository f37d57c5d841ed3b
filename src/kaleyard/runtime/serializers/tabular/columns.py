"""A column of a frame as an array of Arrow, and what has to be told beside it."""

from __future__ import annotations

import datetime as dt
import decimal
from typing import Any

from kaleyard.errors import DataError
from kaleyard.runtime.serializers.plain.encoding import Decoder, Encoder
from kaleyard.runtime.serializers.plain.scalars import decode_zone, encode_zone
from kaleyard.runtime.serializers.serializer import type_name
from kaleyard.runtime.serializers.tabular.index_labels import decode_labels, encode_dtype, encode_labels

__all__ = ["decode_column", "encode_column"]

# Types that a column of objects may hold, one at a time: what Arrow reads back as the same type.
_OBJECTS = {str, bytes, bool, int, decimal.Decimal, dt.date}


def encode_column(encoder: Encoder, values: Any) -> tuple[Any, dict[str, Any]]:
    """A Series as an Arrow array and what to tell. Raises DataError for a column that would come back otherwise."""
    import pandas as pd
    import pyarrow as pa

    told: dict[str, Any] = {"dtype": encode_dtype(values.dtype)}
    if isinstance(values.dtype, pd.CategoricalDtype):
        told = {"categories": encode_labels(encoder, values.dtype.categories), "ordered": bool(values.dtype.ordered)}
        if isinstance(values.dtype.categories.dtype, (pd.IntervalDtype, pd.PeriodDtype)):
            # As `pandas.cut` makes them; Parquet has no such categories.
            return pa.array(values.cat.codes.to_numpy()), told | {"codes": True}
    elif values.dtype == object:
        told |= _objects_told(values)
    elif isinstance(values.dtype, pd.DatetimeTZDtype):
        told = {"dtype": f"datetime64[{values.dtype.unit}]", "zone": encode_zone(encoder, values.dtype.tz)}
    try:
        return pa.array(values, from_pandas=True), told
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"Parquet cannot hold the column `{values.name}` ({values.dtype}): {error}") from error


def decode_column(decoder: Decoder, column: Any, told: dict[str, Any]) -> Any:
    """The Series that `encode_column` told, without its name."""
    import pandas as pd

    if "categories" in told:
        categories = pd.CategoricalDtype(decode_labels(decoder, told["categories"]), told["ordered"])
        if told.get("codes"):
            return pd.Series(pd.Categorical.from_codes(column.to_numpy(), dtype=categories))
        return column.to_pandas().astype(categories)
    if told["dtype"] == "object":
        return _objects_meant(column, told)
    if "zone" in told:
        utc = column.cast(_without_zone(column.type)).to_pandas().astype(told["dtype"]).dt.tz_localize("UTC")
        return utc.dt.tz_convert(decode_zone(decoder, told["zone"]))
    dtype = pd.api.types.pandas_dtype(told["dtype"])
    if hasattr(dtype, "__from_arrow__"):
        return pd.Series(dtype.__from_arrow__(column), dtype=dtype)
    values = column.to_pandas()
    return values if values.dtype == dtype else values.astype(dtype)


def _without_zone(kind: Any) -> Any:
    import pyarrow as pa

    return pa.timestamp(kind.unit)


def _objects_told(values: Any) -> dict[str, Any]:
    """What stands for a missing value in a column of objects; Arrow has one null for all of them."""
    found = set(map(type, values))
    missing = {cls: name for cls in found if (name := _missing_name(cls))}
    kinds = found - set(missing)
    if float in missing and any(type(value) is float and value == value for value in values):  # noqa: PLR0124
        kinds.add(float)
    if len(missing) > 1 or len(kinds) > 1 or not kinds <= _OBJECTS:
        names = ", ".join(sorted(cls.__name__ for cls in found))
        raise DataError(f"the column `{values.name}` holds objects of other or of several types: {names}")
    if kinds == {decimal.Decimal} and not _same_scale(values):
        raise DataError(f"the decimals of the column `{values.name}` differ in their number of places")
    return {"missing": next(iter(missing.values()), None), "type": next((cls.__name__ for cls in kinds), None)}


def _missing_name(cls: type) -> str | None:
    return {"NoneType": "None", "float": "nan", "NAType": "NA", "NaTType": "NaT"}.get(cls.__name__)


def _same_scale(values: Any) -> bool:
    numbers = [value for value in values if type(value) is decimal.Decimal]
    exponents = {number.as_tuple().exponent for number in numbers}
    # Arrow keeps whole numbers with one number of places for the column; these have no negative zero.
    negative_zero = any(number.is_zero() and number.is_signed() for number in numbers)
    return len(exponents) == 1 and isinstance(exponent := exponents.pop(), int) and exponent <= 0 and not negative_zero


def _objects_meant(column: Any, told: dict[str, Any]) -> Any:
    import numpy as np
    import pandas as pd

    values = column.to_pandas(integer_object_nulls=True).to_numpy(dtype=object, copy=True)
    missing = {"nan": np.nan, "NA": pd.NA, "NaT": pd.NaT}.get(told["missing"])
    if column.null_count:
        values[column.is_null().to_numpy()] = missing
    return pd.Series(values, dtype=object)


def object_types(values: Any) -> list[str]:
    """The types in a column of objects, in their order, for a comparison that tells 1 from True."""
    return [type_name(value) for value in values]
