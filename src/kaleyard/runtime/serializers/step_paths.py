"""Absolute paths below a step's folder, translated to the folder of the step that reads them."""

from __future__ import annotations

import functools
import os
import posixpath

from kaleyard.runtime.contract import WORK_VARIABLE

__all__ = ["inside", "outside"]

# Folder levels above the project's root that also belong to the step.
_LEVELS = 2


def inside(text: str) -> str | None:
    """The part of an absolute path after this step's folder; None for any other text."""
    if text[:1] != "/":
        return None
    for base in _bases(os.environ.get(WORK_VARIABLE, "")):
        if text.startswith(base) and text[len(base) : len(base) + 1] in ("", "/"):
            return text[len(base) :]
    return None


def outside(text: str) -> str:
    """The path in this step's folder; outside of a step, the path from the project's root."""
    root = os.environ.get(WORK_VARIABLE, "")
    bases = _bases(root)
    if not bases:
        # The root is two levels down, with the same name in every step.
        return posixpath.relpath(text or "/", "/up/work")
    return bases[0] + text


@functools.lru_cache(maxsize=8)
def _bases(root: str) -> tuple[str, ...]:
    """The step's folder with links resolved, as `os.getcwd()` returns it, and as it was passed."""
    if not root:
        return ()
    base = os.path.normpath("/".join([root, *[os.pardir] * _LEVELS]))
    return tuple(dict.fromkeys((os.path.realpath(base), base)))
