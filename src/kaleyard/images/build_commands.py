"""Commands of other programs: their last words when they fail, and their end when a build is interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from kaleyard.errors import ExternalError, Location

__all__ = ["Commands"]

_LAST = 20  # lines
_LINE = 400  # characters
# Builders remove their containers when they are interrupted, if they are left the time.
_PATIENCE = 10


class Commands:
    """Runs commands, several at once; all that still run can be stopped from another thread."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self.stopped = False

    def run(
        self,
        command: Sequence[str],
        what: str,
        *,
        place: Location | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        """Run a command to its end. Raises ExternalError, with its last lines, if it fails or was stopped."""
        with self._lock:
            if self.stopped:
                raise ExternalError(f"{what} was stopped", place=place)
            try:
                process = subprocess.Popen(
                    list(command),
                    env=os.environ | dict(variables or {}),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    errors="replace",
                    # Ctrl-C reaches us alone, who stop it in our own way.
                    start_new_session=True,
                )
            except OSError as error:
                raise ExternalError(f"{what}: {command[0]} cannot be started: {error.strerror}", place=place) from error
            self._running.add(process)
        last: deque[str] = deque(maxlen=_LAST)
        assert process.stdout is not None
        with process, process.stdout:
            last.extend(line.rstrip()[:_LINE] for line in process.stdout if line.strip())
        with self._lock:
            self._running.discard(process)
        if self.stopped:
            raise ExternalError(f"{what} was stopped", place=place)
        if process.returncode:
            raise ExternalError(_told(what, process.returncode, command, last), place=place, fix=_advice(last))

    def stop(self) -> None:
        """End every command that runs, and start none any more."""
        with self._lock:
            self.stopped = True
            left = list(self._running)
        for process in left:
            _signal(process, signal.SIGINT)
        for process in left:
            with suppress(subprocess.TimeoutExpired):
                process.wait(_PATIENCE)
            _signal(process, signal.SIGKILL)


def _signal(process: subprocess.Popen[str], number: signal.Signals) -> None:
    """Send it to the command and to all it started, as far as they are there."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _told(what: str, code: int, command: Sequence[str], last: Sequence[str]) -> str:
    lines = "".join(f"\n    {line}" for line in last)
    return f"{what} failed: {Path(command[0]).name} exited with {code}, and these are its last lines{lines}"


def _advice(last: Sequence[str]) -> str | None:
    """What to do about the failures that builders tell of in words; they have no other way to."""
    text = "\n".join(last).lower()
    for words, advice in _ADVICE.items():
        if any(word in text for word in words):
            return advice
    return None


_ADVICE = {
    ("no space left on device", "disk quota exceeded"): "The builder's disk is full: make room, for example with "
    "`docker system prune` or `podman system prune`.",
    ("certificate_verify_failed", "certificate verify failed"): "A private certificate authority? Give the build its "
    "certificates: --secret id=ca,src=FILE, or KALEYARD_BUILD_CA.",
    ("unauthorized", "authentication required", "denied", "no basic auth credentials"): "Log in to the registry with "
    "`docker login` or `podman login`, whichever is the builder.",
    ("cannot connect to the docker daemon", "cannot connect to podman"): "Start the engine, or choose another: "
    "--builder.",
    ("do not match the hashes",): "The index has other files than the lock: lock again.",
    ("no matching distribution", "could not find a version"): "A private index? Give the build a pip.conf: "
    "--secret id=pipconf,src=FILE, or KALEYARD_BUILD_PIPCONF.",
}
