"""Warm kernels: a process that has imported what the steps import, and forks a kernel for each.

`python -m kaleyard.execution.prewarm.kernel_server FOLDER` listens on `FOLDER/kernels`. It reads modules to import
from standard input, as lines of JSON, and ends when that closes, with all its kernels. While idle it keeps one kernel
ready that lacks only a folder and an environment, which come with the request. Kernels are isolated from each other:
each is a process of its own, forked before any user code has run.
"""

from __future__ import annotations

import gc
import json
import os
import secrets
import select
import shutil
import signal
import socket
import sys
from collections import deque
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kaleyard.execution.prewarm.forking import ended_children, fork, tell, wake_on_children
from kaleyard.execution.prewarm.preload import UnsafeImportError, preload
from kaleyard.runtime.import_shortcuts import skip_iri_grammar

if TYPE_CHECKING:
    from kaleyard.execution.prewarm.ipython_stub import StandIn

__all__ = ["serve"]

# What each kernel needs, whatever its step imports; its shell brings IPython and ipykernel.
_EVERY = ("kaleyard.runtime.exchange.kernel_io",)


@dataclass(slots=True)
class _Kernel:
    """A forked kernel: `connection` as jupyter_client has it, `orders` the pipe it waits at, `age` its imports."""

    pid: int
    folder: Path
    connection: dict[str, Any]
    orders: int
    age: int
    ended: bool = False


class _Server:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shell: StandIn  # set before it serves: IPython takes a while, and who asks can wait at the socket
        self.modules: deque[str] = deque()
        self.age = 0
        self.count = 0
        self.wanted = 0
        self.cold = ""
        self.spare: _Kernel | None = None
        self.clients: dict[socket.socket, _Kernel | None] = {}
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(folder / "k"))
        self.listener.listen(256)
        # Who waits for the name to be there connects at once, and would be refused before this listens.
        (folder / "k").rename(folder / "kernels")
        self.wake, self.woken = wake_on_children()

    def serve(self) -> None:
        waiting = b""
        while True:
            idle = not self.modules and not self._wants_spare()
            sources: list[Any] = [0, self.wake, self.listener, *self.clients]
            ready, _, _ = select.select(sources, [], [], None if idle else 0)
            if self.wake in ready:
                os.read(self.wake, 4096)
                self._tell_ended()
            if 0 in ready:
                data = os.read(0, 1 << 20)
                if not data:
                    return
                *lines, waiting = (waiting + data).split(b"\n")
                for line in lines:
                    self._take(json.loads(line))
            if self.listener in ready:
                self.clients[self.listener.accept()[0]] = None
            for client in [c for c in ready if isinstance(c, socket.socket) and c in self.clients]:
                self._answer(client)
            if not ready and self.modules:
                self._import(self.modules.popleft())
            elif not ready and self._wants_spare():
                self.spare = self._ready_kernel()

    def _take(self, told: dict[str, Any]) -> None:
        self.wanted = told.get("kernels", self.wanted)
        self.modules += told.get("modules", ())

    def _wants_spare(self) -> bool:
        old = self.spare is None or self.spare.age != self.age
        return old and self.wanted > 0 and not self.cold and not self.modules

    def _import(self, name: str) -> None:
        if self.cold:
            return
        try:
            with self.shell.importing(name):
                new = preload(name)
            self.age += new
        except UnsafeImportError as error:
            self.cold = str(error)
            tell({"cold": self.cold})

    def _answer(self, client: socket.socket) -> None:
        """Give a kernel to who asks; kill that of who is gone."""
        try:
            data = client.recv(1 << 20)
        except OSError:
            data = b""
        kernel = self.clients[client]
        if not data:
            del self.clients[client]
            client.close()
            if kernel is not None:
                _kill(kernel)
            return
        while not data.endswith(b"\n"):
            more = client.recv(1 << 20)
            if not more:
                return
            data += more
        request = json.loads(data)
        for name in request.get("modules", ()):
            self._import(name)
        if self.cold:
            del self.clients[client]
            client.close()
            return
        kernel = self._ready_kernel()
        os.write(kernel.orders, json.dumps(request).encode() + b"\n")
        os.close(kernel.orders)
        kernel.orders = -1
        self.clients[client] = kernel
        self.wanted -= 1
        answer = {"pid": kernel.pid, "folder": str(kernel.folder), "connection": kernel.connection}
        client.sendall(json.dumps(answer).encode() + b"\n")

    def _ready_kernel(self) -> _Kernel:
        spare, self.spare = self.spare, None
        if spare is not None and spare.age == self.age:
            return spare
        if spare is not None:
            os.close(spare.orders)
        return self._fork()

    def _fork(self) -> _Kernel:
        self.count += 1
        folder = self.folder / str(self.count)
        folder.mkdir()
        ports = {f"{n}_port": i for i, n in enumerate(("shell", "iopub", "stdin", "control", "hb"), 1)}
        key = secrets.token_hex(16)
        about = {"transport": "ipc", "ip": str(folder / "s"), "key": key, "signature_scheme": "hmac-sha256"}
        connection = ports | about | {"kernel_name": ""}
        (folder / "kernel.json").write_text(json.dumps(connection), encoding="utf-8")
        reads, writes = os.pipe()
        ours = [self.wake, self.woken, self.listener.fileno(), writes, *(c.fileno() for c in self.clients)]
        # Memory that no collection visits stays shared.
        gc.freeze()
        pid = fork(lambda: _run_kernel(folder, reads, self.shell), log=folder / "log.txt", close=ours)
        os.close(reads)
        return _Kernel(pid, folder, connection, writes, self.age)

    def _tell_ended(self) -> None:
        ended = dict(ended_children())
        if self.spare is not None and self.spare.pid in ended:
            os.close(self.spare.orders)
            self.spare = None
        for client, kernel in list(self.clients.items()):
            if kernel is not None and kernel.pid in ended:
                kernel.ended = True
                try:
                    client.sendall(json.dumps({"code": ended[kernel.pid]}).encode() + b"\n")
                except OSError:
                    # Who asked for it is gone; the end of the connection will be seen.
                    continue

    def end(self) -> None:
        """Kill every kernel, since nobody is there who could ask for what they make, and clear away."""
        kernels = [*self.clients.values(), self.spare]
        for kernel in kernels:
            if kernel is not None:
                _kill(kernel)
        shutil.rmtree(self.folder, ignore_errors=True)


