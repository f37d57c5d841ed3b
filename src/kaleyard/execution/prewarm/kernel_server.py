"""The kernel server: a process that imports what the steps import, and forks a kernel for each step.

`python -m kaleyard.execution.prewarm.kernel_server FOLDER` listens on `FOLDER/kernels`. It reads the modules to import
from standard input, as lines of JSON, and ends with all its kernels when that closes. While idle it keeps one spare
kernel that only needs a folder and an environment, which come with the request. Kernels are isolated from each other:
each is a separate process, forked before any user code has run.
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

# Imports of every kernel, besides IPython and ipykernel.
_COMMON = ("kaleyard.runtime.exchange.kernel_io",)


@dataclass(slots=True)
class _Kernel:
    """A forked kernel; it waits for its request at `request_pipe`. `connection` is in jupyter_client's form."""

    pid: int
    folder: Path
    connection: dict[str, Any]
    request_pipe: int
    import_generation: int
    ended: bool = False


class _Server:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shell: StandIn  # set later: IPython takes a while to import, and clients can wait at the socket
        self.modules: deque[str] = deque()
        self.import_generation = 0
        self.count = 0
        self.wanted = 0
        self.cold = ""
        self.spare: _Kernel | None = None
        self.clients: dict[socket.socket, _Kernel | None] = {}
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(folder / "k"))
        self.listener.listen(256)
        # Renamed only now: clients connect as soon as the path exists, and must not be refused.
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
                self._report_ended()
            if 0 in ready:
                data = os.read(0, 1 << 20)
                if not data:
                    return
                *lines, waiting = (waiting + data).split(b"\n")
                for line in lines:
                    self._prepare(json.loads(line))
            if self.listener in ready:
                self.clients[self.listener.accept()[0]] = None
            for client in [c for c in ready if isinstance(c, socket.socket) and c in self.clients]:
                self._answer(client)
            if not ready and self.modules:
                self._import(self.modules.popleft())
            elif not ready and self._wants_spare():
                self.spare = self._ready_kernel()

    def _prepare(self, request: dict[str, Any]) -> None:
        self.wanted = request.get("kernels", self.wanted)
        self.modules += request.get("modules", ())

    def _wants_spare(self) -> bool:
        outdated = self.spare is None or self.spare.import_generation != self.import_generation
        return outdated and self.wanted > 0 and not self.cold and not self.modules

    def _import(self, name: str) -> None:
        if self.cold:
            return
        try:
            with self.shell.importing(name):
                self.import_generation += preload(name)
        except UnsafeImportError as error:
            self.cold = str(error)
            tell({"cold": self.cold})

    def _answer(self, client: socket.socket) -> None:
        """Give the client a kernel; if the client has gone, kill its kernel."""
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
        os.write(kernel.request_pipe, json.dumps(request).encode() + b"\n")
        os.close(kernel.request_pipe)
        kernel.request_pipe = -1
        self.clients[client] = kernel
        self.wanted -= 1
        answer = {"pid": kernel.pid, "folder": str(kernel.folder), "connection": kernel.connection}
        client.sendall(json.dumps(answer).encode() + b"\n")

    def _ready_kernel(self) -> _Kernel:
        spare, self.spare = self.spare, None
        if spare is not None and spare.import_generation == self.import_generation:
            return spare
        if spare is not None:
            os.close(spare.request_pipe)
        return self._fork()

    def _fork(self) -> _Kernel:
        self.count += 1
        folder = self.folder / str(self.count)
        folder.mkdir()
        ports = {f"{n}_port": i for i, n in enumerate(("shell", "iopub", "stdin", "control", "hb"), 1)}
        key = secrets.token_hex(16)
        details = {"transport": "ipc", "ip": str(folder / "s"), "key": key, "signature_scheme": "hmac-sha256"}
        connection = ports | details | {"kernel_name": ""}
        (folder / "kernel.json").write_text(json.dumps(connection), encoding="utf-8")
        reads, writes = os.pipe()
        own_files = [self.wake, self.woken, self.listener.fileno(), writes, *(c.fileno() for c in self.clients)]
        # Keep the garbage collector from touching memory that is shared with the fork.
        gc.freeze()
        pid = fork(lambda: _run_kernel(folder, reads, self.shell), log=folder / "log.txt", close=own_files)
        os.close(reads)
        return _Kernel(pid, folder, connection, writes, self.import_generation)

    def _report_ended(self) -> None:
        ended = dict(ended_children())
        if self.spare is not None and self.spare.pid in ended:
            os.close(self.spare.request_pipe)
            self.spare = None
        for client, kernel in list(self.clients.items()):
            if kernel is not None and kernel.pid in ended:
                kernel.ended = True
                try:
                    client.sendall(json.dumps({"code": ended[kernel.pid]}).encode() + b"\n")
                except OSError:
                    # The client has gone: `_answer` handles the closed connection.
                    continue

    def end(self) -> None:
        """Kill all kernels, because nobody is left to use them, and remove the folder."""
        kernels = [*self.clients.values(), self.spare]
        for kernel in kernels:
            if kernel is not None:
                _kill(kernel)
        shutil.rmtree(self.folder, ignore_errors=True)


