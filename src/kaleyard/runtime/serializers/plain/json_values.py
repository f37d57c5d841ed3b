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
    """Whether a value is of a kind that JSON, plain or tagged, has a form for; what is in it is not looked at."""
    return type(value) in _PLAIN or kinds.kind_of(value) is not None


class JSON:
    """Numbers, texts, lists, dicts, dates, sets, enums, dataclasses and the like, numpy's scalars."""

    name = "json"
    suffix = ".json"

    def accepts(self, value: object) -> bool:
        """Python's own values, whatever they hold."""
        return is_python(value)

    def save(self, value: Any, path: Path) -> None:
        """Plain JSON where it says the same; see `encoding.py` for the rest."""
        text = dumps(kinds.encoder().encode(value))
        path.write_bytes(text.encode() + b"\n")

    def load(self, path: Path, extra: Mapping[str, str]) -> Any:  # noqa: ARG002
        """The value; classes are looked up, never made from the file."""
        return kinds.decoder().decode(loads(path.read_bytes()))
