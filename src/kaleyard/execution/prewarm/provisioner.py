"""A kernel provisioner that takes warm kernels, with the step's imports done, from the kernel server.

jupyter_client starts kernels through provisioners (entry points of the group `jupyter_client.kernel_provisioners`). If
the server does not answer, the kernel starts cold, as it would without this provisioner.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from jupyter_client.provisioning import KernelProvisionerFactory, LocalProvisioner

__all__ = ["WarmProvisioner", "prepare", "use_kernels"]

_WARM = "kaleyard-warm"
_KERNEL_TIMEOUT = 60.0  # seconds; importing torch takes ten
_SERVER_TIMEOUT = 20.0  # seconds for the server to listen
_TICK = 0.002


def prepare() -> None:
    """Register the warm provisioner, in this process only."""
    group = KernelProvisionerFactory.GROUP_NAME
    KernelProvisionerFactory.instance().provisioners[_WARM] = EntryPoint(
        _WARM, f"{__name__}:{WarmProvisioner.__name__}", group
    )


def use_kernels(address: str, modules: Sequence[str]) -> None:
    """Start this process's kernels from the server at `address`, with these modules imported."""
    WarmProvisioner.address, WarmProvisioner.modules = address, tuple(modules)
    KernelProvisionerFactory.instance().default_provisioner_name = _WARM


class WarmProvisioner(LocalProvisioner):  # type: ignore[misc]
    """Provides kernels from the kernel server at `address`, with `modules` imported."""

    address = ""
    modules: tuple[str, ...] = ()

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:
        """Start a kernel in the requested folder and environment, and return its connection."""
        try:
            request = {"folder": str(kwargs.get("cwd") or Path.cwd()), "environment": dict(kwargs["env"])}
            # After `python -m ipykernel_launcher -f FILE`.
            process = _KernelProcess(self.address, request | {"modules": self.modules, "arguments": cmd[5:]})
        except (OSError, ValueError, KeyError) as error:
            print(f"cold kernel, because the kernel server failed: {error!r}", file=sys.stderr)  # noqa: T201 - goes to the step's log
            return await super().launch_kernel(cmd, **kwargs)
        self.process: _KernelProcess | None = process
        self.pid = self.pgid = process.pid
        self.connection_info = process.connection
        return process.connection

    async def wait(self) -> int | None:
        """Wait for the exit code; more often than LocalProvisioner, which polls ten times a second."""
        process = self.process
        if not isinstance(process, _KernelProcess):
            code: int | None = await super().wait()
            return code
        while process.poll() is None:  # noqa: ASYNC110 - there is only a plain socket to wait on
            await asyncio.sleep(_TICK)
        process.close()
        self.process = None
        return process.returncode


class _KernelProcess:
    """The part of `subprocess.Popen` that a kernel needs which another process has forked.

    The server kills the kernel when this connection ends for any reason.
    """

    stdin = stdout = stderr = None

    def __init__(self, address: str, request: dict[str, Any]) -> None:
        self.returncode: int | None = None
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._connect(Path(address))
            self._socket.sendall(json.dumps(request).encode() + b"\n")
            answer = json.loads(self._line())
            self.pid = int(answer["pid"])
            self._folder = Path(answer["folder"])
            self.connection = answer["connection"] | {"key": answer["connection"]["key"].encode()}
            self._socket.setblocking(False)
        except BaseException:
            self._socket.close()
            raise

    def _connect(self, address: Path) -> None:
        """Connect to the server, which may still be starting: as long as its folder exists, wait for it."""
        deadline = time.monotonic() + _SERVER_TIMEOUT
        while not address.exists() and address.parent.is_dir() and time.monotonic() < deadline:
            time.sleep(_TICK)
        self._socket.settimeout(_KERNEL_TIMEOUT)
        self._socket.connect(str(address))

    def _line(self) -> bytes:
        answer = b""
        while b"\n" not in answer:
            data = self._socket.recv(1 << 16)
            if not data:
                raise ConnectionResetError
            answer += data
        line, _, self._rest = answer.partition(b"\n")
        return line

    def poll(self) -> int | None:
        if self.returncode is None:
            try:
                line = self._rest or self._socket.recv(64)
            except BlockingIOError:
                return None
            except OSError:
                line = b""
            # A closed connection means that the server has ended, with all its kernels.
            self.returncode = json.loads(line)["code"] if line else -signal.SIGKILL
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def close(self) -> None:
        """Copy what the kernel wrote outside its channels to this process's log, and clean up."""
        try:
            with (self._folder / "log.txt").open(errors="replace") as log:
                shutil.copyfileobj(log, sys.stderr)
        except OSError:
            # The server has already removed it.
            pass
        shutil.rmtree(self._folder, ignore_errors=True)
        self._socket.close()
