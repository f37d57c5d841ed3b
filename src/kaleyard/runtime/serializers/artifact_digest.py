"""The entries of a folder, and the digest of a file or folder."""

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
    """A file or folder inside a folder: its relative name with forward slashes, and its path with links resolved."""

    name: str
    real: Path
    is_folder: bool


def digest(path: Path) -> tuple[str, int]:
    """The sha256 of a file's or folder's content, and its size in bytes.

    The digest of a folder covers relative names, kinds and contents, but no modes, owners or times, which object
    stores drop. A link counts as its target.
    """
    if not path.is_dir():
        if not path.is_file():
            raise DataError(f"{path} is neither a file nor a folder.")
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size
    folder_hash, folder_size = hashlib.sha256(b"folder\0"), 0
    for entry in walk(path):
        content, size = ("", 0) if entry.is_folder else digest(entry.real)
        kind = "folder" if entry.is_folder else "file"
        # Zero bytes separate names and contents: no file name can contain one.
        folder_hash.update(f"{kind}\0{entry.name}\0{content}\0".encode("utf-8", "surrogateescape"))
        folder_size += size
    return folder_hash.hexdigest(), folder_size


def walk(folder: Path) -> Iterator[ArtifactEntry]:
    """All entries of a folder, ordered by relative name, with a folder before its content.

    Links inside the folder are followed. Raises DataError for a link that leads out of the folder, to a parent or
    nowhere, and for special files.
    """
    root = folder.resolve()
    entries = list(_entries(root, root, "", (root,)))
    yield from sorted(entries, key=lambda entry: entry.name.split("/"))


def _entries(root: Path, folder: Path, prefix: str, parents: tuple[Path, ...]) -> Iterator[ArtifactEntry]:
    with os.scandir(folder) as children:
        names = [child.name for child in children]
    for child in names:
        name, real = prefix + child, folder / child
        if real.is_symlink():
            real = _link_target(root, real, name, parents)
        if real.is_dir():
            yield ArtifactEntry(name, real, is_folder=True)
            yield from _entries(root, real, name + "/", (*parents, real))
        elif real.is_file():
            yield ArtifactEntry(name, real, is_folder=False)
        else:
            fix = "Remove sockets, pipes and devices from the folder."
            raise DataError(f"{root.name}/{name} is neither a file nor a folder.", fix=fix)


def _link_target(root: Path, link: Path, name: str, parents: tuple[Path, ...]) -> Path:
    """The target of a link inside the folder."""
    try:
        real = link.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise DataError(f"the link {root.name}/{name} leads nowhere.", fix="Remove the link.") from error
    if not real.is_relative_to(root):
        fix = "Replace the link with a copy of its target."
        raise DataError(f"the link {root.name}/{name} leads out of the folder, to {real}.", fix=fix)
    if real in parents:
        raise DataError(f"the link {root.name}/{name} leads to a folder that contains it.", fix="Remove the link.")
    return real
