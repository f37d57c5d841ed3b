"""Starts a step's process: forked by the step server, or as a new Python without one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from kaleyard.execution.prewarm.fork_servers import StepServer

__all__ = ["Job", "StepProcess", "start_process"]


class StepProcess(Protocol):
    """The part of `subprocess.Popen` that a step's process needs."""

    pid: int
    returncode: int | None

    def wait(self, timeout: float | None = None) -> int:
        """The exit code; raises `subprocess.TimeoutExpired` if it takes longer."""
        ...

    def send_signal(self, sig: int) -> None:
        """Send a signal, unless the process has ended."""
        ...


@dataclass(frozen=True, slots=True)
class Job:
    """A call of `python -m MODULE ARGUMENTS` in a folder and environment, with its output in `log`.

    `kernels` is the address of a kernel server, empty for none; `modules` are the imports of the job's kernel.
    """

    module: str
    arguments: Sequence[str]
    folder: Path
    log: Path
    environment: dict[str, str]
    kernels: str = ""
    modules: Sequence[str] = ()

    def to_dict(self) -> dict[str, Any]:
        """The job as JSON values, for the step server."""
        return {
            "module": self.module,
            "arguments": list(self.arguments),
            "folder": str(self.folder),
            "log": str(self.log),
            "environment": self.environment,
            "kernels": self.kernels,
            "modules": list(self.modules),
        }


def start_process(job: Job) -> StepProcess:
    """Start a process for the job, in its own session. Raises OSError if that fails."""
    job.log.write_bytes(b"")
    server = StepServer.get()
    if server is not None:
        try:
            return server.start(job.to_dict())
        except OSError:
            # The server has died or was killed: this and later steps start without it.
            StepServer.give_up()
    with job.log.open("ab") as out:
        return subprocess.Popen(
            [sys.executable, "-m", job.module, *job.arguments],
            cwd=job.folder,
            env=job.environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
