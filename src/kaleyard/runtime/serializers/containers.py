"""Containers of arrays, frames, models: their shape as JSON, and a file for each leaf in its own format."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kaleyard.errors import DataError
from kaleyard.runtime.serializers.plain import kinds
from kaleyard.runtime.serializers.plain.encoding import TAG, dumps, loads
from kaleyard.runtime.serializers.plain.json_values import is_python
from kaleyard.runtime.serializers.serializer import Serializer, type_name

__all__ = ["Tree"]

_SKELETON = "value.json"


class Tree:
    """Lists, tuples, dicts, dataclasses that hold arrays, frames, models: a folder with a file for each of them."""

    name = "tree"
    suffix = ""

    def __init__(self, leaves: Iterable[Serializer]) -> None:
        self._leaves = {leaf.name: leaf for leaf in leaves}

    def accepts(self, value: object) -> bool:
        """Python's own containers, whatever they hold."""
        return is_python(value)

    def save(self, value: Any, path: Path) -> None:
        """A folder with `value.json`, and the leaves numbered as they stand in the value."""
        path.mkdir()
        count = 0

        def leaf(part: Any) -> dict[str, Any]:
            nonlocal count
            told = self._save_leaf(part, path, count)
            count += 1
            return told

        text = dumps(kinds.encoder(leaf).encode(value))
        (path / _SKELETON).write_bytes(text.encode() + b"\n")

    def load(self, path: Path, extra: Mapping[str, str]) -> Any:
        """The value with its leaves in place."""

        def leaf(told: dict[str, Any]) -> Any:
            kept = self._leaves.get(told["format"])
            if kept is None:
                fix = "Install the package that brings this format in this step too."
                raise DataError(f"a part of it is in the format `{told['format']}`, unknown here.", fix=fix)
            # Only the last part of the name: a file from elsewhere must not lead out of the folder.
            return kept.load(path / Path(told["file"]).name, {**told.get("extra", {}), "name": extra.get("name", "")})

        return kinds.decoder(leaf).decode(loads((path / _SKELETON).read_bytes()))

    def _save_leaf(self, part: Any, folder: Path, number: int) -> dict[str, Any]:
        reasons = []
        for kept in self._leaves.values():
            if kept.accepts(part):
                file = f"{number}{kept.suffix}"
                try:
                    extra = kept.save(part, folder / file)
                except DataError as error:
                    # What a format leaves behind of its try is dropped with the whole folder, or written over.
                    reasons.append(error.what)
                else:
                    return {TAG: "leaf", "format": kept.name, "file": file} | ({"extra": dict(extra)} if extra else {})
        raise DataError("; ".join([f"no open format keeps a {type_name(part)} in it", *reasons]))
