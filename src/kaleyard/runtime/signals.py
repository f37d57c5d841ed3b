"""SIGTERM and Ctrl-C as an exception that reaches the main thread, whatever it is doing."""

from __future__ import annotations

import signal
from types import FrameType

__all__ = ["Stopped", "caught", "listen"]

_REPEAT_AFTER = 0.5  # seconds until it is raised again, if it was not caught


class Stopped(KeyboardInterrupt):
    """The step was asked to stop. Event loops let only a KeyboardInterrupt out of their callbacks."""


def listen() -> None:
    """Raise `Stopped` in the main thread at the first SIGTERM or SIGINT, and again until `caught` is called.

    Python drops exceptions raised in a finalizer or in a callback of a C library, so once may not be enough.
    """
    signal.signal(signal.SIGALRM, _stop)
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)


def caught() -> None:
    """Confirm that `Stopped` was caught, so that the clean-up is not interrupted."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, signal.SIG_IGN)


def _stop(_signal: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.setitimer(signal.ITIMER_REAL, _REPEAT_AFTER)
    raise Stopped
