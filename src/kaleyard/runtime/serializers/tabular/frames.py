"""Frames, series and indexes of pandas as Parquet, checked to come back as they were.

What Parquet has no place for (the kind of index, labels that are no strings, frequencies, categories, attributes,
which kind of nothing stands in a column) is told as JSON in the file's metadata, under "kaleyard". Every file is read
back and compared before it counts as saved; over 50 MB that is done with 2000 rows of the value.
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
        """The file, once a copy of it has been found equal to the value."""
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
    """The value as a table of Arrow with our own words in its metadata."""
    try:
        import pyarrow as pa
    except ImportError as error:
        raise DataError("Parquet files need the package `pyarrow`, which is missing here") from error
    import pandas as pd

    encoder = kinds.encoder()
    kind = {pd.DataFrame: "frame", pd.Series: "series"}.get(type(value), "index")
    told: dict[str, Any] = {"version": 1, "kind": kind}
    index = value if kind == "index" else value.index
    fields, columns = _fields(value, kind)
    arrays: dict[str, Any] = {}
    told["columns"] = []
    for field, column in zip(fields, columns, strict=True):
        arrays[field], column_words = encode_column(encoder, column)
        told["columns"].append({"field": field, **column_words})
    levels, told["index"] = _index_told(encoder, index)
    arrays |= levels
    if kind != "index":
        told["attrs"] = encoder.encode(value.attrs)
        told["duplicates"] = value.flags.allows_duplicate_labels
    told |= {"labels": encode_labels(encoder, value.columns)} if kind == "frame" else {}
    told |= {"name": encoder.encode(value.name)} if kind == "series" else {}
    metadata = {_KEY: dumps(told).encode(), b"pandas": _for_pandas(told, fields, index)}
    return pa.table(arrays).replace_schema_metadata(metadata)


def _fields(value: Any, kind: str) -> tuple[list[str], list[Any]]:
    """The columns, and what Parquet calls them: by their labels if these can be names."""
    if kind == "index":
        return [], []
    if kind == "series":
        return ["value" if type(value.name) is not str else value.name], [value]
    labels = list(value.columns)
    named = all(type(label) is str and label.isprintable() and not label.startswith("__index") for label in labels)
    fields = labels if named and len(set(labels)) == len(labels) else [f"column_{n}" for n in range(len(labels))]
    return fields, [value.iloc[:, n] for n in range(len(labels))]


def _index_told(encoder: Encoder, index: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The levels of a row index as columns; a RangeIndex needs none."""
    import pandas as pd

    if isinstance(index, pd.RangeIndex):
        return {}, encode_labels(encoder, index)
    arrays, words = {}, []
    for level in range(index.nlevels):
        values = index.get_level_values(level) if index.nlevels > 1 else index
        field = f"__index_level_{level}__"
        arrays[field], told = encode_column(encoder, pd.Series(values.array, name=values.name))
        words.append({"field": field, "name": encoder.encode(values.name), **told})
    return arrays, {
        "kind": "multi" if isinstance(index, pd.MultiIndex) else "levels",
        "levels": words,
        "freq": getattr(index, "freqstr", None) if hasattr(index, "inferred_freq") else None,
    }


def _for_pandas(told: dict[str, Any], fields: list[str], index: Any) -> bytes:
    """The few words by which `pandas.read_parquet` finds the index, for readers that do not know kaleyard."""
    columns = [
        {"name": f, "field_name": f, "pandas_type": "", "numpy_type": "object", "metadata": None} for f in fields
    ]
    if told["index"]["kind"] == "range":
        start, stop, step = told["index"]["range"]
        name = index.name if isinstance(index.name, str) else None
        places: list[Any] = [{"kind": "range", "name": name, "start": start, "stop": stop, "step": step}]
    else:
        places = [level["field"] for level in told["index"]["levels"]]
        for field, name in zip(places, index.names, strict=True):
            named = name if isinstance(name, str) else None
            columns.append(
                {"name": named, "field_name": field, "pandas_type": "", "numpy_type": "object", "metadata": None}
            )
    words = {"index_columns": places, "column_indexes": [], "columns": columns, "pandas_version": "2.2.0"}
    return dumps(words).encode()


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

    # Not read_table: that takes folder names like `year=2024` on the way to the file for columns of it.
    with pq.ParquetFile(file) as source:
        table = source.read()
    told, decoder = loads(table.schema.metadata[_KEY]), kinds.decoder()
    index = _index_meant(decoder, table, told["index"])
    if told["kind"] == "index":
        return index
    columns = [decode_column(decoder, table.column(words["field"]), words) for words in told["columns"]]
    if told["kind"] == "series":
        value: Any = columns[0].set_axis(index)
        value.name = decoder.decode(told["name"])
    else:
        # All columns have the default index here; given as arrays, pandas has nothing to align.
        value = pd.DataFrame({n: column.array for n, column in enumerate(columns)}, index=index)
        value.columns = decode_labels(decoder, told["labels"])
    value.attrs = decoder.decode(told["attrs"])
    return value if told["duplicates"] else value.set_flags(allows_duplicate_labels=False)


def _index_meant(decoder: Decoder, table: Any, told: dict[str, Any]) -> Any:
    import pandas as pd

    if told["kind"] == "range":
        return decode_labels(decoder, told)
    names = [decoder.decode(level["name"]) for level in told["levels"]]
    levels = [decode_column(decoder, table.column(level["field"]), level) for level in told["levels"]]
    if told["kind"] == "multi":
        return pd.MultiIndex.from_arrays([level.array for level in levels], names=names)
    index: Any = pd.Index(levels[0].array, name=names[0], tupleize_cols=False)
    if told["freq"] is not None and hasattr(index, "inferred_freq"):
        index.freq = told["freq"]
    return index


def _check(value: Any, path: Path | None) -> None:
    """Raises DataError unless what is read back is the value."""
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
    one, other = (value, again) if isinstance(value, pd.Index) else (value.index, again.index)
    for level in range(one.nlevels):
        _compare_values(one.get_level_values(level), other.get_level_values(level))


def _compare_values(one: Any, other: Any) -> None:
    """What the assertions of pandas let pass: types of objects, kinds of string storage and of time zones."""
    if one.dtype == object:
        assert object_types(one) == object_types(other), f"other types of objects in `{one.name}`"
    assert repr(one.dtype) == repr(other.dtype), f"{other.dtype!r} for {one.dtype!r}"
    zones = [type(getattr(values.dtype, "tz", None)) for values in (one, other)]
    assert zones[0] is zones[1], f"another kind of time zone: {zones}"


def _size(value: Any) -> int:
    used = value.memory_usage(deep=False)
    return int(used if isinstance(used, int) else used.sum())


def _sampled(value: Any) -> Any:
    """Rows from all over the value: every so many of them, the first ones and the last."""
    count = len(value)
    edge = _SAMPLE // 4
    rows = {*range(edge), *range(count - edge, count), *range(0, count, max(1, count // (_SAMPLE // 2)))}
    places = sorted(row for row in rows if 0 <= row < count)
    import pandas as pd

    return value.take(places) if isinstance(value, pd.Index) else value.iloc[places]
