"""Scalars of numpy and pandas as JSON; they come back as the same type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kaleyard.errors import DataError

if TYPE_CHECKING:
    from kaleyard.runtime.serializers.plain.encoding import Decoder, Encoder

__all__ = ["is_numpy", "is_pandas", "numpy_scalar", "pandas_scalar", "to_numpy_scalar", "to_pandas_scalar"]

_MOMENTS = {"Timestamp", "Timedelta"}
_MISSING = {"NaTType": "NaT", "NAType": "NA"}


def is_numpy(value: object) -> bool:
    """Whether the value is a scalar of numpy's own types."""
    import numpy as np

    cls = type(value)
    return isinstance(value, np.generic) and getattr(np, cls.__name__, None) is cls and cls is not np.void


def numpy_scalar(encoder: Encoder, value: Any) -> dict[str, Any]:
    """A scalar by the name of its type, readable where that is exact."""
    kind, encoded = value.dtype.kind, {"type": type(value).__name__}
    if kind in "biu":
        return encoded | {"value": value.item()}
    if kind in "US":
        return encoded | {"value": encoder.encode("".join(value) if kind == "U" else b"".join([value]))}
    if kind in "mM":
        return encoded | {"unit": value.dtype.str, "value": int(value.view("i8"))}
    if kind == "f" and value.itemsize <= 8 and abs(value) < float("inf"):  # noqa: PLR2004
        return encoded | {"value": float(value)}
    if kind in "fc":
        return encoded | {"bytes": value.tobytes().hex(), "dtype": value.dtype.str}
    raise DataError(f"JSON cannot hold the numpy type {type(value).__name__}")


def to_numpy_scalar(decoder: Decoder, data: dict[str, Any]) -> Any:
    """The scalar that `numpy_scalar` encoded."""
    import numpy as np

    if "bytes" in data:
        return np.frombuffer(bytes.fromhex(data["bytes"]), data["dtype"])[0]
    if "unit" in data:
        return np.array(data["value"], "i8").view(data["unit"])[()]
    cls = getattr(np, data["type"], None)
    if not (isinstance(cls, type) and issubclass(cls, np.generic)):
        raise DataError(f"numpy has no type {data['type']} here.")
    return cls(decoder.decode(data["value"]))


def is_pandas(value: object) -> bool:
    """Whether the value is a Timestamp, a Timedelta, NaT or NA."""
    cls = type(value)
    return str(cls.__module__).startswith("pandas.") and cls.__name__ in _MOMENTS | set(_MISSING)


def pandas_scalar(encoder: Encoder, value: Any) -> dict[str, Any]:
    """A time as a whole number of its units, with its time zone; NaT and NA by name."""
    name = type(value).__name__
    if name in _MISSING:
        return {"type": _MISSING[name]}
    encoded = {"type": name, "unit": value.asm8.dtype.str, "value": int(value.asm8.view("i8"))}
    zone = getattr(value, "tzinfo", None)
    if zone is None:
        return encoded | ({"fold": 1} if getattr(value, "fold", 0) else {})
    return encoded | {"zone": encode_zone(encoder, zone)}


def to_pandas_scalar(decoder: Decoder, data: dict[str, Any]) -> Any:
    """The value that `pandas_scalar` encoded."""
    import numpy as np
    import pandas as pd

    if data["type"] not in _MOMENTS:
        return getattr(pd, data["type"])
    value = getattr(pd, data["type"])(np.array(data["value"], "i8").view(data["unit"])[()])
    if "zone" in data:
        return value.tz_localize("UTC").tz_convert(decode_zone(decoder, data["zone"]))
    return value.replace(fold=1) if data.get("fold") else value


def encode_zone(encoder: Encoder, zone: Any) -> Any:
    """A time zone of pandas: from `zoneinfo`, a fixed offset, or from `pytz`, which pandas 2 uses."""
    name = getattr(zone, "zone", None)
    if type(zone).__module__.partition(".")[0] == "pytz" and name:
        return {"pytz": name}
    return encoder.encode(zone)


def decode_zone(decoder: Decoder, data: Any) -> Any:
    """The time zone that `encode_zone` encoded."""
    if isinstance(data, dict) and "pytz" in data:
        import pytz

        return pytz.timezone(data["pytz"])
    return decoder.decode(data)
