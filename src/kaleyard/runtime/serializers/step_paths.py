"""Absolute paths below the folder a step runs in: they mean the same place in that of the step that reads them."""

from __future__ import annotations

import functools
import os
import posixpath

from kaleyard.runtime.contract import WORK_VARIABLE

__all__ = ["inside", "outside"]

# Folders above the project's root that are the step's own too.
_LEVELS = 2


def inside(text: str) -> str | None:
    """What stands behind the folder of this step in an absolute path; None for any other text."""
    if text[:1] != "/":
        return None
    for base in _bases(os.environ.get(WORK_VARIABLE, "")):
        if text.startswith(base) and text[len(base) : len(base) + 1] in ("", "/"):
            return text[len(base) :]
    return None


def outside(text: str) -> str:
    """The path in this step's folder; where there is no step, the path from the project's root."""
    root = os.environ.get(WORK_VARIABLE, "")
    bases = _bases(root)
    if not bases:
        # The root itself is two levels down, and called as it is in every step.
        return posixpath.relpath(text or "/", "/up/work")
    return bases[0] + text


@functools.lru_cache(maxsize=8)
def _bases(root: str) -> tuple[str, ...]:
    """The folder that is the step's own, as it is told and as the system calls it, which `os.getcwd()` gives."""
    if not root:
        return ()
    base = os.path.normpath("/".join([root, *[os.pardir] * _LEVELS]))
    return tuple(dict.fromkeys((os.path.realpath(base), base)))