def serve(folder: Path) -> None:
    """Serve until standard input ends."""
    # The folder this was started in, which `-m` puts there: a kernel's folder comes later.
    del sys.path[0]
    # As ipykernel would set it for each kernel; some packages ask when they are imported.
    os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    skip_iri_grammar()
    server = _Server(folder)
    from kaleyard.execution.prewarm.ipython_stub import StandIn

    server.shell = StandIn(folder / "shell")
    for name in _EVERY:
        with server.shell.importing(name):
            import_module(name)
    try:
        server.serve()
    finally:
        server.end()


def _run_kernel(folder: Path, orders: int, shell: StandIn) -> int:
    """Be a kernel: all made ready, then the folder and environment of the step, then its cells."""
    from kaleyard.execution.prewarm.ipython_stub import launcher

    os.environ |= {"IPYTHONDIR": str(folder / "ipython"), "JUPYTER_RUNTIME_DIR": str(folder)}
    inherited = dict(os.environ)
    file = str(folder / "kernel.json")
    app = shell.start_kernel(["-f", file])
    told = {name: value for name, value in os.environ.items() if inherited.get(name) != value}
    with os.fdopen(orders, "rb") as pipe:
        line = pipe.readline()
    if not line:
        return 0
    request = json.loads(line)
    environment = request["environment"]
    _become(request["folder"], environment, told | shell.environment(environment))
    sys.argv = [launcher(), "-f", file, *request["arguments"]]
    app.shell.user_ns["_dh"][:] = [type(place)(request["folder"]) for place in app.shell.user_ns["_dh"]]
    app.start()
    return 0


def _become(folder: str, environment: dict[str, str], told: dict[str, str]) -> None:
    """Make this process as if started in that folder and environment; `told` is what the kernel and modules set."""
    before = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    paths = [p for p in environment.get("PYTHONPATH", "").split(os.pathsep) if p]
    backend = environment.get("MPLBACKEND", os.environ["MPLBACKEND"])
    os.environ.clear()
    os.environ.update(environment | told | {"MPLBACKEND": backend})
    os.chdir(folder)
    sys.path[:] = [*paths, *(p for p in sys.path if p not in before and p not in paths)]
    if "numpy" in sys.modules:
        # Python's own random numbers are seeded anew after a fork; numpy's old ones are not.
        sys.modules["numpy"].random.seed()


def _kill(kernel: _Kernel) -> None:
    """Kill a kernel with what it has started; where it has ended, what is left of that."""
    try:
        os.killpg(kernel.pid, signal.SIGKILL)
    except ProcessLookupError:
        # It has ended by itself, or has not made its session yet.
        if not kernel.ended:
            os.kill(kernel.pid, signal.SIGKILL)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
