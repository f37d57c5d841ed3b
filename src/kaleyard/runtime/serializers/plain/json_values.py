"""Python values as readable JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kaleyard.runtime.serializers.plain import kinds
from kaleyard.runtime.serializers.plain.encoding import dumps, loads

__all__ = ["JSON", "is_python"]

_PLAIN = {str, int, float, bool, type(None), list, dict}


def is_python(value: object) -> bool:
    """Whether JSON, plain or tagged, can hold a value of this type; its content is not checked."""
    return type(value) in _PLAIN or kinds.kind_of(value) is not None


class JSON:
    """Numbers, texts, lists, dicts, dates, sets, enums, dataclasses and the like, numpy's scalars."""

    name = "json"
    suffix = ".json"

    def accepts(self, value: object) -> bool:
        """Python's values, with any content."""
        return is_python(value)

    def save(self, value: Any, path: Path) -> None:
        """Write plain JSON where it is exact; `encoding.py` explains the tagged form."""
        text = dumps(kinds.encoder().encode(value))
        path.write_bytes(text.encode() + b"\n")

    def load(self, path: Path, extra: Mapping[str, str]) -> Any:  # noqa: ARG002
        """The value; classes are looked up, never created from the file."""
        return kinds.decoder().decode(loads(path.read_bytes()))
