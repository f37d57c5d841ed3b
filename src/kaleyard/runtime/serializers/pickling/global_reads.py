"""Which of a notebook's names the functions in a value read that brought along what these were when it was saved."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["note_reads", "noting_reads"]

_noted: ContextVar[set[str] | None] = ContextVar("names that functions read", default=None)


def note_reads(names: Iterable[str]) -> None:
    """Note that a function which has just been made reads these globals, as they were where it was saved."""
    noted = _noted.get()
    if noted is not None:
        noted.update(name for name in names if not name.startswith("__"))


@contextmanager
def noting_reads() -> Iterator[set[str]]:
    """The names that are noted in here."""
    names: set[str] = set()
    token = _noted.set(names)
    try:
        yield names
    finally:
        _noted.reset(token)
