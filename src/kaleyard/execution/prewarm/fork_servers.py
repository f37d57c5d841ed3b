"""Starts and calls the fork servers that let steps start warm: the step server and the kernel server.

See `step_server` and `kernel_server` for the processes. Where they cannot run, steps start cold.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["ForkedProcess", "KernelServer", "StepServer", "cold_reason"]

_LONGEST_ADDRESS = 80  # characters; a socket's path may have 107, and kernels append to it
_SHUTDOWN_TIMEOUT = 5.0  # seconds for a server to clean up


def cold_reason() -> str:
    """Why fork servers cannot run here; empty if they can."""
    if os.environ.get("KALEYARD_COLD"):
        return "KALEYARD_COLD is set"
    if not hasattr(os, "fork"):
        return "this system cannot fork processes"
    if sys.platform == "darwin":
        return "forking is unsafe with Apple's libraries"
    return ""


class ForkedProcess:
    """A child of the step server, with the part of `subprocess.Popen` that a step's process needs."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._ended = threading.Event()

    def wait(self, timeout: float | None = None) -> int:
        """The exit code; raises `subprocess.TimeoutExpired` if it takes longer."""
        if not self._ended.wait(timeout):
            raise subprocess.TimeoutExpired(["step"], timeout or 0)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, sig: int) -> None:
        """Send a signal, unless the process has ended."""
        if not self._ended.is_set():
            os.kill(self.pid, sig)

    def end(self, code: int) -> None:
        """Record the exit code."""
        self.returncode = code
        self._ended.set()


class StepServer:
    """The step server: one for this process, ending with it."""

    _instance: StepServer | None = None
    _lost = False
    _lock = threading.Lock()

    @classmethod
    def get(cls) -> StepServer | None:
        """The server, started if necessary; None if it cannot run here."""
        with cls._lock:
            if cls._lost or cold_reason():
                return None
            if cls._instance is None or cls._instance.owner != os.getpid():
                cls._instance = cls()
            return cls._instance

    @classmethod
    def give_up(cls) -> None:
        """Start no more servers in this process."""
        cls._lost = True

    def __init__(self) -> None:
        self.owner = os.getpid()
        self._process = _start("kaleyard.execution.prewarm.step_server")
        self._children: dict[int, ForkedProcess] = {}
        self._starting: dict[int, tuple[threading.Event, list[ForkedProcess]]] = {}
        self._count = 0
        self._mutex = threading.Lock()
        threading.Thread(target=self._listen, daemon=True).start()

    def start(self, request: dict[str, Any]) -> ForkedProcess:
        """Fork a child and wait until it has started. Raises OSError if the server has ended."""
        begun, child = threading.Event(), list[ForkedProcess]()
        with self._mutex:
            self._count += 1
            self._starting[self._count] = (begun, child)
            _send(self._process, request | {"id": self._count})
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
                    child = ForkedProcess(message["started"])
                    self._children[child.pid] = child
                    begun, children = self._starting.pop(message["id"])
                    children.append(child)
                    begun.set()
                else:
                    self._children.pop(message["ended"]).end(message["code"])
        # The server has ended. Its children stop by themselves; wake the threads that wait for them.
        with self._mutex:
            for begun, _ in self._starting.values():
                begun.set()
            for child in self._children.values():
                child.end(1)


class KernelServer:
    """The kernel server of one run. `cold` says why its kernels start cold; empty while they start warm."""

    def __init__(self) -> None:
        self.cold = ""
        self._closed = False
        self._folder = Path(tempfile.mkdtemp(prefix="ky-"))
        self.address = str(self._folder / "kernels")
        if len(self.address) > _LONGEST_ADDRESS:
            self.cold = f"the path {tempfile.gettempdir()} is too long for a socket"
        environment = {"PYTHONHASHSEED": os.environ.get("PYTHONHASHSEED", "0")}
        self._process = _start("kaleyard.execution.prewarm.kernel_server", str(self._folder), **environment)
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def expect(self, modules: Sequence[str], kernels: int) -> None:
        """Send the modules to import and the number of kernels that will be requested."""
        try:
            _send(self._process, {"modules": list(modules), "kernels": kernels})
        except OSError:
            # The server has ended: `_listen` records that.
            return

    def close(self) -> None:
        """End the server and all its kernels, and remove its folder."""
        self._closed = True
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
            self._process.wait(_SHUTDOWN_TIMEOUT)
        except (OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        self._listener.join()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.cold = json.loads(line)["cold"]
        if not self._closed:
            self.cold = self.cold or "the kernel server has ended"


def _start(module: str, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
    # `-m` puts the current folder first on sys.path: a user's random.py must not shadow Python's.
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=sys.prefix,
        env=os.environ | environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _send(process: subprocess.Popen[bytes], message: dict[str, Any]) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps(message).encode() + b"\n")
    process.stdin.flush()
