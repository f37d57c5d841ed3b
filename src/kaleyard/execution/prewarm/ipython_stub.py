"""A stand-in for a kernel's IPython shell, for modules that look for one while they are preloaded.

pandas, matplotlib, tqdm, rich, plotly and others check at import whether they run in a notebook. When they are
preloaded they must find what they would find in a kernel: its shell, streams and environment. These are created here
from the real classes, but without sockets and threads, which do not survive a fork. In the forked kernel the real
objects replace them, and take over what was registered with them.
"""

from __future__ import annotations

import atexit
import io
import os
import random
import sys
import warnings
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ipykernel.iostream import OutStream
from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelapp import IPKernelApp
from IPython.core.profiledir import ProfileDir

from kaleyard.execution.prewarm.import_output import IMPORT_OUTPUT

__all__ = ["StandIn", "kernel_stream", "launcher"]

_ARGUMENTS = ("--HistoryManager.enabled=False", "--InteractiveShell.colors=linux")

# Folders that differ for each kernel.
_KERNEL_FOLDERS = ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR")
# The registries of a formatter that an import may change.
_PRINTERS = ("type_printers", "singleton_printers", "deferred_printers")
_TRANSFORMERS = ("input_transformers_cleanup", "input_transformers_post", "ast_transformers")


def launcher() -> str:
    """The program of a kernel's process, as in its `sys.argv`."""
    spec = find_spec("ipykernel_launcher")
    return str(spec and spec.origin)


class _Early(OutStream):  # type: ignore[misc]
    """A kernel's stream before the kernel exists: it records what is written."""

    def __init__(self, name: str) -> None:  # OutStream's needs a session and starts threads
        self.name = name

    def write(self, string: str) -> int:
        """Record the text, until this is a real stream: modules may have kept this method from before."""
        if type(self) is not _Early:
            return int(OutStream.write(self, string) or 0)
        IMPORT_OUTPUT.record_text(str(self.name), string)
        return len(string)

    def flush(self) -> None:
        """Do nothing, until this is a real stream."""
        if type(self) is not _Early:
            OutStream.flush(self)

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        if type(self) is not _Early:
            return int(OutStream.fileno(self))
        raise io.UnsupportedOperation("fileno")

    def close(self) -> None:
        """Do nothing, until this is a real stream: it must stay open for the kernel."""
        if type(self) is not _Early:
            OutStream.close(self)


_STREAMS = {name: _Early(name) for name in ("stdout", "stderr")}


def kernel_stream(session: Any, thread: Any, name: str, *arguments: Any, **options: Any) -> Any:
    """Turn the stream that modules already have into a real one; ipykernel calls this in place of its class."""
    stream = _STREAMS[name]
    stream.__class__ = OutStream
    OutStream.__init__(stream, session, thread, name, *arguments, **options)
    return stream


