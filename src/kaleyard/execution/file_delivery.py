"""Copies the files that a run's steps wrote to the project, where the notebook would have written them.

The user's own files are never overwritten or removed. Kaleyard replaces a file only if it wrote the file itself and
nobody has changed it since; a ledger in the project's `.kaleyard` folder records what it wrote.
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
_PROTECTED = (".git", ".kaleyard")  # folders in the project's root that notebooks may not write to
_CHUNK = 1 << 20


@dataclass(slots=True)
class Delivery:
    """The outcome for each file, by its path from the project's root; `same` files already had that content.

    `kept` files are the user's own, left unchanged. `refused` and `failed` say why a file was not written.
    """

    written: list[str] = field(default_factory=list)
    same: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def notes(self) -> list[str]:
        """The outcome as lines for the user."""
        lines = [f"wrote {some_of(self.written)} to the project"] if self.written else []
        lines += [f"kept yours: {some_of(self.kept)}"] if self.kept else []
        for problems, word in ((self.refused, "not written"), (self.failed, "could not be written")):
            reasons: dict[str, list[str]] = {}
            for path, reason in problems.items():
                reasons.setdefault(reason, []).append(path)
            lines += [f"{word}: {some_of(paths)}: {reason}" for reason, paths in reasons.items()]
        return lines


class DeliveringReporter:
    """Passes events on to another reporter, and delivers the run's files when the run has finished."""

    def __init__(self, inner: Reporter, project: Project) -> None:
        self._inner, self._project = inner, project

    def started(self, run: Run) -> None:
        """Pass the event on."""
        self._inner.started(run)

    def changed(self, step: StepRun) -> None:
        """Pass the event on."""
        self._inner.changed(step)

    def tick(self) -> None:
        """Pass the event on."""
        self._inner.tick()

    def finished(self, run: Run) -> None:
        """Deliver the files and add the outcome to the run's notes."""
        notes = deliver(run, self._project).notes()
        if notes:
            run.notes += notes
            try:
                run.save()
                write_report(run)
            except ExternalError as error:
                # The delivered files may have filled the disk. The earlier run.json and report are still complete.
                run.notes.append(error.what)
        self._inner.finished(run)


def deliver(run: Run, project: Project) -> Delivery:
    """Copy the files of completed steps to the project. Files that cannot be written are reported, not raised."""
    ledger, delivery = _Ledger(project.root / LEDGER), Delivery()
    sources = run.files
    # If two steps wrote the same path, the later step's file counts.
    files = {f.path: f for s in run.steps.values() if s.state in ("done", "cached") for f in s.files}
    for path, file in files.items():
        try:
            _deliver_one(file, sources[path], _target(project.root, path), ledger, delivery)
        except _RefusedError as error:
            delivery.refused[path] = str(error)
        except OSError as error:
            delivery.failed[path] = f"{error.strerror or error}; it is in {run.files_folder}"
    ledger.save(delivery)
    return delivery


def _target(root: Path, path: str) -> Path:
    """The path to write to, its folder resolved. Raises _RefusedError for a path outside the project."""
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or not pure.name or "\0" in path or Path(path).drive:
        raise _RefusedError("it is outside the project")
    root = root.resolve()
    try:
        folder = (root / pure).parent.resolve()
    except RuntimeError as error:  # raised by Python before 3.13 for circular links
        raise _RefusedError("its folder is a circular link") from error
    if not folder.is_relative_to(root):
        raise _RefusedError("its folder is a link to outside the project")
    target = folder / pure.name
    first = target.relative_to(root).parts[0]
    if first.lower() in _PROTECTED:  # case-insensitive file systems take .GIT for .git
        raise _RefusedError(f"notebooks may not write to {first}")
    if target.is_symlink() and not Path(os.path.realpath(target)).is_relative_to(root):
        raise _RefusedError("it is a link to outside the project")
    return target


def _deliver_one(file: WrittenFile, source: Path, target: Path, ledger: _Ledger, delivery: Delivery) -> None:
    before = _state(target)
    if before:
        digest = _sha256(target) if target.is_file() else None
        if digest == file.sha256:
            delivery.same.append(file.path)
            return
        # A link is always the user's own.
        if digest is None or digest != ledger.known.get(file.path) or target.is_symlink():
            delivery.kept.append(file.path)
            return
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".kaleyard-{secrets.token_hex(8)}.part")
    try:
        _copy(source, temporary, file.sha256)
        written = _replace(temporary, target, before) if before else _create(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    if written:
        ledger.known[file.path] = file.sha256
        delivery.written.append(file.path)
    else:
        delivery.kept.append(file.path)


def _copy(source: Path, target: Path, sha256: str) -> None:
    """Copy without hard links: the user's edits must not change the file in the run or in the cache."""
    digest = hashlib.sha256()
    with source.open("rb") as reader, target.open("xb") as writer:
        while chunk := reader.read(_CHUNK):
            digest.update(chunk)
            writer.write(chunk)
    if digest.hexdigest() != sha256:
        raise OSError(f"{source} has changed since the step wrote it")


def _replace(temporary: Path, target: Path, before: tuple[int, ...]) -> bool:
    """Replace a file that Kaleyard wrote earlier, unless the user has changed it in the meantime."""
    shutil.copymode(target, temporary)
    if _state(target) != before:
        return False
    temporary.replace(target)
    return True


def _create(temporary: Path, target: Path) -> bool:
    """Move the file to its path, unless there is a file by now."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        return False
    except OSError:
        # The file system has no hard links.
        if _state(target):
            return False
        temporary.replace(target)
    return True


def _state(path: Path) -> tuple[int, ...]:
    """What changes whenever the file does; empty if there is no file."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return ()
    return status.st_ino, status.st_size, status.st_mtime_ns


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _RefusedError(Exception):
    """A path that is never written to."""


class _Ledger:
    """The digest of what Kaleyard last wrote to the project, by path.

    If it cannot be read it is empty: every existing file then counts as the user's.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.known = path, _read(path)
        self._before = dict(self.known)

    def save(self, delivery: Delivery) -> None:
        """Save new entries. Entries that another run has added in the meantime are kept."""
        new = {path: sha256 for path, sha256 in self.known.items() if self._before.get(path) != sha256}
        if not new:
            return
        known = _read(self.path) | new
        try:
            atomic_write(self.path, json.dumps({"version": 1, "files": known}, indent=1, sort_keys=True) + "\n")
        except OSError as error:
            delivery.failed[LEDGER] = f"{error.strerror or error}; the next run will treat this run's files as yours"


def _read(path: Path) -> dict[str, str]:
    try:
        data: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    files = data.get("files") if isinstance(data, Mapping) and data.get("version") == 1 else None
    return dict(files) if isinstance(files, Mapping) else {}
