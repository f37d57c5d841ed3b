"""The table of kinds: Python values that plain JSON cannot hold, and instances of the user's classes."""

from __future__ import annotations

import base64
import collections
import datetime as dt
import decimal
import enum
import fractions
import pathlib
import types
import uuid
import zoneinfo
from collections.abc import Callable, Iterable
from typing import Any

from kaleyard.errors import DataError
from kaleyard.runtime.serializers.plain import record_types as records
from kaleyard.runtime.serializers.plain import scalars
from kaleyard.runtime.serializers.plain.encoding import Decoder, Encoder, Kind, dumps
from kaleyard.runtime.serializers.serializer import made_by

__all__ = ["decoder", "encoder", "kind_of", "kind_tagged"]


def encoder(leaf: Callable[[Any], dict[str, Any]] | None = None) -> Encoder:
    """An encoder for the kinds of this table; `leaf` encodes values of no known kind."""
    return Encoder(kind_of, leaf)


def decoder(leaf: Callable[[dict[str, Any]], Any] | None = None) -> Decoder:
    """A decoder for the kinds of this table; `leaf` gets what an encoder's `leaf` returned."""
    return Decoder(kind_tagged, leaf)


def kind_of(value: object) -> Kind | None:
    """The row for a value, or None."""
    cls = type(value)
    if cls in _EXACT:
        return _EXACT[cls]
    if isinstance(value, enum.Enum):
        return _NAMED["enum"]
    if isinstance(value, tuple) and hasattr(cls, "_fields"):
        return _NAMED["namedtuple"]
    if hasattr(cls, "__dataclass_fields__"):
        return _NAMED["frozen" if cls.__dataclass_params__.frozen else "dataclass"]  # type: ignore[attr-defined]
    if made_by(value, "numpy") and scalars.is_numpy(value):
        return _NAMED["numpy"]
    if made_by(value, "pandas") and scalars.is_pandas(value):
        return _NAMED["pandas"]
    return None


def kind_tagged(tag: str) -> Kind | None:
    """The row with a tag, or None."""
    return _NAMED.get(tag)


def _items(encoder: Encoder, value: Iterable[Any]) -> list[Any]:
    return [encoder.encode(item) for item in value]


def _sorted_items(encoder: Encoder, value: Iterable[Any]) -> list[Any]:
    # The order of a set differs between processes.
    return sorted(_items(encoder, value), key=dumps)


def _decoded(decoder: Decoder, data: list[Any]) -> list[Any]:
    return [decoder.decode(item) for item in data]


def _base64(_: Encoder, value: bytes | bytearray) -> str:
    return base64.b64encode(value).decode()


def _no_attributes(value: Any) -> None:
    if vars(value):
        raise DataError(f"a {type(value).__name__} in it has attributes of its own: {', '.join(vars(value))}")


def _ordered(encoder: Encoder, value: Any) -> list[list[Any]]:
    _no_attributes(value)
    return encoder.pairs(value)


_FACTORIES: dict[str, Any] = {
    cls.__name__: cls
    for cls in (
        *(list, dict, set, frozenset, tuple, int, float, complex, bool, str, bytes, bytearray),
        *(collections.Counter, collections.OrderedDict, collections.deque),
    )
}


def _defaultdict(encoder: Encoder, value: collections.defaultdict[Any, Any]) -> dict[str, Any]:
    factory = value.default_factory
    name = getattr(factory, "__name__", "")
    if factory is not None and _FACTORIES.get(name) is not factory:
        raise DataError(f"the factory of a defaultdict in it, {factory!r}, is not a built-in type")
    return {"factory": name or None, "items": encoder.pairs(value)}


def _to_defaultdict(decoder: Decoder, data: dict[str, Any]) -> collections.defaultdict[Any, Any]:
    factory = None if data["factory"] is None else _FACTORIES[data["factory"]]
    return collections.defaultdict(factory, decoder.pairs(data["items"]))


def _deque(encoder: Encoder, value: collections.deque[Any]) -> dict[str, Any]:
    return {"maxlen": value.maxlen, "items": _items(encoder, value)}


def _moment(encoder: Encoder, value: dt.datetime | dt.time) -> Any:
    text = value.replace(tzinfo=None).isoformat()
    if value.tzinfo is None and not value.fold:
        return text
    if type(value.tzinfo) not in {type(None), dt.timezone, zoneinfo.ZoneInfo}:
        raise DataError(f"the time zone {value.tzinfo!r} in it is neither of `zoneinfo` nor a fixed offset")
    return {"at": text, "fold": value.fold, "zone": encoder.encode(value.tzinfo)}


def _to_moment(cls: Any) -> Any:
    def decode(decoder: Decoder, data: Any) -> Any:
        if isinstance(data, str):
            return cls.fromisoformat(data)
        zone = decoder.decode(data["zone"])
        return cls.fromisoformat(data["at"]).replace(tzinfo=zone, fold=data["fold"])

    return decode