class StandIn:
    """A kernel and its shell, to import modules in: `with stand_in.importing("pandas"): import pandas`."""

    def __init__(self, folder: Path) -> None:
        before, main = dict(os.environ), sys.modules["__main__"]
        os.environ |= dict.fromkeys(_KERNEL_FOLDERS, str(folder))
        app = IPKernelApp.instance(parent_handle=os.getppid())
        arguments = ["-f", str(folder / "kernel.json"), *_ARGUMENTS]
        app.parse_command_line(arguments)
        self._arguments = [launcher(), *arguments]
        profile = ProfileDir.create_profile_dir(str(folder / "profile_default"))
        self._app, self._kernel = app, IPythonKernel.instance(parent=app, profile_dir=profile)
        shell = self._shell = self._kernel.shell
        app.kernel, app.shell = self._kernel, shell
        # It would run when this process exits, for a session that was never started.
        atexit.unregister(shell.atexit_operations)
        self._main = sys.modules["__main__"]
        sys.modules["__main__"] = main
        self._shell_environment = {
            n: v for n, v in os.environ.items() if before.get(n) != v and n not in _KERNEL_FOLDERS
        }
        os.environ.clear()
        os.environ.update(before)
        self._set_by_imports: dict[str, tuple[str | None, str]] = {}
        self._generators: list[weakref.ref[random.Random]] = []
        self._filters = len(warnings.filters)
        self._initial = _registered(shell)

    @contextmanager
    def importing(self, module: str) -> Iterator[None]:
        """Make the process look like a kernel that runs a cell, to import this module."""
        before, main, streams = dict(os.environ), sys.modules["__main__"], (sys.stdout, sys.stderr)
        arguments, original_init = sys.argv, random.Random.__init__
        sys.argv = self._arguments
        os.environ.update(self._shell_environment)
        environment = dict(os.environ)
        sys.modules["__main__"] = self._main
        sys.stdout, sys.stderr = _STREAMS["stdout"], _STREAMS["stderr"]
        random.Random.__init__ = self._recording_init(original_init)  # type: ignore[method-assign]
        try:
            with self._shell.builtin_trap, self._shell.display_trap, IMPORT_OUTPUT.of(module):
                yield
        finally:
            random.Random.__init__ = original_init  # type: ignore[method-assign]
            sys.stdout, sys.stderr = streams
            sys.argv = arguments
            sys.modules["__main__"] = main
            changed = {n: v for n, v in os.environ.items() if environment.get(n) != v}
            self._set_by_imports |= {n: (before.get(n), v) for n, v in changed.items()}
            os.environ.clear()
            os.environ.update(before)

    def environment(self, requested: dict[str, str]) -> dict[str, str]:
        """The variables that IPython and imports have set, for a kernel with the requested environment."""
        # Where a variable differs from what a module saw at import, the module might not have changed it.
        changed = {n: value for n, (seen, value) in self._set_by_imports.items() if requested.get(n) == seen}
        return self._shell_environment | changed

    def start_kernel(self, arguments: list[str]) -> Any:
        """The application of a real kernel, ready to start, with everything that was imported here."""
        filters = list(warnings.filters)
        for singleton in (self._shell, self._kernel, self._app):
            type(singleton).clear_instance()
        app = IPKernelApp.instance(parent_handle=os.getppid())
        stream_class, app.outstream_class = app.outstream_class, f"{__name__}.{kernel_stream.__name__}"
        app.initialize([*arguments, *_ARGUMENTS])
        app.outstream_class = stream_class
        self._restore_filters(filters)
        _transfer(self._shell, self._initial, app.shell)
        IMPORT_OUTPUT.wait_for_imports(app.shell)
        # Modules may have kept references to the stand-ins: these now share the state of the real objects.
        for stand_in, real in ((self._app, app), (self._kernel, app.kernel), (self._shell, app.shell)):
            stand_in.__dict__ = real.__dict__
        for reference in self._generators:
            generator = reference()
            if generator is not None:
                # After a fork, Python reseeds only its own generator.
                generator.seed()
        return app

    def _restore_filters(self, before: list[Any]) -> None:
        """Put warning filters in the order that they have in a kernel that imports after its start.

        There the filters of imports come before the kernel's own; starting it has just put some of those first.
        """
        new = [f for f in warnings.filters if f not in before]
        imported = len(before) - self._filters
        # Python then forgets which warnings were shown, as it does for any change of filters.
        warnings.resetwarnings()
        warnings.filters[:] = [*before[:imported], *new, *before[imported:]]  # type: ignore[index]

    def _recording_init(self, original_init: Any) -> Any:
        def init(generator: random.Random, x: Any = None) -> None:
            original_init(generator, x)
            if x is None:
                self._generators.append(weakref.ref(generator))

        return init


def _registered(shell: Any) -> dict[tuple[str, ...], Any]:
    """What modules may register with a shell: each registry's content by its path."""
    registries: dict[tuple[str, ...], Any] = {("events", n): list(c) for n, c in shell.events.callbacks.items()}
    for kind, formatter in _formatters(shell).items():
        registries |= {("printers", kind, name): dict(getattr(formatter, name)) for name in _PRINTERS}
        registries["enabled", kind] = formatter.enabled
    registries |= {("magics", kind): dict(magics) for kind, magics in shell.magics_manager.magics.items()}
    registries |= {("transformers", name): list(getattr(shell, name)) for name in _TRANSFORMERS}
    registries["configurables",] = list(shell.configurables)
    registries["names",] = dict(shell.user_ns)
    registries["attributes",] = {n: v for n, v in vars(shell).items() if n != "_trait_values"}
    registries["errors",] = (shell.custom_exceptions, getattr(shell, "CustomTB", None))
    return registries


def _transfer(old: Any, initial: dict[tuple[str, ...], Any], new: Any) -> None:
    """Register with a shell what was registered with another one after its creation."""
    for path, current in _registered(old).items():
        before, (kind, *rest) = initial.get(path), path
        if kind == "events":
            for function in _added(current, before):
                new.events.register(rest[0], function)
        elif kind == "printers":
            getattr(_formatters(new)[rest[0]], rest[1]).update(_changed(current, before))
        elif kind == "enabled" and current != before:
            _formatters(new)[rest[0]].enabled = current
        elif kind == "magics":
            new.magics_manager.magics[rest[0]].update(_changed(current, before))
        elif kind == "transformers":
            getattr(new, rest[0]).extend(_added(current, before))
        elif kind == "configurables":
            new.configurables.extend(_added(current, before))
        elif kind == "names":
            new.user_ns.update(_changed(current, before))
        elif kind == "attributes":
            vars(new).update({n: v for n, v in current.items() if n not in (before or {}) and n not in vars(new)})
        elif kind == "errors" and current != before and current[0]:
            new.set_custom_exc(*current)


def _formatters(shell: Any) -> dict[str, Any]:
    """All formatters of a shell, by the kind of their output."""
    display = shell.display_formatter
    own = {"ipython_display": display.ipython_display_formatter, "mimebundle": display.mimebundle_formatter}
    return {**display.formatters, **own}


def _added(current: list[Any], before: list[Any] | None) -> list[Any]:
    return [value for value in current if value not in (before or [])]


def _changed(current: dict[Any, Any], before: dict[Any, Any] | None) -> dict[Any, Any]:
    missing = object()
    return {name: value for name, value in current.items() if (before or {}).get(name, missing) is not value}
