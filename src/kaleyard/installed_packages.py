"""What is installed in this Python: distributions with their versions, and which modules they provide.

Read from the names of the metadata folders and their lists of files. `importlib.metadata` says the same, but takes
longer than all the rest of a command that has nothing to do.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

__all__ = ["normal_name", "providers", "versions"]

_METADATA = re.compile(r"(?P<name>.+?)-(?P<version>[^-]+)(?:-py[\d.]+)?\.(?:dist-info|egg-info)")
# A file's first folder, or its module: `numpy/core/x.py`, `six.py`, `_cffi_backend.cpython-311-x86_64-linux-gnu.so`.
_TOP = re.compile(r"^(?:([A-Za-z_]\w*)/|([A-Za-z_]\w*)(?:\.[\w-]+)*\.(?:py|so|pyd)\b)", re.MULTILINE)


@cache
def versions() -> dict[str, str]:
    """The version of every installed distribution, by its normal name."""
    return {name: version for name, version, _ in reversed(list(_distributions()))}


@cache
def providers() -> dict[str, tuple[str, ...]]:
    """For each top-level module the normal names of the distributions that have files of it, sorted."""
    found: dict[str, set[str]] = {}
    for name, _, folder in _distributions():
        for module in _modules(folder):
            found.setdefault(module, set()).add(name)
    return {module: tuple(sorted(names)) for module, names in found.items()}


@cache
def normal_name(name: str) -> str:
    """A distribution's name as the package index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _distributions() -> Iterator[tuple[str, str, Path]]:
    for place in dict.fromkeys(sys.path):
        folder = Path(place or ".")
        if not folder.is_dir():
            continue
        for path in sorted(folder.iterdir()):
            match = _METADATA.fullmatch(path.name)
            if match:
                yield normal_name(match["name"]), match["version"], path


def _modules(folder: Path) -> set[str]:
    names = _text(folder / "top_level.txt").split()
    if names:
        return {name for name in names if name.isidentifier()}
    return {first or second for first, second in _TOP.findall(_text(folder / "RECORD"))}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