def serve(folder: Path) -> None:
    """Serve until standard input ends."""
    # `-m` puts the current folder first; a kernel's folder is added later.
    del sys.path[0]
    # ipykernel sets it for each kernel; some packages read it at import.
    os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    skip_iri_grammar()
    server = _Server(folder)
    from kaleyard.execution.prewarm.ipython_stub import StandIn

    server.shell = StandIn(folder / "shell")
    for name in _COMMON:
        with server.shell.importing(name):
            import_module(name)
    try:
        server.serve()
    finally:
        server.end()


def _run_kernel(folder: Path, request_pipe: int, shell: StandIn) -> int:
    """Prepare a kernel, wait for the request, then run it in the step's folder and environment."""
    from kaleyard.execution.prewarm.ipython_stub import launcher

    os.environ |= {"IPYTHONDIR": str(folder / "ipython"), "JUPYTER_RUNTIME_DIR": str(folder)}
    inherited = dict(os.environ)
    file = str(folder / "kernel.json")
    app = shell.start_kernel(["-f", file])
    set_by_kernel = {name: value for name, value in os.environ.items() if inherited.get(name) != value}
    with os.fdopen(request_pipe, "rb") as pipe:
        line = pipe.readline()
    if not line:
        return 0
    request = json.loads(line)
    environment = request["environment"]
    _apply_environment(request["folder"], environment, set_by_kernel | shell.environment(environment))
    sys.argv = [launcher(), "-f", file, *request["arguments"]]
    app.shell.user_ns["_dh"][:] = [type(path)(request["folder"]) for path in app.shell.user_ns["_dh"]]
    app.start()
    return 0


def _apply_environment(folder: str, environment: dict[str, str], changes: dict[str, str]) -> None:
    """Make this process look as if started in that folder and environment; `changes` are by kernel and modules."""
    before = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    paths = [p for p in environment.get("PYTHONPATH", "").split(os.pathsep) if p]
    backend = environment.get("MPLBACKEND", os.environ["MPLBACKEND"])
    os.environ.clear()
    os.environ.update(environment | changes | {"MPLBACKEND": backend})
    os.chdir(folder)
    sys.path[:] = [*paths, *(p for p in sys.path if p not in before and p not in paths)]
    if "numpy" in sys.modules:
        # After a fork, Python reseeds its own random numbers; numpy's legacy ones must be reseeded here.
        sys.modules["numpy"].random.seed()


def _kill(kernel: _Kernel) -> None:
    """Kill a kernel and all processes that it started, even if the kernel itself has ended."""
    try:
        os.killpg(kernel.pid, signal.SIGKILL)
    except ProcessLookupError:
        # It has ended by itself, or has not created its session yet.
        if not kernel.ended:
            os.kill(kernel.pid, signal.SIGKILL)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
