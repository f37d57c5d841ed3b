"""What the two fork servers share: children that are processes of their own, and word of their end."""

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
    """The pid of a child that does `work` in a session of its own; what it returns is the child's exit code.

    Its standard input is empty and its output goes to `log`; of the server's files it keeps none of `close`.
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
        nothing = os.open(os.devnull, os.O_RDONLY)
        for given, number in ((nothing, 0), (out, 1), (out, 2)):
            os.dup2(given, number)
        os.close(out)
        os.close(nothing)
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
                # Nobody reads any more.
                continue
        os._exit(code)


def wake_on_children() -> tuple[int, int]:
    """The two ends of a pipe whose first can be read when a child has ended: something to `select` on."""
    ends = os.pipe()
    for end in ends:
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(ends[1])
    return ends


def ended_children() -> Iterator[tuple[int, int]]:
    """The children that have ended since, with their exit codes; minus the signal's number for a killed one."""
    while True:
        try:
            child, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if child == 0:
            return
        yield child, os.waitstatus_to_exitcode(status)


def tell(message: Mapping[str, object]) -> None:
    """Write a line of JSON to standard output, where the process that started the server listens."""
    os.write(1, json.dumps(message).encode() + b"\n")
