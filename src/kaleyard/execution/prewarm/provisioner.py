"""A kernel provisioner that takes kernels from the kernel server: warm, as they have imported what the step imports.

jupyter_client's provisioners are its own way of saying how kernels come to be (entry points of the group
`jupyter_client.kernel_provisioners`). Where no server answers, the kernel starts cold, as it would without this one.
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
_PATIENCE = 60.0  # seconds that a kernel may take to come; importing torch takes ten
_STARTS = 20.0  # seconds that the server may take to listen
_TICK = 0.002


def prepare() -> None:
    """Make the warm provisioner known in this process; elsewhere nobody sees it."""
    group = KernelProvisionerFactory.GROUP_NAME
    KernelProvisionerFactory.instance().provisioners[_WARM] = EntryPoint(
        _WARM, f"{__name__}:{WarmProvisioner.__name__}", group
    )


def use_kernels(address: str, modules: Sequence[str]) -> None:
    """Take the kernels of this process from the server at `address`, with these modules imported."""
    WarmProvisioner.address, WarmProvisioner.modules = address, tuple(modules)
    KernelProvisionerFactory.instance().default_provisioner_name = _WARM


class WarmProvisioner(LocalProvisioner):  # type: ignore[misc]
    """Kernels of the kernel server that listens at `address`, with `modules` imported."""

    address = ""
    modules: tuple[str, ...] = ()

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:
        """The connection of a kernel that runs in the folder and environment asked for."""
        try:
            request = {"folder": str(kwargs.get("cwd") or Path.cwd()), "environment": dict(kwargs["env"])}
            # After `python -m ipykernel_launcher -f FILE`.
            process = _KernelProcess(self.address, request | {"modules": self.modules, "arguments": cmd[5:]})
        except (OSError, ValueError, KeyError) as error:
            print(f"the kernel starts cold: {error!r}", file=sys.stderr)  # noqa: T201 - goes to the step's log
            return await super().launch_kernel(cmd, **kwargs)
        self.process: _KernelProcess | None = process
        self.pid = self.pgid = process.pid
        self.connection_info = process.connection
        return process.connection

    async def wait(self) -> int | None:
        """The exit code, as soon as there is one; LocalProvisioner looks ten times a second."""
        process = self.process
        if not isinstance(process, _KernelProcess):
            code: int | None = await super().wait()
            return code
        while process.poll() is None:  # noqa: ASYNC110 - what there is to wait on is a plain socket
            await asyncio.sleep(_TICK)
        process.close()
        self.process = None
        return process.returncode


class _KernelProcess:
    """What of `subprocess.Popen` is needed of a kernel that another process has forked.

    The server kills it when this connection ends, however that comes about.
    """

    stdin = stdout = stderr = None

    def __init__(self, address: str, request: dict[str, Any]) -> None:
        self.returncode: int | None = None
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._connect(Path(address))
            self._socket.sendall(json.dumps(request).encode() + b"\n")
            told = json.loads(self._line())
            self.pid = int(told["pid"])
            self._folder = Path(told["folder"])
            self.connection = told["connection"] | {"key": told["connection"]["key"].encode()}
            self._socket.setblocking(False)
        except BaseException:
            self._socket.close()
            raise

    def _connect(self, address: Path) -> None:
        """Connect to the server, which may be starting still: as long as its folder is there, it comes."""
        deadline = time.monotonic() + _STARTS
        while not address.exists() and address.parent.is_dir() and time.monotonic() < deadline:
            time.sleep(_TICK)
        self._socket.settimeout(_PATIENCE)
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
            # Without a word the server itself is gone, and its kernels with it.
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
        """Bring what the kernel wrote past its channels to this process's log, and clear away."""
        try:
            with (self._folder / "log.txt").open(errors="replace") as log:
                shutil.copyfileobj(log, sys.stderr)
        except OSError:
            # The server has cleared away before.
            pass
        shutil.rmtree(self._folder, ignore_errors=True)
        self._socket.close()
