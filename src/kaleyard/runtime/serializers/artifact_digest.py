"""What an artifact holds: the walk through a file or folder, and the digest over it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kaleyard.errors import DataError

__all__ = ["ArtifactEntry", "digest", "walk"]


@dataclass(frozen=True, slots=True)
class ArtifactEntry:
    """A file or folder inside a folder: its relative name with forward slashes, and where it really is."""

    name: str
    real: Path
    is_folder: bool


def digest(path: Path) -> tuple[str, int]:
    """The sha256 of a file's or folder's content, and its size in bytes.

    A folder counts by the relative names, kinds and contents in it: not by modes, owners or times, which object
    stores drop. A link counts as what it leads to.
    """
    if not path.is_dir():
        if not path.is_file():
            raise DataError(f"{path} is neither a file nor a folder.")
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size
    whole, total = hashlib.sha256(b"folder\0"), 0
    for entry in walk(path):
        content, size = ("", 0) if entry.is_folder else digest(entry.real)
        kind = "folder" if entry.is_folder else "file"
        # Names and contents are told apart by their zero bytes, which no file name can hold.
        whole.update(f"{kind}\0{entry.name}\0{content}\0".encode("utf-8", "surrogateescape"))
        total += size
    return whole.hexdigest(), total


def walk(folder: Path) -> Iterator[ArtifactEntry]:
    """Everything inside a folder, ordered by relative name, a folder before what is in it.

    Links are followed while they stay inside. Raises DataError for a link that leads out, to itself or nowhere, and
    for what is neither file nor folder.
    """
    root = folder.resolve()
    entries = list(_inside(root, root, "", (root,)))
    yield from sorted(entries, key=lambda entry: entry.name.split("/"))


def _inside(root: Path, folder: Path, prefix: str, parents: tuple[Path, ...]) -> Iterator[ArtifactEntry]:
    with os.scandir(folder) as children:
        names = [child.name for child in children]
    for child in names:
        name, real = prefix + child, folder / child
        if real.is_symlink():
            real = _followed(root, real, name, parents)
        if real.is_dir():
            yield ArtifactEntry(name, real, is_folder=True)
            yield from _inside(root, real, name + "/", (*parents, real))
        elif real.is_file():
            yield ArtifactEntry(name, real, is_folder=False)
        else:
            fix = "Take sockets, pipes and devices out of the folder."
            raise DataError(f"{root.name}/{name} is neither a file nor a folder.", fix=fix)


def _followed(root: Path, link: Path, name: str, parents: tuple[Path, ...]) -> Path:
    """Where a link inside the folder leads to."""
    try:
        real = link.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise DataError(f"the link {root.name}/{name} leads nowhere.", fix="Remove the link.") from error
    if not real.is_relative_to(root):
        fix = "Put a copy of what it leads to in its place."
        raise DataError(f"the link {root.name}/{name} leads out of the folder, to {real}.", fix=fix)
    if real in parents:
        raise DataError(f"the link {root.name}/{name} leads to a folder it stands in.", fix="Remove the link.")
    return real
