"""A path travels with the file or folder it names: the artifact is that file or folder itself."""

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

__all__ = ["INPUTS", "PathFormat"]

# Under the current folder: what came from elsewhere, and a list of all that was placed.
INPUTS = ".kaleyard-inputs"
_PLACED = "placed.json"


class PathFormat:
    """A `pathlib.Path` and the file or folder it names; relative paths stay relative."""

    name = "path"
    suffix = ""

    def accepts(self, value: object) -> bool:
        """Paths of something that is there; others are plain values."""
        if type(value) is not type(Path()):
            return False
        try:
            return value.exists()
        except (OSError, ValueError):
            # What cannot be asked about has no file for us: a plain value.
            return False

    def save(self, value: Any, path: Path) -> Mapping[str, str]:
        """A copy of the file or folder, and in what is returned the path's text and which files can be run."""
        try:
            if Path.cwd().resolve().is_relative_to(value.resolve()):
                # The folder the step runs in, or one above: each step has its own, with its files in it.
                path.write_text(f"{value}\n", encoding="utf-8")
                return {"path": str(value), "place": _place(value), "bare": "yes"}
            return self._save(value, _checked(value), path)
        except PermissionError as error:
            raise RefusedError(f"{error.filename} cannot be read", fix="Let this step make it readable.") from error
        except DataError as error:
            # Not left to JSON, which would keep the path and lose the folder.
            raise RefusedError(error.what, fix=error.fix) from error

    def _save(self, value: Path, real: Path, path: Path) -> Mapping[str, str]:
        extra = {"path": str(value), "place": _place(value)}
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
        """The path, and what it names in its place under the current folder."""
        if "path" not in extra:
            raise DataError("where it belongs is not told.", fix="Hand what `save` returned as `extra` to `load`.")
        text, here = extra["path"], Path.cwd()
        if extra.get("bare"):
            inside = Path(text).is_absolute() and extra["place"] != "elsewhere"
            return Path(os.path.normpath(here / extra["place"])) if inside else Path(text)
        if extra["place"] == "elsewhere":
            target = here / INPUTS / Path(extra.get("name") or "value").name / _basename(text)
            value = target
        elif not Path(os.path.normpath(here / extra["place"])).is_relative_to(_root()):
            raise DataError(f"{extra['place']} is not in the project.")
        else:
            target = Path(os.path.normpath(here / extra["place"]))
            # The text as it was, so that an equal path comes back: `Path("a/../b")` is not `Path("b")`.
            value = Path(text) if not Path(text).is_absolute() else target
        _Placing(here).put(path, target, set(json.loads(extra.get("executable", "[]"))))
        if not value.is_absolute():
            _make_passable(here, value)
        return value


class _Placing:
    """Puts artifacts under the current folder, and knows what was put there before."""

    def __init__(self, here: Path) -> None:
        self._here = here
        self._list = here / INPUTS / _PLACED
        self._placed: set[str] = set(json.loads(self._list.read_text())) if self._list.exists() else set()

    def put(self, source: Path, target: Path, can_run: set[str]) -> None:
        """A copy of the artifact at the target. Raises DataError where something else is there."""
        if source.is_dir():
            entries = [(entry.name, entry.real, entry.is_folder) for entry in walk(source)]
            for name, real, is_folder in [(".", source, True), *entries]:
                place = target if name == "." else target / name
                if is_folder:
                    self._make_folder(place)
                else:
                    self._put_file(real, place, can_run=name in can_run)
        else:
            self._make_folder(target.parent)
            self._put_file(source, target, can_run="." in can_run)
        self._list.parent.mkdir(exist_ok=True)
        self._list.write_text(json.dumps(sorted(self._placed)))

    def _put_file(self, source: Path, target: Path, *, can_run: bool) -> None:
        if os.path.lexists(target):
            same = target.is_file() and not target.is_symlink() and digest(target) == digest(source)
            if same:
                return
            if target.is_dir() or self._name(target) not in self._placed:
                raise self._in_the_way(target)
            target.unlink()
        shutil.copyfile(source, target)
        target.chmod(0o755 if can_run else 0o644)
        self._placed.add(self._name(target))

    def _make_folder(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise self._in_the_way(folder) from error

    def _name(self, target: Path) -> str:
        return Path(os.path.relpath(os.path.normpath(target), self._here)).as_posix()

    def _in_the_way(self, target: Path) -> DataError:
        name = self._name(target)
        fix = "Let the step that makes it write to another place, or take it out of this step's files."
        return DataError(f"{name} is in the way: this step has something else there.", fix=fix)


def _checked(value: Path) -> Path:
    """What a path leads to, if it is a thing to take along."""
    real = value.resolve()
    try:
        home = Path.home().resolve()
    except RuntimeError:
        # A user without a home folder, as in a container.
        home = Path("/")
    if home.resolve().is_relative_to(real):
        fix = "Put what the next step needs into a folder of its own, and keep the path of that."
        raise RefusedError(f"{value} is or holds the home folder", fix=fix)
    mode = real.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        fix = "A socket, pipe or device stays on its machine: keep its path as a text, `str(...)`."
        raise RefusedError(f"{value} is neither a file nor a folder", fix=fix)
    return real


def _root() -> Path:
    """The folder in which paths mean the same in every step: what stands for the project's root, else this one."""
    here = Path.cwd()
    root = Path(os.environ.get(WORK_VARIABLE) or here)
    return root if here.is_relative_to(root) else here


def _place(value: Path) -> str:
    """Where a path leads, from the current folder, by its text; "elsewhere" if it leads out of the project."""
    here = os.path.normpath(Path.cwd())
    full = os.path.normpath(Path(here) / value)
    return Path(os.path.relpath(full, here)).as_posix() if Path(full).is_relative_to(_root()) else "elsewhere"


def _basename(text: str) -> str:
    return PurePosixPath(os.path.normpath(text)).name


def _make_passable(here: Path, value: Path) -> None:
    """Makes the folders that a path like `a/../b` goes through on its way."""
    so_far = here
    for part in value.parts[:-1]:
        so_far = so_far / part
        if part != "..":
            so_far.mkdir(exist_ok=True)


def _can_run(file: Path) -> bool:
    # Not os.access: that is for who runs this, and says yes to root.
    return bool(file.stat().st_mode & stat.S_IXUSR)


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    target.chmod(0o755 if _can_run(source) else 0o644)
