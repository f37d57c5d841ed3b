"""Waiting for a server that a test has started."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Callable

__all__ = ["until_it_answers"]

_PATIENCE = 180.0  # seconds, on a machine that is busy


def until_it_answers(address: str, is_running: Callable[[], bool], log: Callable[[], str]) -> None:
    """Return once the address answers 200; fail, with the log, if it answers otherwise, ends, or takes too long."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{address}: {error}\n{log()}") from error
        except OSError:
            assert is_running(), log()
            assert time.monotonic() < deadline, log()
            time.sleep(0.2)
