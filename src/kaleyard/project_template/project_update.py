"""A project brought to a newer template: what the user changed stays, and where both changed is marked.

The old template comes out of the Kaleyard that lies in the project's `wheels`, so that neither a network nor the
template's history is needed; the new one is that of the Kaleyard that runs, or of a repository.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kaleyard.config import template_folder
from kaleyard.errors import ExternalError, ProjectError
from kaleyard.project_template.template_rendering import questions, render
from kaleyard.project_template.three_way_merge import Merge, files_of, merge_trees
from kaleyard.runtime.executor_io import atomic_write

__all__ = ["Update", "update_project"]

_NOTE = ".cruft.json"
_MINUTES = 10
_NO_MODE = "0 " + "0" * 40


@dataclass(slots=True)
class Update:
    """What an update did, by path below the project's folder.

    `conflicts` says of each what to do. `kept_out` are files of the template that the project has dropped.
    """

    folder: Path
    written: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    conflicts: dict[str, str] = field(default_factory=dict)
    kept_out: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """The update as JSON values."""
        return {
            "written": self.written,
            "removed": self.removed,
            "conflicts": self.conflicts,
            "kept_out": self.kept_out,
        }


def update_project(folder: Path, source: str | None = None) -> Update:
    """Bring the project in `folder` to the template of this Kaleyard, or of the one in the repository `source`.

    Raises ProjectError for a folder that was not made from the template, or that has changes git does not know yet;
    ExternalError if git or the disk fails. Nothing is written before everything is known.
    """
    folder = folder.resolve()
    note = _note(folder)
    _refuse_unsaved(folder)
    with tempfile.TemporaryDirectory(prefix="kaleyard-update-") as spare, _template(source, Path(spare)) as template:
        answers = {n: a for n, a in note["context"]["cookiecutter"].items() if not n.startswith("_")}
        old = _old_tree(folder, answers, Path(spare))
        known = questions(template)
        made = render(template, {n: a for n, a in answers.items() if n in known}, Path(spare) / "new")
        new = files_of(made)
    fresh = json.loads(new.pop(_NOTE))
    merge = merge_trees(folder, old, new, _skip(folder, note))
    _write(folder, merge, note if not fresh["commit"] else {**fresh, "skip": note.get("skip", [])})
    return Update(
        folder,
        [path for path, content in merge.writes.items() if content is not None],
        [path for path, content in merge.writes.items() if content is None],
        merge.conflicts,
        merge.kept,
    )


def _note(folder: Path) -> dict[str, Any]:
    path = folder / _NOTE
    try:
        note: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(note["context"]["cookiecutter"], dict):
            raise KeyError("cookiecutter")  # noqa: TRY301 - told as any other broken note
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ProjectError(
            f"{path} does not tell what the project was made from: {error}",
            fix="Update a project that `kaleyard new`, cookiecutter or cruft made from Kaleyard's template.",
        ) from error
    return note


def _skip(folder: Path, note: dict[str, Any]) -> tuple[str, ...]:
    try:
        settings = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        settings = {}
    return (*note.get("skip", []), *settings.get("tool", {}).get("cruft", {}).get("skip", []))


def _refuse_unsaved(folder: Path) -> None:
    done = _git(folder, "status", "--porcelain", "--", ".")
    if done is None:
        raise ProjectError(
            f"{folder} is not in a git repository, so that nothing could be undone",
            fix="git init, git add --all, git commit; then update.",
        )
    if done:
        raise ProjectError(f"{folder} has changes that are not committed", fix="Commit or stash them; then update.")


@contextmanager
def _template(source: str | None, spare: Path) -> Iterator[Path]:
    if source is None:
        yield template_folder("project")
        return
    clone = spare / "repository"
    if _git(spare, "clone", "--quiet", "--depth", "1", "--", _address(source), str(clone)) is None:
        raise ExternalError(f"{source} cannot be cloned", fix="Name a git repository that you can clone.")
    yield clone / "templates" / "project"


def _address(source: str) -> str:
    # A shallow clone of a folder needs its address as a file's.
    return Path(source).resolve().as_uri() if Path(source).is_dir() else source


def _old_tree(folder: Path, answers: dict[str, str], spare: Path) -> dict[str, bytes]:
    wheels = sorted((folder / "wheels").glob("kaleyard-*.whl"))
    if len(wheels) != 1:
        found = ", ".join(w.name for w in wheels) or "none"
        raise ProjectError(
            f"{folder / 'wheels'} should hold one wheel of Kaleyard, and holds {found}",
            fix="Get back the one that the project uses: git log -- wheels",
        )
    unpacked = spare / "old-kaleyard"
    try:
        with zipfile.ZipFile(wheels[0]) as archive:
            archive.extractall(unpacked)
    except (zipfile.BadZipFile, OSError) as error:
        raise ProjectError(f"{wheels[0]} cannot be unpacked: {error}", fix="Get it back from git.") from error
    template = unpacked / "kaleyard" / "templates" / "project"
    known = questions(template)
    # Without its hooks: the wheel that they would add is there.
    made = render(template, {n: a for n, a in answers.items() if n in known}, spare / "old", hooks=False)
    return files_of(made) | {f"wheels/{wheels[0].name}": wheels[0].read_bytes()}


def _write(folder: Path, merge: Merge, note: dict[str, Any]) -> None:
    try:
        for path, content in merge.writes.items():
            if content is None:
                (folder / path).unlink()
            else:
                atomic_write(folder / path, content)
        atomic_write(folder / _NOTE, json.dumps(note, indent=2, ensure_ascii=False) + "\n")
    except OSError as error:
        raise ExternalError(
            f"the update could not be written: {error}", fix="Undo it: git checkout . && git clean -d ."
        ) from error
    _mark_unmerged(folder, merge)


def _mark_unmerged(folder: Path, merge: Merge) -> None:
    """Make git say of the files in conflict what it says after a merge."""
    prefix = (_git(folder, "rev-parse", "--show-prefix") or "").strip()
    lines = []
    for path, states in merge.stages.items():
        lines.append(f"{_NO_MODE}\t{prefix}{path}")
        for stage, content in enumerate(states, start=1):
            if content is not None:
                blob = _git(folder, "hash-object", "-w", "--stdin", given=content)
                lines.append(f"100644 {(blob or '').strip()} {stage}\t{prefix}{path}")
    if lines:
        _git(folder, "update-index", "--index-info", given="\n".join([*lines, ""]).encode())


def _git(folder: Path, *arguments: str, given: bytes = b"") -> str | None:
    """What git says, or None if it refuses."""
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, input=given, capture_output=True, timeout=_MINUTES * 60, check=False)
    except FileNotFoundError as error:
        raise ExternalError("there is no git here", fix="Install git.") from error
    except subprocess.TimeoutExpired as error:
        raise ExternalError(f"git {arguments[0]} took more than {_MINUTES} minutes") from error
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None
