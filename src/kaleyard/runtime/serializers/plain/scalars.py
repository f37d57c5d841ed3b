"""Single values of numpy and pandas as JSON, of the same type when they come back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kaleyard.errors import DataError

if TYPE_CHECKING:
    from kaleyard.runtime.serializers.plain.encoding import Decoder, Encoder

__all__ = ["is_numpy", "is_pandas", "numpy_scalar", "pandas_scalar", "to_numpy_scalar", "to_pandas_scalar"]

_MOMENTS = {"Timestamp", "Timedelta"}
_MISSING = {"NaTType": "NaT", "NAType": "NA"}


def is_numpy(value: object) -> bool:
    """Whether it is one of numpy's own scalar types."""
    import numpy as np

    cls = type(value)
    return isinstance(value, np.generic) and getattr(np, cls.__name__, None) is cls and cls is not np.void


def numpy_scalar(encoder: Encoder, value: Any) -> dict[str, Any]:
    """A scalar by the name of its type, readable where that loses nothing."""
    kind, told = value.dtype.kind, {"type": type(value).__name__}
    if kind in "biu":
        return told | {"value": value.item()}
    if kind in "US":
        return told | {"value": encoder.encode("".join(value) if kind == "U" else b"".join([value]))}
    if kind in "mM":
        return told | {"unit": value.dtype.str, "value": int(value.view("i8"))}
    if kind == "f" and value.itemsize <= 8 and abs(value) < float("inf"):  # noqa: PLR2004
        return told | {"value": float(value)}
    if kind in "fc":
        return told | {"bytes": value.tobytes().hex(), "dtype": value.dtype.str}
    raise DataError(f"JSON has nothing for the numpy type {type(value).__name__}")


def to_numpy_scalar(decoder: Decoder, data: dict[str, Any]) -> Any:
    """The scalar that `numpy_scalar` told."""
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
    """Whether it is a Timestamp, a Timedelta, NaT or NA."""
    cls = type(value)
    return str(cls.__module__).startswith("pandas.") and cls.__name__ in _MOMENTS | set(_MISSING)


def pandas_scalar(encoder: Encoder, value: Any) -> dict[str, Any]:
    """A moment as a whole number of its units, with its time zone."""
    name = type(value).__name__
    if name in _MISSING:
        return {"type": _MISSING[name]}
    told = {"type": name, "unit": value.asm8.dtype.str, "value": int(value.asm8.view("i8"))}
    zone = getattr(value, "tzinfo", None)
    if zone is None:
        return told | ({"fold": 1} if getattr(value, "fold", 0) else {})
    return told | {"zone": encode_zone(encoder, zone)}


def to_pandas_scalar(decoder: Decoder, data: dict[str, Any]) -> Any:
    """The value that `pandas_scalar` told."""
    import numpy as np
    import pandas as pd

    if data["type"] not in _MOMENTS:
        return getattr(pd, data["type"])
    value = getattr(pd, data["type"])(np.array(data["value"], "i8").view(data["unit"])[()])
    if "zone" in data:
        return value.tz_localize("UTC").tz_convert(decode_zone(decoder, data["zone"]))
    return value.replace(fold=1) if data.get("fold") else value


def encode_zone(encoder: Encoder, zone: Any) -> Any:
    """A time zone of pandas: of `zoneinfo`, a fixed offset, or of `pytz`, which pandas 2 itself uses."""
    name = getattr(zone, "zone", None)
    if type(zone).__module__.partition(".")[0] == "pytz" and name:
        return {"pytz": name}
    return encoder.encode(zone)


def decode_zone(decoder: Decoder, data: Any) -> Any:
    """The time zone that `encode_zone` told."""
    if isinstance(data, dict) and "pytz" in data:
        import pytz

        return pytz.timezone(data["pytz"])
    return decoder.decode(data)
