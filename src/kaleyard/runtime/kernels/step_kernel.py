"""The kernel of a step: ipykernel in this Python, over local sockets.

Installed kernel specs are ignored, because `python3` in the user's home may start another Python. Where the system
has Unix sockets, they are files in a private folder: no races for ports, and no other user can connect.
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

_MAX_FOLDER_LENGTH = 50
_REPLY_TIMEOUT = 1.0  # seconds until a kernel that does not reply is asked again
_IDLE_TIMEOUT = 0.2  # seconds until the idle message should follow the reply
_POLL_INTERVAL = 0.005
_PROCESSES: list[Any] = []


class StepKernelClient(AsyncKernelClient):  # type: ignore[misc]
    """Waits until a new kernel has replied and published a message."""

    async def _async_wait_for_ready(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - its parent's
        """Wait until the kernel is ready, without the 0.2 seconds of silence that jupyter_client waits for.

        Raises RuntimeError if the kernel dies, or takes longer than `timeout` seconds.
        """
        deadline = time.monotonic() + (timeout or float("inf"))
        while not await self._has_replied(self.kernel_info()):
            if not await self._async_is_alive():
                raise RuntimeError("Kernel died before replying to kernel_info")
            if time.monotonic() > deadline:
                raise RuntimeError(f"Kernel didn't respond in {timeout:g} seconds")

    wait_for_ready = _async_wait_for_ready

    async def _has_replied(self, request_id: str) -> bool:
        """Whether the reply arrives and the kernel is idle after it: then no output can be missed."""
        try:
            while True:
                reply = await self.shell_channel.get_msg(timeout=_REPLY_TIMEOUT)
                if reply["msg_type"] == "kernel_info_reply" and reply["parent_header"].get("msg_id") == request_id:
                    break
            while True:
                message = await self.iopub_channel.get_msg(timeout=_IDLE_TIMEOUT)
                idle = message["msg_type"] == "status" and message["content"]["execution_state"] == "idle"
                if idle and message["parent_header"].get("msg_id") == request_id:
                    break
        except Empty:
            return False
        self._handle_kernel_info_reply(reply)
        return True


class StepKernelManager(AsyncKernelManager):  # type: ignore[misc]
    """Starts ipykernel with this interpreter, and keeps its process for `exit_status`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(client_class=f"{__name__}.{StepKernelClient.__name__}", **kwargs)
        folder = os.environ.get("JUPYTER_RUNTIME_DIR", "")
        # Paths of sockets must be short: with a long temporary path, the kernel uses TCP.
        if os.name == "posix" and 0 < len(folder) < _MAX_FOLDER_LENGTH:
            self.transport = "ipc"
            self.ip = f"{folder}/socket"

    @property
    def kernel_spec(self) -> KernelSpec:
        """Ipykernel in this interpreter, without history, whose shared database would lock."""
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        argv += ["--HistoryManager.enabled=False", "--InteractiveShell.colors=linux"]
        return KernelSpec(argv=argv, display_name="Python 3", language="python", metadata={"debugger": False})

    async def _async_start_kernel(self, **kwargs: Any) -> None:
        await super()._async_start_kernel(**kwargs)
        process = getattr(self.provisioner, "process", None)
        if process is not None:
            _PROCESSES.append(process)

    start_kernel = _async_start_kernel

    async def _async_wait(self, pollinterval: float = _POLL_INTERVAL) -> None:
        """Wait for the kernel to end, with a short poll interval: a killed kernel ends at once."""
        await super()._async_wait(min(pollinterval, _POLL_INTERVAL))


def exit_status() -> int | None:
    """The exit code of the last kernel, negative for a signal; None if it still runs or never started."""
    if not _PROCESSES:
        return None
    code = _PROCESSES[-1].poll()
    return None if code is None else int(code)
