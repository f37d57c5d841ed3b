"""What a format is, and how it says that a value is not for it."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any, Protocol

from kaleyard.errors import DataError

__all__ = ["RefusedError", "Serializer", "made_by", "type_name", "write_zip"]


class Serializer(Protocol):
    """One way to keep a value as a file or a folder. The first line of its docstring says what it keeps.

    `suffix` is what a file of this format is called (".json"); "" for a folder.
    """

    name: str
    suffix: str

    def accepts(self, value: object) -> bool:
        """Whether it is worth trying. Cheap, and imports no library the process has not imported."""
        ...

    def save(self, value: Any, path: Path) -> Mapping[str, str] | None:
        """Write the file or folder `path`; what is returned is handed to `load` as `extra`.

        Raises DataError when this very value would not come back exactly; the next format is asked then.
        The same value has to give the same bytes in every process: they are part of cache keys.
        """
        ...

    def load(self, path: Path, extra: Mapping[str, str]) -> Any:
        """The value that `save` wrote. `extra` holds what `save` returned, and the variable's name as "name"."""
        ...


class RefusedError(DataError):
    """No other format may try either: the value cannot travel at all."""


def made_by(value: object, *packages: str) -> bool:
    """Whether the class of a value, or a base of it, comes from one of these packages; imports nothing."""
    return any(str(cls.__module__).partition(".")[0] in packages for cls in type(value).__mro__)


def type_name(value: object) -> str:
    """The type of a value as a message names it: `list`, `pandas.core.frame.DataFrame`."""
    cls = type(value)
    return cls.__qualname__ if cls.__module__ in {"builtins", "__main__"} else f"{cls.__module__}.{cls.__qualname__}"


def write_zip(file: IO[bytes], entries: Iterable[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED) -> None:
    """A zip file that depends on nothing but its entries: no time stamps, no mark of the system it was made on."""
    with zipfile.ZipFile(file, "w", compression) as target:
        for name, content in entries:
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            info.create_system = 3
            info.external_attr = 0o644 << 16
            info.compress_type = compression
            target.writestr(info, content)
