"""Containers of arrays, frames or models: the structure as JSON, and a file for each leaf in its own format."""

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
    """Lists, tuples, dicts and dataclasses of arrays, frames or models, as a folder with a file for each."""

    name = "tree"
    suffix = ""

    def __init__(self, leaves: Iterable[Serializer]) -> None:
        self._leaves = {leaf.name: leaf for leaf in leaves}

    def accepts(self, value: object) -> bool:
        """Python's containers, with any content."""
        return is_python(value)

    def save(self, value: Any, path: Path) -> None:
        """Write a folder with `value.json` and the leaves, numbered by their order in the value."""
        path.mkdir()
        count = 0

        def leaf(part: Any) -> dict[str, Any]:
            nonlocal count
            entry = self._save_leaf(part, path, count)
            count += 1
            return entry

        text = dumps(kinds.encoder(leaf).encode(value))
        (path / _SKELETON).write_bytes(text.encode() + b"\n")

    def load(self, path: Path, extra: Mapping[str, str]) -> Any:
        """The value with its leaves."""

        def leaf(entry: dict[str, Any]) -> Any:
            serializer = self._leaves.get(entry["format"])
            if serializer is None:
                fix = "Install the package that provides this format in this step too."
                raise DataError(f"a part of it is in the format `{entry['format']}`, which is unknown here.", fix=fix)
            # Only the last part of the name: an untrusted file must not lead out of the folder.
            file = path / Path(entry["file"]).name
            return serializer.load(file, {**entry.get("extra", {}), "name": extra.get("name", "")})

        return kinds.decoder(leaf).decode(loads((path / _SKELETON).read_bytes()))

    def _save_leaf(self, part: Any, folder: Path, number: int) -> dict[str, Any]:
        reasons = []
        for serializer in self._leaves.values():
            if serializer.accepts(part):
                file = f"{number}{serializer.suffix}"
                try:
                    extra = serializer.save(part, folder / file)
                except DataError as error:
                    # Files of a failed attempt are overwritten, or deleted with the folder.
                    reasons.append(error.what)
                else:
                    entry = {TAG: "leaf", "format": serializer.name, "file": file}
                    return entry | ({"extra": dict(extra)} if extra else {})
        raise DataError("; ".join([f"no open format keeps a {type_name(part)} in it", *reasons]))
