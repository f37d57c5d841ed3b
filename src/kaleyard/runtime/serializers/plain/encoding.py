"""Python values as JSON values, and back: plain where JSON has the same, else `{"$": kind, "value": ...}`.

Dicts with keys that are not strings, or with the key "$", are written as tagged lists of pairs, so that a tag cannot be
confused with a user's dict. `kinds.py` has the table of kinds, and creates encoders and decoders for it.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from kaleyard.errors import DataError
from kaleyard.runtime.serializers.serializer import RefusedError, type_name
from kaleyard.runtime.serializers.step_paths import inside, outside

__all__ = ["TAG", "Decoder", "Encoder", "Kind", "dumps", "loads"]

TAG = "$"

# json.loads can read only a little deeper in a kernel, whose own calls use a part of the stack.
_MAX_DEPTH = 150
# Python does not print longer integers in decimal (about 4300 digits); hexadecimal has no limit.
_MAX_DECIMAL_BITS = 14_000
_NAN = struct.pack(">d", math.nan)


class Kind(NamedTuple):
    """A row of the table of kinds: the tag, a function that encodes the value, and one that decodes it.

    `mutable`: an object that occurs twice in a value cannot be written as two copies.
    """

    tag: str
    encode: Callable[[Encoder, Any], Any]
    decode: Callable[[Decoder, Any], Any]
    mutable: bool = False


class Encoder:
    """Encodes one value, and remembers the objects in it. `leaf` encodes values of no known kind.

    Raises DataError if a part cannot be written exactly, and RefusedError if a value contains itself.
    """

    def __init__(
        self, kind_of: Callable[[Any], Kind | None], leaf: Callable[[Any], dict[str, Any]] | None = None
    ) -> None:
        self._kinds = kind_of
        self._leaf = leaf or _no_leaf
        self._open: set[int] = set()
        # Keeps the objects too, because the id of a deleted one could be reused.
        self._seen: dict[int, Any] = {}

    def encode(self, value: Any) -> Any:
        """The value as JSON values."""
        cls = type(value)
        if cls is str:
            return value if _is_plain(value) else _text(value)
        if cls is bool or value is None:
            return value
        if cls is int:
            return value if value.bit_length() <= _MAX_DECIMAL_BITS else {TAG: "int", "value": hex(value)}
        if cls is float:
            return _float(value)
        kind = None if cls is list or cls is dict else self._kinds(value)
        key = self._enter(value, mutable=kind is None or kind.mutable)
        if cls is list:
            encoded: Any = [self.encode(item) for item in value]
        elif cls is dict:
            encoded = self._dict(value)
        elif kind is None:
            encoded = self._leaf(value)
        else:
            encoded = {TAG: kind.tag, "value": kind.encode(self, value)}
        self._open.discard(key)
        return encoded

    def pairs(self, value: Mapping[Any, Any]) -> list[list[Any]]:
        """The items of a mapping, encoded in their order."""
        return [[self.encode(key), self.encode(item)] for key, item in value.items()]

    def _dict(self, value: dict[Any, Any]) -> Any:
        if TAG not in value and all(type(key) is str and _is_plain(key) for key in value):
            return {key: self.encode(item) for key, item in value.items()}
        return {TAG: "dict", "value": self.pairs(value)}

    def _enter(self, value: Any, *, mutable: bool) -> int:
        """Register a value before its parts are encoded; returns its id."""
        key = id(value)
        if key in self._open:
            message = f"it contains itself: a {type_name(value)} in it leads back to that same {type_name(value)}"
            raise RefusedError(message, fix="Store an index or a name instead of the object itself.")
        if mutable and key in self._seen:
            raise DataError(f"the same {type_name(value)} occurs in it twice")
        if len(self._open) >= _MAX_DEPTH:
            raise DataError(f"it is nested more than {_MAX_DEPTH} levels deep")
        self._seen[key] = value
        self._open.add(key)
        return key


class Decoder:
    """Decodes what an Encoder wrote. `leaf` gets what the encoder's `leaf` returned."""

    def __init__(
        self, kind_tagged: Callable[[str], Kind | None], leaf: Callable[[dict[str, Any]], Any] | None = None
    ) -> None:
        self._kinds = kind_tagged
        self._leaf = leaf

    def decode(self, data: Any) -> Any:
        """The value of this encoded data."""
        if type(data) is list:
            return [self.decode(item) for item in data]
        if type(data) is not dict:
            return data
        if TAG not in data:
            return {key: self.decode(item) for key, item in data.items()}
        return self._tagged(data)

    def pairs(self, data: list[list[Any]]) -> list[tuple[Any, Any]]:
        """The items that `Encoder.pairs` wrote."""
        return [(self.decode(key), self.decode(item)) for key, item in data]

    def _tagged(self, data: dict[str, Any]) -> Any:
        tag, value = data[TAG], data.get("value", "")
        if tag == "str":
            return bytes.fromhex(value).decode("utf-8", "surrogatepass")
        if tag == "place":
            return outside(value)
        if tag == "int":
            return int(value, 16)
        if tag == "float":
            return struct.unpack(">d", bytes.fromhex(value))[0] if len(value) == len(_NAN) * 2 else float(value)
        if tag == "dict":
            return dict(self.pairs(value))
        if tag == "leaf" and self._leaf is not None:
            return self._leaf(data)
        kind = self._kinds(tag)
        if kind is None:
            fix = "It was saved by a newer version of kaleyard. Use the same version in all steps."
            raise DataError(f"unknown kind of value: `{tag}`.", fix=fix)
        return kind.decode(self, value)


def dumps(data: Any) -> str:
    """JSON values as text, the same text for the same values."""
    return json.dumps(data, ensure_ascii=False, allow_nan=False)


def loads(text: str | bytes) -> Any:
    """The JSON values of a text."""
    return json.loads(text)


def _no_leaf(value: Any) -> dict[str, Any]:
    raise DataError(f"JSON cannot hold a {type_name(value)}")


def _is_plain(text: str) -> bool:
    """Whether a text is no path in this step and valid UTF-8, without lone surrogates (from odd file names)."""
    if inside(text) is not None:
        return False
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _text(value: str) -> dict[str, str]:
    relative = inside(value)
    if relative is not None and _is_plain(relative):
        return {TAG: "place", "value": relative}
    return {TAG: "str", "value": value.encode("utf-8", "surrogatepass").hex()}


def _float(value: float) -> Any:
    if math.isfinite(value):
        return value
    bits = struct.pack(">d", value)
    return {TAG: "float", "value": bits.hex() if value != value and bits != _NAN else str(value)}  # noqa: PLR0124
