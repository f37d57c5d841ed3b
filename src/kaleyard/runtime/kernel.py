"""The kernel of a step: this very Python's, whatever kernels the user has installed, over local sockets.

A kernel spec called `python3` in the user's home may start some other Python, so none is looked up. Sockets are
files in a private folder where the system has them: no port to race for, and no other user can connect.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec

__all__ = ["StepKernelManager", "exit_status"]

_LONGEST = 50
_STARTED: list[Any] = []


class StepKernelManager(AsyncKernelManager):  # type: ignore[misc]
    """Starts ipykernel with this interpreter; remembers the process, so that its end can be told."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        folder = os.environ.get("JUPYTER_RUNTIME_DIR", "")
        # The name of a socket must be short: where temporary files have long paths, there is TCP.
        if os.name == "posix" and 0 < len(folder) < _LONGEST:
            self.transport = "ipc"
            self.ip = f"{folder}/socket"

    @property
    def kernel_spec(self) -> KernelSpec:
        """Ipykernel of this interpreter, without history (its database is shared and locks)."""
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        argv += ["--HistoryManager.enabled=False", "--InteractiveShell.colors=linux"]
        return KernelSpec(argv=argv, display_name="Python 3", language="python", metadata={"debugger": False})

    async def _async_start_kernel(self, **kwargs: Any) -> None:
        await super()._async_start_kernel(**kwargs)
        process = getattr(self.provisioner, "process", None)
        if process is not None:
            _STARTED.append(process)

    start_kernel = _async_start_kernel


def exit_status() -> int | None:
    """How the last kernel's process ended: its exit code, minus the signal's number; None if it runs or never ran."""
    if not _STARTED:
        return None
    code = _STARTED[-1].poll()
    return None if code is None else int(code)
