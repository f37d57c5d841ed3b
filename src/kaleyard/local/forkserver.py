"""Step runners without their start-up: a process that has imported what every step needs, and forks for each.

`python -m kaleyard.local.forkserver` reads a request a line from standard input, forks a child that runs the step as
`python -m kaleyard.runtime` would, and tells of each child's start and end on standard output. It ends with its input.
Users' code runs in the child's kernel, which is a new process as ever.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
from typing import Any, NoReturn

from kaleyard.runtime.imports import skip_iri_grammar

__all__ = ["serve"]


def serve() -> None:
    """Serve until standard input ends; children go on, and end by themselves when their parent is gone."""
    skip_iri_grammar()
    import nbconvert.exporters.html
    import papermill
    import psutil

    from kaleyard.runtime import __main__, engine, page

    del nbconvert, papermill, psutil, __main__, engine, page
    wake, woken = os.pipe()
    for end in (wake, woken):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(woken)
    waiting = b""
    while True:
        ready, _, _ = select.select([0, wake], [], [])
        if wake in ready:
            os.read(wake, 4096)
            _tell_ended()
        if 0 in ready:
            data = os.read(0, 1 << 20)
            if not data:
                return
            *lines, waiting = (waiting + data).split(b"\n")
            for line in lines:
                _start(json.loads(line))


def _start(request: dict[str, Any]) -> None:
    child = os.fork()
    if child == 0:
        _run(request)
    _tell({"id": request["id"], "started": child})


def _tell_ended() -> None:
    while True:
        try:
            child, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if child == 0:
            return
        _tell({"ended": child, "code": os.waitstatus_to_exitcode(status)})


def _tell(message: dict[str, Any]) -> None:
    os.write(1, json.dumps(message).encode() + b"\n")


def _run(request: dict[str, Any]) -> NoReturn:
    """Become the step's process: its own session, environment, folder and log; never returns."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        os.environ.clear()
        os.environ.update(request["environment"])
        os.chdir(request["folder"])
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for given, number in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(given, number)
        from kaleyard.runtime.__main__ import main

        code = main(request["arguments"])
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:  # noqa: BLE001 - a child that failed must not go on as a second server
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve()
