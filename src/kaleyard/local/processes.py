"""Starting a step's process: by the fork server where there is one, as a new Python where there is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

__all__ = ["StepProcess", "start_process"]


class StepProcess(Protocol):
    """What of `subprocess.Popen` is needed of a step's process."""

    pid: int
    returncode: int | None

    def wait(self, timeout: float | None = None) -> int:
        """The exit code; raises `subprocess.TimeoutExpired` if it takes longer."""
        ...

    def send_signal(self, sig: int) -> None:
        """Send a signal, unless the process has ended."""
        ...


def start_process(arguments: Sequence[str], folder: Path, log: Path, environment: dict[str, str]) -> StepProcess:
    """A process that does `python -m kaleyard.runtime ARGUMENTS`, in a session of its own, its output in `log`.

    Raises OSError if no process can be started.
    """
    log.write_bytes(b"")
    server = _Server.get()
    if server is not None:
        try:
            return server.start(arguments, folder, log, environment)
        except OSError:
            # The server has died (it may have been killed): this step and those after it start without one.
            _Server.give_up()
    command = [sys.executable, "-m", "kaleyard.runtime", *arguments]
    with log.open("ab") as out:
        return subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )


class _Forked:
    """A child of the fork server."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.ended = threading.Event()

    def wait(self, timeout: float | None = None) -> int:
        if not self.ended.wait(timeout):
            raise subprocess.TimeoutExpired(["step"], timeout or 0)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, sig: int) -> None:
        if not self.ended.is_set():
            os.kill(self.pid, sig)

    def end(self, code: int) -> None:
        self.returncode = code
        self.ended.set()


class _Server:
    """The fork server of this process, started when it is first needed; it ends with this process."""

    _one: _Server | None = None
    _given_up = not hasattr(os, "fork") or sys.platform == "darwin"  # forking is unsafe with Apple's libraries
    _lock = threading.Lock()

    @classmethod
    def get(cls) -> _Server | None:
        """The server, started if need be; None where there can be none."""
        with cls._lock:
            if cls._given_up or os.environ.get("KALEYARD_COLD"):
                return None
            if cls._one is None or cls._one.pid != os.getpid():
                cls._one = cls()
            return cls._one

    @classmethod
    def give_up(cls) -> None:
        """No more servers in this process."""
        cls._given_up = True

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "kaleyard.local.forkserver"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._children: dict[int, _Forked] = {}
        self._starting: dict[int, tuple[threading.Event, list[_Forked]]] = {}
        self._count = 0
        self._mutex = threading.Lock()
        threading.Thread(target=self._listen, daemon=True).start()

    def start(self, arguments: Sequence[str], folder: Path, log: Path, environment: dict[str, str]) -> _Forked:
        """Ask for a child and wait until it has started. Raises OSError if the server is gone."""
        begun, child = threading.Event(), list[_Forked]()
        with self._mutex:
            self._count += 1
            number = self._count
            self._starting[number] = (begun, child)
            request = {"id": number, "arguments": list(arguments), "folder": str(folder), "log": str(log)}
            line = json.dumps(request | {"environment": environment}) + "\n"
            assert self._process.stdin is not None
            self._process.stdin.write(line.encode())
            self._process.stdin.flush()
        begun.wait()
        if not child:
            raise BrokenPipeError
        return child[0]

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            message = json.loads(line)
            with self._mutex:
                if "started" in message:
                    child = _Forked(message["started"])
                    self._children[child.pid] = child
                    begun, made = self._starting.pop(message["id"])
                    made.append(child)
                    begun.set()
                else:
                    self._children.pop(message["ended"]).end(message["code"])
        # The server is gone: its children stop by themselves, and who waits for one must hear of it.
        with self._mutex:
            for begun, _ in self._starting.values():
                begun.set()
            for child in self._children.values():
                child.end(1)
