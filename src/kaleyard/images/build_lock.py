"""One build of a project at a time on this machine: the second finds what the first made."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["build_lock"]

_PAUSE = 0.2


@contextmanager
def build_lock(root: Path, waits: Callable[[], None]) -> Iterator[None]:
    """Only one process is in here at a time for the project at `root`; `waits` is called once if it is not our turn.

    Where there is no place for a lock, builds at once cost time and nothing else: each image is still made whole.
    """
    import fcntl

    path = root / ".kaleyard" / "build.lock"
    try:
        path.parent.mkdir(exist_ok=True)
        file = path.open("w")
    except OSError:
        yield
        return
    with file:
        told = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not told:
                    waits()
                told = True
                time.sleep(_PAUSE)
        yield
