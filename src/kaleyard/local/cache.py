"""Outputs of steps kept by key: whether a step has to run at all, and what it gave when it last did.

An entry is a folder named by its key, made whole and then renamed into place; its values are checked against their
digests whenever they are used, so a damaged entry is seen, told and made again.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kaleyard.errors import DataError, OutsideError
from kaleyard.runtime import formats

__all__ = ["Cache", "CorruptEntryError", "Entry", "Value", "place_copy"]


@dataclass(frozen=True, slots=True)
class Value:
    """A kept value: file name (in the entry's values/), format, digest, size in bytes, and the format's own words."""

    file: str
    format: str
    sha256: str
    size: int
    extra: dict[str, str]


@dataclass(frozen=True, slots=True)
class Entry:
    """What a step gave: values and metrics by name. `guard` names the inputs it was seen not to change in place."""

    key: str
    folder: Path
    values: dict[str, Value]
    metrics: dict[str, float]
    guard: tuple[str, ...] = ()


class CorruptEntryError(Exception):
    """An entry that is not as it was made; it has been removed."""


class Cache:
    """The kept outputs below one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def find(self, key: str, guard: Sequence[str] = ()) -> Entry | None:
        """The entry for `key`, its values checked; None if there is none, or it did not watch these inputs.

        Raises CorruptEntryError for one that is damaged; the entry is gone then.
        """
        folder = self._folder(key)
        if not folder.is_dir():
            return None
        try:
            data = json.loads((folder / "entry.json").read_text(encoding="utf-8"))
            values = {name: Value(**v) for name, v in data["values"].items()}
            entry = Entry(data["key"], folder, values, data["metrics"], tuple(data["guard"]))
            damaged = entry.key != key or not all((folder / f).is_file() for f in ("notebook.ipynb", "page.html"))
            damaged = damaged or any(
                formats.digest(folder / "values" / v.file) != (v.sha256, v.size) for v in values.values()
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, DataError) as error:
            self.remove(key)
            raise CorruptEntryError(key) from error
        if damaged:
            self.remove(key)
            raise CorruptEntryError(key)
        return entry if set(guard) <= set(entry.guard) else None

    def keep(self, key: str, files: Mapping[str, Path], values: Mapping[str, tuple[Value, Path]], **more: Any) -> None:
        """Keep a step's outputs under `key`; `files` are notebook, page and log, `more` goes to entry.json.

        Raises OutsideError if the cache cannot be written. If another run was quicker, its entry stays.
        """
        target = self._folder(key)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            spare = Path(tempfile.mkdtemp(prefix=".part-", dir=target.parent))
            try:
                (spare / "values").mkdir()
                for value, path in values.values():
                    place_copy(path, spare / "values" / value.file)
                for name, path in files.items():
                    if path.is_file():
                        place_copy(path, spare / name)
                data = {"key": key, "values": {n: asdict(v) for n, (v, _) in values.items()}, **more}
                (spare / "entry.json").write_text(json.dumps(data), encoding="utf-8")
                if target.exists():
                    self.remove(key)
                spare.rename(target)
            except OSError:
                shutil.rmtree(spare, ignore_errors=True)
                if not target.is_dir():
                    raise
        except OSError as error:
            raise OutsideError(
                f"{self.root} cannot be written: {error.strerror}",
                fix="Free the disk, or set cache in [tool.kaleyard].",
            ) from error

    def remove(self, key: str) -> None:
        """Forget an entry."""
        folder = self._folder(key)
        spare = folder.with_name(f".gone-{folder.name}-{os.getpid()}")
        try:
            folder.rename(spare)
        except OSError:
            return
        shutil.rmtree(spare, ignore_errors=True)

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
