"""The files that a step writes: collected at its end, and put in place for a later step that reads them.

A folder of them holds `files/`, each file under its own path from the project's root, and `index.json`. What was
written above the root lies under `files/_above_1/`, one level up, `_above_2/` and so on.
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
from kaleyard.runtime.serializers.path_values import INPUTS

__all__ = [
    "INDEX",
    "WrittenFile",
    "collect_files",
    "is_taken",
    "look_at",
    "place_files",
    "read_index",
    "stored_path",
    "wanted_paths",
]

INDEX = "index.json"
# Folders that hold nothing a person has written.
_NEVER = frozenset({"__pycache__", ".ipynb_checkpoints", ".git", INPUTS})
Snapshot = Mapping[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A file that a step wrote: its path from the project's root, its size in bytes, and its digest."""

    path: str
    size: int
    sha256: str


def look_at(root: Path, levels: int) -> Snapshot:
    """Every file below the folder `levels` above `root`: its path from `root`, with size and time of change.

    Folders are told by a slash at their end.
    """
    top = root.parents[levels - 1] if levels else root
    found = {}
    for folder, names, files in os.walk(top):
        names[:] = [n for n in names if n not in _NEVER]
        found[Path(os.path.relpath(folder, root)).as_posix() + "/"] = (0, 0)
        for name in files:
            path = Path(folder, name)
            if path.is_file() and not path.is_symlink():
                stat = path.stat()
                found[Path(os.path.relpath(path, root)).as_posix()] = (stat.st_size, stat.st_mtime_ns)
    return found


def collect_files(root: Path, levels: int, before: Snapshot, target: Path) -> dict[str, Any]:
    """Copy what is new or another since `before` to the folder `target`; its metadata: digest, size and count."""
    after = look_at(root, levels)
    written = []
    (target / "files").mkdir(parents=True, exist_ok=True)
    for name in sorted(after):
        if before.get(name) == after[name] or name.endswith("/"):
            continue
        place = target / "files" / stored_path(name)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / name, place)
        with place.open("rb") as file:
            written.append(WrittenFile(name, place.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()))
    data = {
        "files": [{"path": w.path, "size": w.size, "sha256": w.sha256} for w in written],
        "folders": sorted(name for name in after if name.endswith("/") and name not in before),
        "removed": sorted(name for name in before if name not in after and not name.endswith("/")),
    }
    text = json.dumps(data, indent=1, sort_keys=True)
    (target / INDEX).write_text(text + "\n", encoding="utf-8")
    return {"sha256": hashlib.sha256(text.encode()).hexdigest(), "size": sum(w.size for w in written)}


def read_index(folder: Path) -> tuple[list[WrittenFile], list[str]]:
    """The files that a step has written, and the paths that it has removed. Raises DataError if that is not there."""
    try:
        data = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        return [WrittenFile(**told) for told in data["files"]], list(data["removed"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        fix = "Run the step that wrote them again."
        raise DataError(f"the files of an earlier step cannot be read: {error}", fix=fix) from error


def _made_folders(folder: Path) -> list[str]:
    return list(json.loads((folder / INDEX).read_text(encoding="utf-8"))["folders"])


def place_files(folder: Path, root: Path, paths: Sequence[str]) -> None:
    """Put the files of a collected folder that `paths` take in their own places below `root`.

    Raises DataError if one is not there as it was collected.
    """
    files, removed = read_index(folder)
    for path in _made_folders(folder):
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
    """The paths to take: those read off the code, or any once a parameter may have changed what they are.

    `declared` has each of the step's parameters with its default, `values` what they are in this run.
    """
    moved = (n for n, p in declared.items() if p["type"] in ("str", "list", "dict") and values.get(n) != p["default"])
    return ["*"] if any(True for _ in moved) else paths


def is_taken(path: str, paths: Iterable[str]) -> bool:
    """Whether one of these takes the path: it, its folder, or with `*` at its end what the path starts with."""
    return any(
        path.startswith(taken[:-1]) if taken.endswith("*") else path == taken or path.startswith(taken + "/")
        for taken in paths
    )


def stored_path(path: str) -> PurePosixPath:
    """Where a path from the project's root lies in a collected folder."""
    parts = [part for part in PurePosixPath(posixpath.normpath(path)).parts if part != "/"]
    above = sum(part == ".." for part in parts)
    return PurePosixPath(f"_above_{above}", *parts[above:]) if above else PurePosixPath(*parts)
