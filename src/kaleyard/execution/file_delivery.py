"""The files that a run's steps wrote, put where the notebook would have put them: in the project.

Nothing of the user's is overwritten or removed. What Kaleyard wrote itself it may write again, while it is still as it
was written: a ledger in the project's `.kaleyard` folder says what that is.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from kaleyard.config import Project
from kaleyard.errors import ExternalError
from kaleyard.records.run_record import Run, StepRun
from kaleyard.reporting.console import Reporter, some_of
from kaleyard.reporting.html_report import write_report
from kaleyard.runtime.executor_io import atomic_write
from kaleyard.runtime.result_files import WrittenFile

__all__ = ["LEDGER", "DeliveringReporter", "Delivery", "deliver"]

LEDGER = ".kaleyard/written-files.json"
_OURS = (".git", ".kaleyard")  # folders of the project's root that are no place for a notebook's files
_PIECE = 1 << 20


@dataclass(slots=True)
class Delivery:
    """What became of each file, by its path from the project's root; `same` were there already with that content.

    `kept` are the user's own, left as they are. `refused` and `failed` say why the file is not there.
    """

    written: list[str] = field(default_factory=list)
    same: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def notes(self) -> list[str]:
        """All that is worth telling, a line each."""
        lines = [f"wrote {some_of(self.written)} to the project"] if self.written else []
        lines += [f"kept yours: {some_of(self.kept)}"] if self.kept else []
        for told, word in ((self.refused, "not written"), (self.failed, "could not be written")):
            reasons: dict[str, list[str]] = {}
            for path, reason in told.items():
                reasons.setdefault(reason, []).append(path)
            lines += [f"{word}: {some_of(paths)}: {reason}" for reason, paths in reasons.items()]
        return lines


class DeliveringReporter:
    """Delivers a run's files when the run is over, and tells another reporter all there is to tell."""

    def __init__(self, inner: Reporter, project: Project) -> None:
        self._inner, self._project = inner, project

    def started(self, run: Run) -> None:
        """As it is."""
        self._inner.started(run)

    def changed(self, step: StepRun) -> None:
        """As it is."""
        self._inner.changed(step)

    def tick(self) -> None:
        """As it is."""
        self._inner.tick()

    def finished(self, run: Run) -> None:
        """The files are delivered, and what became of them is among the run's notes."""
        notes = deliver(run, self._project).notes()
        if notes:
            run.notes += notes
            try:
                run.save()
                write_report(run)
            except ExternalError as error:
                # What was delivered may have filled the disk; the run as it was before is there, whole.
                run.notes.append(error.what)
        self._inner.finished(run)


def deliver(run: Run, project: Project) -> Delivery:
    """Write the files of the steps that are done to the project. What cannot be written is told, never raised."""
    ledger, delivery = _Ledger(project.root / LEDGER), Delivery()
    places = run.files
    # Of two steps that wrote one path, the later one's counts.
    files = {f.path: f for s in run.steps.values() if s.state in ("done", "cached") for f in s.files}
    for path, file in files.items():
        try:
            target = _target(project.root, path)
            _deliver_one(file, places[path], target, ledger, delivery)
        except _RefusedError as error:
            delivery.refused[path] = str(error)
        except OSError as error:
            delivery.failed[path] = f"{error.strerror or error}; it is in {run.files_folder}"
    ledger.save(delivery)
    return delivery


def _target(root: Path, path: str) -> Path:
    """Where the file goes, its folder resolved. Raises _RefusedError for a place that is none of the project's."""
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or not pure.name or "\0" in path or Path(path).drive:
        raise _RefusedError("it lies outside the project")
    root = root.resolve()
    try:
        folder = (root / pure).parent.resolve()
    except RuntimeError as error:  # what Python before 3.13 raises for links that lead in a circle
        raise _RefusedError("its folder is a link that leads nowhere") from error
    if not folder.is_relative_to(root):
        raise _RefusedError("its folder is a link that leads out of the project")
    target = folder / pure.name
    first = target.relative_to(root).parts[0]
    if first.lower() in _OURS:  # some disks take .GIT for .git
        raise _RefusedError(f"{first} is no place for a notebook's files")
    if target.is_symlink() and not Path(os.path.realpath(target)).is_relative_to(root):
        raise _RefusedError("it is a link that leads out of the project")
    return target


def _deliver_one(file: WrittenFile, source: Path, target: Path, ledger: _Ledger, delivery: Delivery) -> None:
    before = _state(target)
    if before:
        found = _sha256(target) if target.is_file() else None
        if found == file.sha256:
            delivery.same.append(file.path)
            return
        # A link is the user's own, whatever it leads to.
        if found is None or found != ledger.known.get(file.path) or target.is_symlink():
            delivery.kept.append(file.path)
            return
    target.parent.mkdir(parents=True, exist_ok=True)
    spare = target.with_name(f".kaleyard-{secrets.token_hex(8)}.part")
    try:
        _copy(source, spare, file.sha256)
        written = _replace(spare, target, before) if before else _place(spare, target)
    finally:
        spare.unlink(missing_ok=True)
    if written:
        ledger.known[file.path] = file.sha256
        delivery.written.append(file.path)
    else:
        delivery.kept.append(file.path)


def _copy(source: Path, target: Path, sha256: str) -> None:
    """Copy, never link: the run's file may be the cache's too, and the user's edits belong to neither."""
    digest = hashlib.sha256()
    with source.open("rb") as reader, target.open("xb") as writer:
        while piece := reader.read(_PIECE):
            digest.update(piece)
            writer.write(piece)
    if digest.hexdigest() != sha256:
        raise OSError(f"{source} is not as the step wrote it")


def _replace(spare: Path, target: Path, before: tuple[int, ...]) -> bool:
    """Give the spare the name of what we wrote earlier, unless the user has changed that just now."""
    shutil.copymode(target, spare)
    if _state(target) != before:
        return False
    spare.replace(target)
    return True


def _place(spare: Path, target: Path) -> bool:
    """Give the spare its name, unless something has it by now."""
    try:
        os.link(spare, target)
    except FileExistsError:
        return False
    except OSError:
        # Not every disk has hard links.
        if _state(target):
            return False
        spare.replace(target)
    return True


def _state(path: Path) -> tuple[int, ...]:
    """What changes whenever the file does; nothing if there is none."""
    try:
        told = path.lstat()
    except FileNotFoundError:
        return ()
    return told.st_ino, told.st_size, told.st_mtime_ns


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _RefusedError(Exception):
    """A place where nothing is written, whatever is there."""


class _Ledger:
    """What Kaleyard wrote to the project, path by path: the digest of the content it wrote last.

    One that cannot be read knows nothing: then every file that is there is the user's.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.known = path, _read(path)
        self._before = dict(self.known)

    def save(self, delivery: Delivery) -> None:
        """Write it if there is something new. What is in it by now from another run stays."""
        new = {path: sha256 for path, sha256 in self.known.items() if self._before.get(path) != sha256}
        if not new:
            return
        known = _read(self.path) | new
        try:
            atomic_write(self.path, json.dumps({"version": 1, "files": known}, indent=1, sort_keys=True) + "\n")
        except OSError as error:
            delivery.failed[LEDGER] = f"{error.strerror or error}; the next run takes what this one wrote for yours"


def _read(path: Path) -> dict[str, str]:
    try:
        data: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    files = data.get("files") if isinstance(data, Mapping) and data.get("version") == 1 else None
    return dict(files) if isinstance(files, Mapping) else {}
