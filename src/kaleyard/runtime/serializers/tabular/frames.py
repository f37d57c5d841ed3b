"""Frames, series and indexes of pandas as Parquet, checked to come back as they were.

What Parquet cannot hold (the kind of index, labels that are not strings, frequencies, categories, attributes, the kind
of missing value in a column) is JSON in the file's metadata, under "kaleyard". Every file is read back and compared
before it counts as saved; over 50 MB, a sample of 2000 rows is compared.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from kaleyard.errors import DataError
from kaleyard.runtime.serializers.plain import kinds
from kaleyard.runtime.serializers.plain.encoding import Decoder, Encoder, dumps, loads
from kaleyard.runtime.serializers.serializer import made_by
from kaleyard.runtime.serializers.tabular.columns import decode_column, encode_column, object_types
from kaleyard.runtime.serializers.tabular.index_labels import decode_labels, encode_labels

__all__ = ["Parquet"]

_KEY = b"kaleyard"
_LARGE = 50_000_000
_SAMPLE = 2000


class Parquet:
    """DataFrame, Series and Index of pandas with all labels, dtypes, frequencies and attrs."""

    name = "parquet"
    suffix = ".parquet"

    def accepts(self, value: object) -> bool:
        """Values of exactly pandas' own classes."""
        if not made_by(value, "pandas"):
            return False
        import pandas as pd

        return type(value) in {pd.DataFrame, pd.Series} or isinstance(value, pd.Index)

    def save(self, value: Any, path: Path) -> None:
        """Write the file, and check that it gives back the same value."""
        table = _table(value)
        if _size(value) > _LARGE:
            _check(_sampled(value), None)
        with path.open("wb") as file:
            _write(table, file)
        if _size(value) <= _LARGE:
            _check(value, path)

    def load(self, path: Path, extra: Mapping[str, str]) -> Any:  # noqa: ARG002
        """The frame, series or index."""
        return _read(path)


def _table(value: Any) -> Any:
    """The value as an Arrow table with our description in its metadata."""
    try:
        import pyarrow as pa
    except ImportError as error:
        raise DataError("Parquet files need the package `pyarrow`, which is not installed") from error
    import pandas as pd

    encoder = kinds.encoder()
    kind = {pd.DataFrame: "frame", pd.Series: "series"}.get(type(value), "index")
    description: dict[str, Any] = {"version": 1, "kind": kind}
    index = value if kind == "index" else value.index
    fields, columns = _fields(value, kind)
    arrays: dict[str, Any] = {}
    description["columns"] = []
    for field, column in zip(fields, columns, strict=True):
        arrays[field], column_description = encode_column(encoder, column)
        description["columns"].append({"field": field, **column_description})
    levels, description["index"] = _describe_index(encoder, index)
    arrays |= levels
    if kind != "index":
        description["attrs"] = encoder.encode(value.attrs)
        description["duplicates"] = value.flags.allows_duplicate_labels
    description |= {"labels": encode_labels(encoder, value.columns)} if kind == "frame" else {}
    description |= {"name": encoder.encode(value.name)} if kind == "series" else {}
    metadata = {_KEY: dumps(description).encode(), b"pandas": _pandas_metadata(description, fields, index)}
    return pa.table(arrays).replace_schema_metadata(metadata)


def _fields(value: Any, kind: str) -> tuple[list[str], list[Any]]:
    """The columns and their names in Parquet: their labels if all of these are usable names."""
    if kind == "index":
        return [], []
    if kind == "series":
        return ["value" if type(value.name) is not str else value.name], [value]
    labels = list(value.columns)
    usable = all(type(label) is str and label.isprintable() and not label.startswith("__index") for label in labels)
    fields = labels if usable and len(set(labels)) == len(labels) else [f"column_{n}" for n in range(len(labels))]
    return fields, [value.iloc[:, n] for n in range(len(labels))]