def _zone(_: Encoder, value: zoneinfo.ZoneInfo) -> str:
    if value.key is None:
        raise DataError("a time zone in it has no name")
    return value.key


def _offset(encoder: Encoder, value: dt.timezone) -> list[Any]:
    return [encoder.encode(part) for part in value.__getinitargs__()]  # type: ignore[attr-defined]


def _uuid(_: Encoder, value: uuid.UUID) -> Any:
    return value.hex if value.is_safe is uuid.SafeUUID.unknown else [value.hex, value.is_safe.value]


def _to_uuid(_: Decoder, data: Any) -> uuid.UUID:
    text, safe = (data, None) if isinstance(data, str) else data
    return uuid.UUID(text, is_safe=uuid.SafeUUID(safe))


def _path(cls: type) -> Kind:
    # A concrete path becomes one of the system that reads it: only its text is saved.
    make: Any = pathlib.Path if issubclass(cls, pathlib.Path) else cls
    encode = lambda encoder, value: encoder.encode(str(value))  # noqa: E731
    return Kind(make.__name__, encode, lambda decoder, data: make(decoder.decode(data)))


def _parts(*names: str) -> Any:
    return lambda encoder, value: [encoder.encode(getattr(value, name)) for name in names]


def _from_parts(cls: Any) -> Any:
    return lambda decoder, data: cls(*_decoded(decoder, data))


def _from_items(cls: Any) -> Any:
    return lambda decoder, data: cls(_decoded(decoder, data))


def _text(_: Encoder, value: object) -> str:
    return str(value)


_EXACT: dict[type, Kind] = {
    tuple: Kind("tuple", _items, _from_items(tuple)),
    set: Kind("set", _sorted_items, _from_items(set), mutable=True),
    frozenset: Kind("frozenset", _sorted_items, _from_items(frozenset)),
    bytes: Kind("bytes", _base64, lambda _, data: base64.b64decode(data)),
    bytearray: Kind("bytearray", _base64, lambda _, data: bytearray(base64.b64decode(data)), mutable=True),
    complex: Kind("complex", _parts("real", "imag"), _from_parts(complex)),
    decimal.Decimal: Kind("Decimal", _text, lambda _, data: decimal.Decimal(data)),
    fractions.Fraction: Kind("Fraction", _parts("numerator", "denominator"), _from_parts(fractions.Fraction)),
    dt.datetime: Kind("datetime", _moment, _to_moment(dt.datetime)),
    dt.time: Kind("time", _moment, _to_moment(dt.time)),
    dt.date: Kind("date", _text, lambda _, data: dt.date.fromisoformat(data)),
    dt.timedelta: Kind("timedelta", _parts("days", "seconds", "microseconds"), _from_parts(dt.timedelta)),
    dt.timezone: Kind("timezone", _offset, _from_parts(dt.timezone)),
    zoneinfo.ZoneInfo: Kind("ZoneInfo", _zone, lambda _, data: zoneinfo.ZoneInfo(data)),
    uuid.UUID: Kind("UUID", _uuid, _to_uuid),
    range: Kind("range", _parts("start", "stop", "step"), _from_parts(range)),
    slice: Kind("slice", _parts("start", "stop", "step"), _from_parts(slice)),
    type(...): Kind("Ellipsis", lambda *_: None, lambda *_: ...),
    type(NotImplemented): Kind("NotImplemented", lambda *_: None, lambda *_: NotImplemented),
    collections.OrderedDict: Kind(
        "OrderedDict", _ordered, lambda d, data: collections.OrderedDict(d.pairs(data)), mutable=True
    ),
    collections.Counter: Kind("Counter", _ordered, lambda d, data: collections.Counter(dict(d.pairs(data))), True),
    collections.defaultdict: Kind("defaultdict", _defaultdict, _to_defaultdict, mutable=True),
    collections.deque: Kind(
        "deque", _deque, lambda d, data: collections.deque(_decoded(d, data["items"]), data["maxlen"]), mutable=True
    ),
    types.SimpleNamespace: Kind(
        "SimpleNamespace",
        lambda encoder, value: encoder.pairs(vars(value)),
        lambda decoder, data: types.SimpleNamespace(**dict(decoder.pairs(data))),
        mutable=True,
    ),
} | {
    cls: _path(cls) for cls in (pathlib.PosixPath, pathlib.WindowsPath, pathlib.PurePosixPath, pathlib.PureWindowsPath)
}

_NAMED: dict[str, Kind] = {kind.tag: kind for kind in _EXACT.values()} | {
    "enum": Kind("enum", records.enum_member, records.to_enum_member),
    "namedtuple": Kind("namedtuple", records.named_tuple, records.to_named_tuple),
    "dataclass": Kind("dataclass", records.data_class, records.to_data_class, mutable=True),
    # Immutable, so it may be written twice.
    "frozen": Kind("dataclass", records.data_class, records.to_data_class),
    "numpy": Kind("numpy", scalars.numpy_scalar, scalars.to_numpy_scalar),
    "pandas": Kind("pandas", scalars.pandas_scalar, scalars.to_pandas_scalar),
}
