"""The cache of step outputs, by cache key: a step whose key is here does not run again.

An entry is complete before it becomes current. Its values are checked against their digests on every use, so a
damaged entry is detected, reported and replaced.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kaleyard.errors import ExternalError, KaleyardError
from kaleyard.runtime import serializers as formats
from kaleyard.runtime.executor_io import atomic_write

__all__ = ["Cache", "CacheEntry", "CorruptEntryError", "Value", "place_copy"]


_CURRENT = "current"
_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Value:
    """A cached value: file name (in the entry's values/), format, digest, size in bytes, and the format's own data."""

    file: str
    format: str
    sha256: str
    size: int
    extra: dict[str, str]


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """The outputs of a step: values and metrics by name. `guard` lists the inputs checked not to change in place."""

    key: str
    folder: Path
    values: dict[str, Value]
    metrics: dict[str, float]
    guard: tuple[str, ...] = ()


class CorruptEntryError(Exception):
    """A cache entry is damaged; it is no longer current."""


class Cache:
    """The cached outputs in one folder: `<key>/<name>/` holds an entry, `<key>/current` names the current one.

    Entries are never changed. A replaced entry stays for an hour, because other runs may still be reading it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def find(self, key: str, guard: Sequence[str] = ()) -> CacheEntry | None:
        """The entry for `key`, its values checked; None if there is none, or if it did not check these inputs.

        Raises CorruptEntryError if the entry is damaged; it is then no longer current.
        """
        current = self._folder(key) / _CURRENT
        try:
            folder = current.parent / current.read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise self._corrupt(key) from error
        try:
            data = json.loads((folder / "entry.json").read_text(encoding="utf-8"))
            values = {name: Value(**v) for name, v in data["values"].items()}
            entry = CacheEntry(data["key"], folder, values, data["metrics"], tuple(data["guard"]))
            damaged = entry.key != key or not (folder / "notebook.ipynb").is_file()
            damaged = damaged or any(
                formats.digest(folder / "values" / v.file) != (v.sha256, v.size) for v in values.values()
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, KaleyardError) as error:
            raise self._corrupt(key) from error
        if damaged:
            raise self._corrupt(key)
        return entry if set(guard) <= set(entry.guard) else None

    def keep(self, key: str, files: Mapping[str, Path], values: Mapping[str, tuple[Value, Path]], **more: Any) -> None:
        """Store a step's outputs under `key`; `files` are notebook, page and log, `more` goes to entry.json.

        Raises ExternalError if the cache cannot be written; an incomplete entry never becomes current.
        """
        folder, entry = self._folder(key), None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            entry = Path(tempfile.mkdtemp(prefix="entry-", dir=folder))
            (entry / "values").mkdir()
            for value, path in values.values():
                place_copy(path, entry / "values" / value.file)
            for name, path in files.items():
                if path.is_file():
                    place_copy(path, entry / name)
            data = {"key": key, "values": {n: asdict(v) for n, (v, _) in values.items()}, **more}
            (entry / "entry.json").write_text(json.dumps(data), encoding="utf-8")
            atomic_write(folder / _CURRENT, entry.name)
            self._clear(folder, entry)
        except OSError as error:
            # An incomplete entry would only fill the disk.
            if entry is not None:
                shutil.rmtree(entry, ignore_errors=True)
            raise ExternalError(
                f"{self.root} cannot be written: {error.strerror}",
                fix="Free disk space, or set another folder: `cache` in [tool.kaleyard].",
            ) from error

    def _corrupt(self, key: str) -> CorruptEntryError:
        with contextlib.suppress(OSError):
            (self._folder(key) / _CURRENT).unlink()
        return CorruptEntryError(key)

    @staticmethod
    def _clear(folder: Path, current: Path) -> None:
        """Remove entries that are not current: replaced ones, and incomplete ones of killed runs."""
        for path in folder.iterdir():
            if path != current and path.is_dir() and path.stat().st_mtime < time.time() - _HOUR:
                shutil.rmtree(path, ignore_errors=True)

    def _folder(self, key: str) -> Path:
        return self.root / key[:2] / key


def place_copy(source: Path, target: Path) -> None:
    """Copy a file or folder: by hard links where the file system has them."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, copy_function=_link, dirs_exist_ok=True)
    else:
        _link(source, target)


def _link(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target)
    except FileExistsError:
        Path(target).unlink()
        _link(source, target)
    except OSError:
        shutil.copy2(source, target)
