"""Shared by the two fork servers: forking children, and noticing that they have ended."""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

__all__ = ["ended_children", "fork", "tell", "wake_on_children"]


def fork(work: Callable[[], int], *, log: Path, close: Iterable[int] = ()) -> int:
    """Fork a child that calls `work` in its own session, and return its pid; `work` returns the exit code.

    The child's standard input is empty and its output goes to `log`; it closes the file descriptors in `close`.
    """
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        for number in close:
            os.close(number)
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        empty = os.open(os.devnull, os.O_RDONLY)
        for source, number in ((empty, 0), (out, 1), (out, 2)):
            os.dup2(source, number)
        os.close(out)
        os.close(empty)
        code = work()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1 if error.code else 0
    except BaseException:  # noqa: BLE001 - a child that failed must not go on as a second server
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):
                # The reader has ended.
                continue
        os._exit(code)


def wake_on_children() -> tuple[int, int]:
    """A pipe to `select` on: its first end becomes readable when a child has ended."""
    ends = os.pipe()
    for end in ends:
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(ends[1])
    return ends


def ended_children() -> Iterator[tuple[int, int]]:
    """The children that have ended since the last call, with exit codes; minus the signal's number if killed."""
    while True:
        try:
            child, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if child == 0:
            return
        yield child, os.waitstatus_to_exitcode(status)


def tell(message: Mapping[str, object]) -> None:
    """Write a line of JSON to standard output, which the process that started the server reads."""
    os.write(1, json.dumps(message).encode() + b"\n")