def _describe_index(encoder: Encoder, index: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The levels of a row index as columns, and its description; a RangeIndex needs no columns."""
    import pandas as pd

    if isinstance(index, pd.RangeIndex):
        return {}, encode_labels(encoder, index)
    arrays, descriptions = {}, []
    for level in range(index.nlevels):
        values = index.get_level_values(level) if index.nlevels > 1 else index
        field = f"__index_level_{level}__"
        arrays[field], description = encode_column(encoder, pd.Series(values.array, name=values.name))
        descriptions.append({"field": field, "name": encoder.encode(values.name), **description})
    return arrays, {
        "kind": "multi" if isinstance(index, pd.MultiIndex) else "levels",
        "levels": descriptions,
        "freq": getattr(index, "freqstr", None) if hasattr(index, "inferred_freq") else None,
    }


def _pandas_metadata(description: dict[str, Any], fields: list[str], index: Any) -> bytes:
    """The metadata by which `pandas.read_parquet` finds the index, for readers without kaleyard."""
    columns = [
        {"name": field, "field_name": field, "pandas_type": "", "numpy_type": "object", "metadata": None}
        for field in fields
    ]
    if description["index"]["kind"] == "range":
        start, stop, step = description["index"]["range"]
        name = index.name if isinstance(index.name, str) else None
        index_columns: list[Any] = [{"kind": "range", "name": name, "start": start, "stop": stop, "step": step}]
    else:
        index_columns = [level["field"] for level in description["index"]["levels"]]
        for field, name in zip(index_columns, index.names, strict=True):
            named = name if isinstance(name, str) else None
            columns.append(
                {"name": named, "field_name": field, "pandas_type": "", "numpy_type": "object", "metadata": None}
            )
    metadata = {"index_columns": index_columns, "column_indexes": [], "columns": columns, "pandas_version": "2.2.0"}
    return dumps(metadata).encode()


def _write(table: Any, file: IO[bytes]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        pq.write_table(table, file)
    except (pa.ArrowException, ValueError) as error:
        raise DataError(f"Parquet cannot hold it: {error}") from error


def _read(file: Path | IO[bytes]) -> Any:
    import pandas as pd
    import pyarrow.parquet as pq

    # Not read_table, which adds columns for folder names like `year=2024` in the path.
    with pq.ParquetFile(file) as source:
        table = source.read()
    description, decoder = loads(table.schema.metadata[_KEY]), kinds.decoder()
    index = _restore_index(decoder, table, description["index"])
    if description["kind"] == "index":
        return index
    columns = [decode_column(decoder, table.column(entry["field"]), entry) for entry in description["columns"]]
    if description["kind"] == "series":
        value: Any = columns[0].set_axis(index)
        value.name = decoder.decode(description["name"])
    else:
        # The columns have the default index: as arrays, pandas does not align them.
        value = pd.DataFrame({n: column.array for n, column in enumerate(columns)}, index=index)
        value.columns = decode_labels(decoder, description["labels"])
    value.attrs = decoder.decode(description["attrs"])
    return value if description["duplicates"] else value.set_flags(allows_duplicate_labels=False)


def _restore_index(decoder: Decoder, table: Any, description: dict[str, Any]) -> Any:
    import pandas as pd

    if description["kind"] == "range":
        return decode_labels(decoder, description)
    names = [decoder.decode(level["name"]) for level in description["levels"]]
    levels = [decode_column(decoder, table.column(level["field"]), level) for level in description["levels"]]
    if description["kind"] == "multi":
        return pd.MultiIndex.from_arrays([level.array for level in levels], names=names)
    index: Any = pd.Index(levels[0].array, name=names[0], tupleize_cols=False)
    if description["freq"] is not None and hasattr(index, "inferred_freq"):
        index.freq = description["freq"]
    return index


def _check(value: Any, path: Path | None) -> None:
    """Raise DataError unless the value that is read back is the same."""
    source: Path | IO[bytes] = path or io.BytesIO()
    if isinstance(source, io.BytesIO):
        _write(_table(value), source)
    try:
        _compare(value, _read(source))
    except (AssertionError, TypeError, ValueError) as error:
        raise DataError(f"Parquet does not give back the same: {' '.join(str(error).split())}") from error


def _compare(value: Any, again: Any) -> None:
    import pandas as pd
    import pandas.testing as pt

    assert type(value) is type(again), type(again)
    if isinstance(value, pd.DataFrame):
        pt.assert_frame_equal(value, again, check_exact=True, check_column_type=True, check_index_type=True)
        for n in range(value.shape[1]):
            _compare_values(value.iloc[:, n], again.iloc[:, n])
    elif isinstance(value, pd.Series):
        pt.assert_series_equal(value, again, check_exact=True, check_index_type=True)
        _compare_values(value, again)
    else:
        pt.assert_index_equal(value, again, exact=True, check_exact=True)
        assert getattr(value, "freq", None) == getattr(again, "freq", None), "another freq"
    index, index_again = (value, again) if isinstance(value, pd.Index) else (value.index, again.index)
    for level in range(index.nlevels):
        _compare_values(index.get_level_values(level), index_again.get_level_values(level))


def _compare_values(values: Any, again: Any) -> None:
    """Compare what the assertions of pandas ignore: types of objects, string storage and time zone classes."""
    if values.dtype == object:
        assert object_types(values) == object_types(again), f"other types of objects in `{values.name}`"
    assert repr(values.dtype) == repr(again.dtype), f"{again.dtype!r} for {values.dtype!r}"
    zones = [type(getattr(series.dtype, "tz", None)) for series in (values, again)]
    assert zones[0] is zones[1], f"another kind of time zone: {zones}"


def _size(value: Any) -> int:
    used = value.memory_usage(deep=False)
    return int(used if isinstance(used, int) else used.sum())


def _sampled(value: Any) -> Any:
    """A sample of rows: the first ones, the last ones, and rows at even intervals."""
    count = len(value)
    edge = _SAMPLE // 4
    rows = {*range(edge), *range(count - edge, count), *range(0, count, max(1, count // (_SAMPLE // 2)))}
    positions = sorted(row for row in rows if 0 <= row < count)
    import pandas as pd

    return value.take(positions) if isinstance(value, pd.Index) else value.iloc[positions]
