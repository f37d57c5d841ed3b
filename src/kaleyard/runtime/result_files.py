"""The files that a step writes: collected when it ends, and copied into place for later steps that read them.

A collected folder holds `index.json` and `files/`, with each file under its path from the project's root. Files from
one level above the root are in `files/_above_1/`, from two levels in `files/_above_2/`.
"""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from kaleyard.errors import DataError
from kaleyard.runtime.serializers.path_values import INPUTS, placed_files

__all__ = [
    "INDEX",
    "WrittenFile",
    "collect_files",
    "is_taken",
    "place_files",
    "read_index",
    "snapshot",
    "stored_path",
    "wanted_paths",
]

INDEX = "index.json"
# Folders that hold no results.
_IGNORED = frozenset({"__pycache__", ".ipynb_checkpoints", ".git", INPUTS})
Snapshot = Mapping[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A file that a step wrote: its path from the project's root, its size in bytes and its digest."""

    path: str
    size: int
    sha256: str


def snapshot(root: Path, levels: int) -> Snapshot:
    """Size and modification time of every file below the folder `levels` above `root`, by path from `root`.

    Folders have a slash at the end of their path.
    """
    top = root.parents[levels - 1] if levels else root
    entries = {}
    for folder, names, files in os.walk(top):
        names[:] = [n for n in names if n not in _IGNORED]
        entries[Path(os.path.relpath(folder, root)).as_posix() + "/"] = (0, 0)
        for name in files:
            path = Path(folder, name)
            if path.is_file() and not path.is_symlink():
                stat = path.stat()
                entries[Path(os.path.relpath(path, root)).as_posix()] = (stat.st_size, stat.st_mtime_ns)
    return entries


def collect_files(root: Path, levels: int, before: Snapshot, target: Path) -> dict[str, Any]:
    """Copy files that are new or changed since `before` to `target`; returns its digest and size."""
    after = snapshot(root, levels)
    before = {**before, **_loaded_files(root, after)}
    written = []
    (target / "files").mkdir(parents=True, exist_ok=True)
    for name in sorted(after):
        if before.get(name) == after[name] or name.endswith("/"):
            continue
        copy = target / "files" / stored_path(name)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / name, copy)
        with copy.open("rb") as stream:
            written.append(WrittenFile(name, copy.stat().st_size, hashlib.file_digest(stream, "sha256").hexdigest()))
    data = {
        "files": [{"path": file.path, "size": file.size, "sha256": file.sha256} for file in written],
        "folders": sorted(name for name in after if name.endswith("/") and name not in before),
        "removed": sorted(name for name in before if name not in after and not name.endswith("/")),
    }
    text = json.dumps(data, indent=1, sort_keys=True)
    (target / INDEX).write_text(text + "\n", encoding="utf-8")
    return {"sha256": hashlib.sha256(text.encode()).hexdigest(), "size": sum(file.size for file in written)}


def _loaded_files(root: Path, names: Iterable[str]) -> Snapshot:
    """The files that values of earlier steps have put into folders of these names: this step did not write them."""
    loaded = {}
    for folder in (name for name in names if name.endswith("/")):
        for name, status in placed_files(root / folder).items():
            loaded[posixpath.normpath(posixpath.join(folder, name))] = status
    return loaded


def read_index(folder: Path) -> tuple[list[WrittenFile], list[str]]:
    """The files that a step wrote, and the paths that it removed. Raises DataError if they cannot be read."""
    try:
        data = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        return [WrittenFile(**entry) for entry in data["files"]], list(data["removed"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        fix = "Run the step that wrote them again."
        raise DataError(f"the files of an earlier step cannot be read: {error}", fix=fix) from error


def _created_folders(folder: Path) -> list[str]:
    return list(json.loads((folder / INDEX).read_text(encoding="utf-8"))["folders"])


def place_files(folder: Path, root: Path, paths: Sequence[str]) -> None:
    """Copy the files of a collected folder that `paths` select to their paths below `root`.

    Raises DataError if one is missing.
    """
    files, removed = read_index(folder)
    for path in _created_folders(folder):
        if is_taken(path.rstrip("/"), paths):
            (root / path).mkdir(parents=True, exist_ok=True)
    for path in removed:
        if is_taken(path, paths):
            (root / path).unlink(missing_ok=True)
    for file in files:
        if is_taken(file.path, paths):
            target = root / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                shutil.copyfile(folder / "files" / stored_path(file.path), target)
            except OSError as error:
                fix = "Run the step that wrote it again."
                raise DataError(f"the file {file.path} of an earlier step is missing: {error}", fix=fix) from error


def wanted_paths(paths: Sequence[str], declared: Mapping[str, Any], values: Mapping[str, Any]) -> Sequence[str]:
    """The paths to take: those found in the code, or all if a parameter that may hold a path has another value.

    `declared` has the step's parameters with their defaults, `values` their values in this run.
    """
    changed = (n for n, p in declared.items() if p["type"] in ("str", "list", "dict") and values.get(n) != p["default"])
    return ["*"] if any(True for _ in changed) else paths


def is_taken(path: str, paths: Iterable[str]) -> bool:
    """Whether one of `paths` is the path, a folder that holds it, or a prefix of it that ends with `*`."""
    return any(
        path.startswith(wanted[:-1]) if wanted.endswith("*") else path == wanted or path.startswith(wanted + "/")
        for wanted in paths
    )


def stored_path(path: str) -> PurePosixPath:
    """The path in a collected folder of a file, by its path from the project's root."""
    parts = [part for part in PurePosixPath(posixpath.normpath(path)).parts if part != "/"]
    levels = sum(part == ".." for part in parts)
    return PurePosixPath(f"_above_{levels}", *parts[levels:]) if levels else PurePosixPath(*parts)
