"""SIGTERM and Ctrl-C as an exception that arrives, whatever the step's process is doing just then."""

from __future__ import annotations

import signal
from types import FrameType

__all__ = ["Stopped", "caught", "listen"]

_AGAIN = 0.5  # seconds until it is raised once more, if nobody has caught it


class Stopped(KeyboardInterrupt):
    """The step was told to stop. An event loop lets just this kind of exception out of its callbacks."""


def listen() -> None:
    """Raise `Stopped` in the main thread at the first SIGTERM or SIGINT, and again until `caught` is called.

    Python drops what is raised while it runs a finaliser or a C library's callback; so once may not be enough.
    """
    signal.signal(signal.SIGALRM, _stop)
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)


def caught() -> None:
    """Say that `Stopped` has arrived: what cleans up after it is not interrupted."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, signal.SIG_IGN)


def _stop(_signal: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.setitimer(signal.ITIMER_REAL, _AGAIN)
    raise Stopped
