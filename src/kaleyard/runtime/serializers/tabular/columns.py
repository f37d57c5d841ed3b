"""A column of a frame as an Arrow array, with a description of what Arrow cannot hold."""

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

# Types that a column of objects may hold, one type per column: Arrow reads them back as the same type.
_OBJECTS = {str, bytes, bool, int, decimal.Decimal, dt.date}


def encode_column(encoder: Encoder, values: Any) -> tuple[Any, dict[str, Any]]:
    """A Series as an Arrow array and its description. Raises DataError if the column would come back changed."""
    import pandas as pd
    import pyarrow as pa

    details: dict[str, Any] = {"dtype": encode_dtype(values.dtype)}
    if isinstance(values.dtype, pd.CategoricalDtype):
        categories = values.dtype.categories
        details = {"categories": encode_labels(encoder, categories), "ordered": bool(values.dtype.ordered)}
        if isinstance(categories.dtype, (pd.IntervalDtype, pd.PeriodDtype)):
            # For example from `pandas.cut`; Parquet cannot hold these categories.
            return pa.array(values.cat.codes.to_numpy()), details | {"codes": True}
    elif values.dtype == object:
        details |= _describe_objects(values)
    elif isinstance(values.dtype, pd.DatetimeTZDtype):
        details = {"dtype": f"datetime64[{values.dtype.unit}]", "zone": encode_zone(encoder, values.dtype.tz)}
    try:
        return pa.array(values, from_pandas=True), details
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"Parquet cannot hold the column `{values.name}` ({values.dtype}): {error}") from error


def decode_column(decoder: Decoder, column: Any, details: dict[str, Any]) -> Any:
    """The Series that `encode_column` encoded, without its name."""
    import pandas as pd

    if "categories" in details:
        categories = pd.CategoricalDtype(decode_labels(decoder, details["categories"]), details["ordered"])
        if details.get("codes"):
            return pd.Series(pd.Categorical.from_codes(column.to_numpy(), dtype=categories))
        return column.to_pandas().astype(categories)
    if details["dtype"] == "object":
        return _restore_objects(column, details)
    if "zone" in details:
        utc = column.cast(_without_zone(column.type)).to_pandas().astype(details["dtype"]).dt.tz_localize("UTC")
        return utc.dt.tz_convert(decode_zone(decoder, details["zone"]))
    dtype = pd.api.types.pandas_dtype(details["dtype"])
    if hasattr(dtype, "__from_arrow__"):
        return pd.Series(dtype.__from_arrow__(column), dtype=dtype)
    values = column.to_pandas()
    return values if values.dtype == dtype else values.astype(dtype)


def _without_zone(kind: Any) -> Any:
    import pyarrow as pa

    return pa.timestamp(kind.unit)


def _describe_objects(values: Any) -> dict[str, Any]:
    """The type of the objects in a column and of its missing values, for which Arrow has a single null."""
    types = set(map(type, values))
    missing = {cls: name for cls in types if (name := _missing_name(cls))}
    kinds = types - set(missing)
    if float in missing and any(type(value) is float and value == value for value in values):  # noqa: PLR0124
        kinds.add(float)
    if len(missing) > 1 or len(kinds) > 1 or not kinds <= _OBJECTS:
        names = ", ".join(sorted(cls.__name__ for cls in types))
        raise DataError(f"the column `{values.name}` holds objects of other or of several types: {names}")
    if kinds == {decimal.Decimal} and not _same_scale(values):
        raise DataError(f"the decimals of the column `{values.name}` have different numbers of decimal places")
    return {"missing": next(iter(missing.values()), None), "type": next((cls.__name__ for cls in kinds), None)}


def _missing_name(cls: type) -> str | None:
    return {"NoneType": "None", "float": "nan", "NAType": "NA", "NaTType": "NaT"}.get(cls.__name__)


def _same_scale(values: Any) -> bool:
    numbers = [value for value in values if type(value) is decimal.Decimal]
    exponents = {number.as_tuple().exponent for number in numbers}
    # Arrow stores integers with one scale for the column, which has no negative zero.
    negative_zero = any(number.is_zero() and number.is_signed() for number in numbers)
    return len(exponents) == 1 and isinstance(exponent := exponents.pop(), int) and exponent <= 0 and not negative_zero


def _restore_objects(column: Any, details: dict[str, Any]) -> Any:
    import numpy as np
    import pandas as pd

    values = column.to_pandas(integer_object_nulls=True).to_numpy(dtype=object, copy=True)
    missing = {"nan": np.nan, "NA": pd.NA, "NaT": pd.NaT}.get(details["missing"])
    if column.null_count:
        values[column.is_null().to_numpy()] = missing
    return pd.Series(values, dtype=object)


def object_types(values: Any) -> list[str]:
    """The types of the objects in a column, for a comparison that distinguishes 1 from True."""
    return [type_name(value) for value in values]
