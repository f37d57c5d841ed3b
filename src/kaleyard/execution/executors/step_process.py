"""Starting a step's process: by the step server where there is one, as a new Python where there is not."""

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
    """What of `subprocess.Popen` is needed of a step's process."""

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
    """What `python -m MODULE ARGUMENTS` would do in that folder and environment, its output in `log`.

    `kernels` is where a kernel server listens, empty for none; `modules` is what the job's kernel will import.
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
    """A process that does the job, in a session of its own. Raises OSError if no process can be started."""
    job.log.write_bytes(b"")
    server = StepServer.get()
    if server is not None:
        try:
            return server.start(job.to_dict())
        except OSError:
            # The server has died (it may have been killed): this step and those after it start without one.
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
