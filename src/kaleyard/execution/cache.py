"""Outputs of steps kept by key: whether a step has to run at all, and what it gave when it last did.

An entry is made whole before it is in force; its values are checked against their digests whenever they are used, so
a damaged entry is seen, told and made again.
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
    """A kept value: file name (in the entry's values/), format, digest, size in bytes, and the format's own words."""

    file: str
    format: str
    sha256: str
    size: int
    extra: dict[str, str]


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """What a step gave: values and metrics by name. `guard` names the inputs it was seen not to change in place."""

    key: str
    folder: Path
    values: dict[str, Value]
    metrics: dict[str, float]
    guard: tuple[str, ...] = ()


class CorruptEntryError(Exception):
    """An entry that is not as it was made; it is not in force any more."""


class Cache:
    """The kept outputs below one folder: `<key>/<name>/` holds an entry, `<key>/current` names the one in force.

    An entry in force is never changed, and one that is not any more stays for an hour: other runs may be reading it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def find(self, key: str, guard: Sequence[str] = ()) -> CacheEntry | None:
        """The entry for `key`, its values checked; None if there is none, or it did not watch these inputs.

        Raises CorruptEntryError for one that is damaged; it is not in force any more then.
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
        """Keep a step's outputs under `key`; `files` are notebook, page and log, `more` goes to entry.json.

        Raises ExternalError if the cache cannot be written: an entry is in force whole or not at all.
        """
        folder, made = self._folder(key), None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            made = Path(tempfile.mkdtemp(prefix="entry-", dir=folder))
            (made / "values").mkdir()
            for value, path in values.values():
                place_copy(path, made / "values" / value.file)
            for name, path in files.items():
                if path.is_file():
                    place_copy(path, made / name)
            data = {"key": key, "values": {n: asdict(v) for n, (v, _) in values.items()}, **more}
            (made / "entry.json").write_text(json.dumps(data), encoding="utf-8")
            atomic_write(folder / _CURRENT, made.name)
            self._clear(folder, made)
        except OSError as error:
            # What there is of it would only fill the disk.
            if made is not None:
                shutil.rmtree(made, ignore_errors=True)
            raise ExternalError(
                f"{self.root} cannot be written: {error.strerror}",
                fix="Free the disk, or set cache in [tool.kaleyard].",
            ) from error

    def _corrupt(self, key: str) -> CorruptEntryError:
        with contextlib.suppress(OSError):
            (self._folder(key) / _CURRENT).unlink()
        return CorruptEntryError(key)

    @staticmethod
    def _clear(folder: Path, current: Path) -> None:
        """Remove what is not in force: earlier entries, and what killed runs left half-made."""
        for path in folder.iterdir():
            if path != current and path.is_dir() and path.stat().st_mtime < time.time() - _HOUR:
                shutil.rmtree(path, ignore_errors=True)

    def _folder(self, key: str) -> Path:
        return self.root / key[:2] / key


def place_copy(source: Path, target: Path) -> None:
    """The same content at another place: hard links where the disk can, copies where not."""
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
