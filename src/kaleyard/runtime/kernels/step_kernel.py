"""The kernel of a step: this very Python's, whatever kernels the user has installed, over local sockets.

A kernel spec called `python3` in the user's home may start some other Python, so none is looked up. Sockets are
files in a private folder where the system has them: no port to race for, and no other user can connect.
"""

from __future__ import annotations

import os
import sys
import time
from queue import Empty
from typing import Any

from jupyter_client import AsyncKernelClient, AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec

__all__ = ["StepKernelManager", "exit_status"]

_LONGEST = 50
_PATIENCE = 1.0  # seconds until a kernel that does not answer is asked again
_ECHO = 0.2  # seconds in which what it publishes should follow its answer
_TICK = 0.005
_STARTED: list[Any] = []


class StepKernelClient(AsyncKernelClient):  # type: ignore[misc]
    """Waits for a new kernel as long as that takes: until it has answered, and been heard to publish."""

    async def _async_wait_for_ready(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - its parent's
        """As jupyter_client's, which in the end waits for a fifth of a second of silence instead.

        Raises RuntimeError if the kernel dies, or takes longer than `timeout` seconds.
        """
        deadline = time.monotonic() + (timeout or float("inf"))
        while not await self._answers(self.kernel_info()):
            if not await self._async_is_alive():
                raise RuntimeError("Kernel died before replying to kernel_info")
            if time.monotonic() > deadline:
                raise RuntimeError(f"Kernel didn't respond in {timeout:g} seconds")

    wait_for_ready = _async_wait_for_ready

    async def _answers(self, asked: str) -> bool:
        """Whether the reply comes, and the word that the kernel is idle after it: then no output can be missed."""
        try:
            while True:
                reply = await self.shell_channel.get_msg(timeout=_PATIENCE)
                if reply["msg_type"] == "kernel_info_reply" and reply["parent_header"].get("msg_id") == asked:
                    break
            while True:
                told = await self.iopub_channel.get_msg(timeout=_ECHO)
                idle = told["msg_type"] == "status" and told["content"]["execution_state"] == "idle"
                if idle and told["parent_header"].get("msg_id") == asked:
                    break
        except Empty:
            return False
        self._handle_kernel_info_reply(reply)
        return True


class StepKernelManager(AsyncKernelManager):  # type: ignore[misc]
    """Starts ipykernel with this interpreter; remembers the process, so that its end can be told."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(client_class=f"{__name__}.{StepKernelClient.__name__}", **kwargs)
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

    async def _async_wait(self, pollinterval: float = _TICK) -> None:
        """Wait for the kernel's end, which comes at once when it is killed."""
        await super()._async_wait(min(pollinterval, _TICK))


def exit_status() -> int | None:
    """How the last kernel's process ended: its exit code, minus the signal's number; None if it runs or never ran."""
    if not _STARTED:
        return None
    code = _STARTED[-1].poll()
    return None if code is None else int(code)
