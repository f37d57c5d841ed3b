"""The protocol of a format, and helpers for formats."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any, Protocol

from kaleyard.errors import DataError

__all__ = ["RefusedError", "Serializer", "made_by", "type_name", "write_zip"]


class Serializer(Protocol):
    """A format: saves values as files or folders. The first line of its docstring says what it keeps.

    `suffix` is the file name extension (".json"); "" for a folder.
    """

    name: str
    suffix: str

    def accepts(self, value: object) -> bool:
        """Whether to try this format. Must be cheap and import no libraries."""
        ...

    def save(self, value: Any, path: Path) -> Mapping[str, str] | None:
        """Write the file or folder `path`; the returned texts are passed to `load` as `extra`.

        Raises DataError if the value would not come back exactly; then the next format is tried.
        The same value must give the same bytes in every process: their digest is part of cache keys.
        """
        ...

    def load(self, path: Path, extra: Mapping[str, str]) -> Any:
        """The value that `save` wrote. `extra` holds what `save` returned, and the variable's name as "name"."""
        ...


class RefusedError(DataError):
    """The value cannot be saved at all: no other format is tried."""


def made_by(value: object, *packages: str) -> bool:
    """Whether the class of the value, or a base class, is from one of these packages; imports nothing."""
    return any(str(cls.__module__).partition(".")[0] in packages for cls in type(value).__mro__)


def type_name(value: object) -> str:
    """The type of a value for messages: `list`, `pandas.core.frame.DataFrame`."""
    cls = type(value)
    return cls.__qualname__ if cls.__module__ in {"builtins", "__main__"} else f"{cls.__module__}.{cls.__qualname__}"


def write_zip(file: IO[bytes], entries: Iterable[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED) -> None:
    """Write a zip file that depends only on its entries, without time stamps or the name of the system."""
    with zipfile.ZipFile(file, "w", compression) as target:
        for name, content in entries:
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            info.create_system = 3
            info.external_attr = 0o644 << 16
            info.compress_type = compression
            target.writestr(info, content)
