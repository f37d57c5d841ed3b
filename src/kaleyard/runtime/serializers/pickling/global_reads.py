"""The global names that the functions in a loaded value read, and whose values were saved with the functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["note_reads", "noting_reads"]

_reads: ContextVar[set[str] | None] = ContextVar("names that functions read", default=None)


def note_reads(names: Iterable[str]) -> None:
    """Record that a function which was just loaded reads these globals, with their values from when it was saved."""
    reads = _reads.get()
    if reads is not None:
        reads.update(name for name in names if not name.startswith("__"))


@contextmanager
def noting_reads() -> Iterator[set[str]]:
    """The names that `note_reads` records in this context."""
    names: set[str] = set()
    token = _reads.set(names)
    try:
        yield names
    finally:
        _reads.reset(token)
