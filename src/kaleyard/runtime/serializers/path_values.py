"""Paths, saved together with the file or folder that they name: the artifact is that file or folder."""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from kaleyard.errors import DataError
from kaleyard.runtime.contract import WORK_VARIABLE
from kaleyard.runtime.serializers.artifact_digest import digest, walk
from kaleyard.runtime.serializers.serializer import RefusedError

__all__ = ["INPUTS", "PathFormat", "placed_files"]

# Under the current folder: files from outside the project, and a list of all files placed.
INPUTS = ".kaleyard-inputs"
_PLACED = "placed.json"


class PathFormat:
    """A `pathlib.Path` and the file or folder that it names; relative paths stay relative."""

    name = "path"
    suffix = ""

    def accepts(self, value: object) -> bool:
        """Paths of existing files and folders; other paths are plain values."""
        if type(value) is not type(Path()):
            return False
        try:
            return value.exists()
        except (OSError, ValueError):
            # If the path cannot be checked, it counts as a plain value.
            return False

    def save(self, value: Any, path: Path) -> Mapping[str, str]:
        """Copy the file or folder; returns the path's text and which files are executable."""
        try:
            if Path.cwd().resolve().is_relative_to(value.resolve()):
                # The step's folder or one above it: every step has its own, with its files.
                path.write_text(f"{value}\n", encoding="utf-8")
                return {"path": str(value), "place": _relative_place(value), "bare": "yes"}
            return self._save(value, _resolved(value), path)
        except PermissionError as error:
            raise RefusedError(f"{error.filename} cannot be read", fix="Make it readable in this step.") from error
        except DataError as error:
            # No other format may try: JSON would keep the path without the folder.
            raise RefusedError(error.what, fix=error.fix) from error

    def _save(self, value: Path, real: Path, path: Path) -> Mapping[str, str]:
        extra = {"path": str(value), "place": _relative_place(value)}
        if real.is_dir():
            entries = list(walk(real))
            path.mkdir()
            for entry in entries:
                target = path / entry.name
                target.mkdir() if entry.is_folder else _copy(entry.real, target)
            can_run = [entry.name for entry in entries if not entry.is_folder and _can_run(entry.real)]
        else:
            _copy(real, path)
            can_run = ["."] if _can_run(real) else []
            extra["suffix"] = value.suffix
        return extra | ({"executable": json.dumps(can_run, ensure_ascii=True)} if can_run else {})

    def load(self, path: Path, extra: Mapping[str, str]) -> Any:
        """The path, with its file or folder placed under the current folder."""
        if "path" not in extra:
            raise DataError("its path is unknown.", fix="Pass what `save` returned as `extra` to `load`.")
        text, here = extra["path"], Path.cwd()
        if extra.get("bare"):
            in_project = Path(text).is_absolute() and extra["place"] != "elsewhere"
            return Path(os.path.normpath(here / extra["place"])) if in_project else Path(text)
        if extra["place"] == "elsewhere":
            target = here / INPUTS / Path(extra.get("name") or "value").name / _basename(text)
            value = target
        elif not Path(os.path.normpath(here / extra["place"])).is_relative_to(_root()):
            raise DataError(f"{extra['place']} is not in the project.")
        else:
            target = Path(os.path.normpath(here / extra["place"]))
            # The original text, so that an equal path comes back: `Path("a/../b")` is not `Path("b")`.
            value = Path(text) if not Path(text).is_absolute() else target
        _Placement(here).put(path, target, set(json.loads(extra.get("executable", "[]"))))
        if not value.is_absolute():
            _make_passable(here, value)
        return value


def placed_files(here: Path) -> dict[str, tuple[int, int]]:
    """The files that values have put under a folder, by their paths from it: their sizes and modification times."""
    path = here / INPUTS / _PLACED
    placed = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return {name: (size, modified) for name, (size, modified) in placed.items()}


class _Placement:
    """Places artifacts under the current folder, and remembers which files it has placed."""

    def __init__(self, here: Path) -> None:
        self._here = here
        self._list = here / INPUTS / _PLACED
        self._placed = placed_files(here)

    def put(self, source: Path, target: Path, can_run: set[str]) -> None:
        """Copy the artifact to the target. Raises DataError if another file is there."""
        if source.is_dir():
            entries = [(entry.name, entry.real, entry.is_folder) for entry in walk(source)]
            for name, real, is_folder in [(".", source, True), *entries]:
                destination = target if name == "." else target / name
                if is_folder:
                    self._make_folder(destination)
                else:
                    self._put_file(real, destination, can_run=name in can_run)
        else:
            self._make_folder(target.parent)
            self._put_file(source, target, can_run="." in can_run)
        self._list.parent.mkdir(exist_ok=True)
        self._list.write_text(json.dumps(self._placed, sort_keys=True))

    def _put_file(self, source: Path, target: Path, *, can_run: bool) -> None:
        if os.path.lexists(target):
            is_same = target.is_file() and not target.is_symlink() and digest(target) == digest(source)
            if is_same:
                return
            if target.is_dir() or self._name(target) not in self._placed:
                raise self._in_the_way(target)
            target.unlink()
        shutil.copyfile(source, target)
        target.chmod(0o755 if can_run else 0o644)
        status = target.stat()
        self._placed[self._name(target)] = (status.st_size, status.st_mtime_ns)

    def _make_folder(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise self._in_the_way(folder) from error

    def _name(self, target: Path) -> str:
        return Path(os.path.relpath(os.path.normpath(target), self._here)).as_posix()

    def _in_the_way(self, target: Path) -> DataError:
        name = self._name(target)
        fix = "Write it to another path in the step that makes it, or remove it from this step's files."
        return DataError(f"{name} is in the way: this step has another file or folder there.", fix=fix)


def _resolved(value: Path) -> Path:
    """The resolved path. Raises RefusedError if it must not be saved."""
    real = value.resolve()
    try:
        home = Path.home().resolve()
    except RuntimeError:
        # The user has no home folder, as in a container.
        home = Path("/")
    if home.resolve().is_relative_to(real):
        fix = "Put the files that the next step needs into a separate folder, and save its path."
        raise RefusedError(f"{value} is or contains the home folder", fix=fix)
    mode = real.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        fix = "Sockets, pipes and devices cannot be saved: save the path as text, `str(...)`."
        raise RefusedError(f"{value} is neither a file nor a folder", fix=fix)
    return real


def _root() -> Path:
    """The project's root for this step if the current folder is inside it, else the current folder."""
    here = Path.cwd()
    root = Path(os.environ.get(WORK_VARIABLE) or here)
    return root if here.is_relative_to(root) else here


def _relative_place(value: Path) -> str:
    """The path relative to the current folder, without resolving links; "elsewhere" if it is outside the project."""
    here = os.path.normpath(Path.cwd())
    full = os.path.normpath(Path(here) / value)
    return Path(os.path.relpath(full, here)).as_posix() if Path(full).is_relative_to(_root()) else "elsewhere"


def _basename(text: str) -> str:
    return PurePosixPath(os.path.normpath(text)).name


def _make_passable(here: Path, value: Path) -> None:
    """Create the folders that a path like `a/../b` passes through."""
    folder = here
    for part in value.parts[:-1]:
        folder = folder / part
        if part != "..":
            folder.mkdir(exist_ok=True)


def _can_run(file: Path) -> bool:
    # Not os.access: it is always true for root.
    return bool(file.stat().st_mode & stat.S_IXUSR)


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    target.chmod(0o755 if _can_run(source) else 0o644)
