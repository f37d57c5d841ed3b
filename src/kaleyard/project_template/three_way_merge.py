"""What becomes of each file when a project comes to a newer template: three states of a file in, one out.

The file as the old template makes it, as the new one makes it, and as it is in the project. `git merge-file` merges
text; what is no text, and notebooks, are never mixed.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from kaleyard.errors import ExternalError

__all__ = ["Merge", "files_of", "merge_trees"]

Tree = Mapping[str, bytes]

_MARKERS_MAX = 127  # more conflicts, and everything above, `git merge-file` tells as an error


@dataclass(slots=True)
class Merge:
    """What to write into the project, by path (None: remove it), and what to tell.

    `conflicts` are paths where both sides changed, each with what to do; `stages` are their three states, for git.
    `kept` are paths that the project has dropped and the template changed: they stay dropped.
    """

    writes: dict[str, bytes | None] = field(default_factory=dict)
    conflicts: dict[str, str] = field(default_factory=dict)
    stages: dict[str, tuple[bytes | None, bytes | None, bytes | None]] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder by its path there, with forward slashes."""
    paths = (p for p in sorted(folder.rglob("*")) if p.is_file() and ".git" not in p.relative_to(folder).parts)
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in paths}


def merge_trees(project: Path, old: Tree, new: Tree, skip: tuple[str, ...] = ()) -> Merge:
    """What brings the files of `project` from the `old` template to the `new` one; nothing is written.

    `skip` are folders, files and patterns that are the project's own.
    """
    merge = Merge()
    for path in sorted({*old, *new}):
        before, after = old.get(path), new.get(path)
        if before == after or _skipped(path, skip):
            continue
        place = project / path
        mine = place.read_bytes() if place.is_file() else None
        if mine == after:
            continue
        if mine == before:
            merge.writes[path] = after
        elif mine is None:
            merge.kept.append(path)
        else:
            _merge_file(merge, path, mine, before, after)
    return merge


def _skipped(path: str, skip: tuple[str, ...]) -> bool:
    parents = [path, *map(str, PurePosixPath(path).parents)]
    return any(fnmatch(one, pattern.rstrip("/")) for one in parents for pattern in skip)


def _merge_file(merge: Merge, path: str, mine: bytes, before: bytes | None, after: bytes | None) -> None:
    if after is None:
        _conflict(merge, path, (before, mine, after), "you changed it, and the template no longer has it: it stays")
        return
    mixable = not path.endswith(".ipynb") and all(b"\0" not in text for text in (mine, before or b"", after))
    if not mixable:
        merge.writes[f"{path}.template"] = after
        _conflict(merge, path, (before, mine, after), f"both changed it: the template's is {path}.template")
        return
    merged, conflicts = _merge_text(mine, before or b"", after)
    merge.writes[path] = merged
    if conflicts:
        _conflict(merge, path, (before, mine, after), f"both changed it: {conflicts} marked with <<<<<<<")


def _conflict(merge: Merge, path: str, states: tuple[bytes | None, bytes | None, bytes | None], what: str) -> None:
    merge.conflicts[path] = what
    merge.stages[path] = states


def _merge_text(mine: bytes, before: bytes, after: bytes) -> tuple[bytes, int]:
    with tempfile.TemporaryDirectory() as folder:
        names = []
        for name, text in (("yours", mine), ("before", before), ("template", after)):
            (Path(folder) / name).write_bytes(text)
            names.append(name)
        labels = ["-L", "yours", "-L", "the template before", "-L", "the template now"]
        command = ["git", "merge-file", "-p", *labels, *names]
        done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    if not 0 <= done.returncode <= _MARKERS_MAX:
        raise ExternalError(f"git merge-file failed: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout, done.returncode
