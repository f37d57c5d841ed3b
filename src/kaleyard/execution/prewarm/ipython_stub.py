"""An IPython shell where there is no kernel yet, for modules that look for one when they are imported.

pandas, matplotlib, tqdm, rich, plotly and others ask at import whether they are in a notebook. Where they are imported
ahead of the kernel they must find what they would find in it: a kernel's shell, its streams and its environment. All
of these are made here with the real classes, but without sockets and threads, which no fork would survive. In the
forked kernel the real ones take their place, and what was registered with the first ones goes over to them.
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

from kaleyard.execution.prewarm.import_output import SAYINGS

__all__ = ["StandIn", "kernel_stream", "launcher"]

_ARGUMENTS = ("--HistoryManager.enabled=False", "--InteractiveShell.colors=linux")

# Where a kernel keeps its own files: each has others.
_PLACES = ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR")
# What of a formatter may be changed when a module is imported.
_PRINTERS = ("type_printers", "singleton_printers", "deferred_printers")
_TRANSFORMERS = ("input_transformers_cleanup", "input_transformers_post", "ast_transformers")


def launcher() -> str:
    """The program that runs in a kernel's process, as its `sys.argv` has it."""
    spec = find_spec("ipykernel_launcher")
    return str(spec and spec.origin)


class _Early(OutStream):  # type: ignore[misc]
    """A kernel's stream before there is a kernel: what is written is kept."""

    def __init__(self, name: str) -> None:  # the real one's wants a session and starts threads
        self.name = name

    def write(self, string: str) -> int:
        """Keep the text, until this is a real stream: whoever took this method before then still has it."""
        if type(self) is not _Early:
            return int(OutStream.write(self, string) or 0)
        SAYINGS.wrote(str(self.name), string)
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
        """Stay open: the interpreter closes what it clears away, and this may be a real stream by then."""
        if type(self) is not _Early:
            OutStream.close(self)


_STREAMS = {name: _Early(name) for name in ("stdout", "stderr")}


def kernel_stream(session: Any, thread: Any, name: str, *arguments: Any, **options: Any) -> Any:
    """The stream that modules already have, now a real one. ipykernel calls this as it would call its class."""
    stream = _STREAMS[name]
    stream.__class__ = OutStream
    OutStream.__init__(stream, session, thread, name, *arguments, **options)
    return stream


class StandIn:
    """A kernel and its shell, to import modules in: `with stand_in.importing("pandas"): import pandas`."""

    def __init__(self, folder: Path) -> None:
        before, main = dict(os.environ), sys.modules["__main__"]
        os.environ |= dict.fromkeys(_PLACES, str(folder))
        app = IPKernelApp.instance(parent_handle=os.getppid())
        arguments = ["-f", str(folder / "kernel.json"), *_ARGUMENTS]
        app.parse_command_line(arguments)
        self._arguments = [launcher(), *arguments]
        profile = ProfileDir.create_profile_dir(str(folder / "profile_default"))
        self._app, self._kernel = app, IPythonKernel.instance(parent=app, profile_dir=profile)
        shell = self._shell = self._kernel.shell
        app.kernel, app.shell = self._kernel, shell
        # It would run when this process ends, for a session that never was.
        atexit.unregister(shell.atexit_operations)
        self._main = sys.modules["__main__"]
        sys.modules["__main__"] = main
        self._surroundings = {n: v for n, v in os.environ.items() if before.get(n) != v and n not in _PLACES}
        os.environ.clear()
        os.environ.update(before)
        self._set: dict[str, tuple[str | None, str]] = {}
        self._generators: list[weakref.ref[random.Random]] = []
        self._filters = len(warnings.filters)
        self._born = _registered(shell)

    @contextmanager
    def importing(self, module: str) -> Iterator[None]:
        """Be in a cell of the kernel, as far as this module can tell, which is imported."""
        before, main, streams = dict(os.environ), sys.modules["__main__"], (sys.stdout, sys.stderr)
        arguments, made = sys.argv, random.Random.__init__
        sys.argv = self._arguments
        os.environ.update(self._surroundings)
        given = dict(os.environ)
        sys.modules["__main__"] = self._main
        sys.stdout, sys.stderr = _STREAMS["stdout"], _STREAMS["stderr"]
        random.Random.__init__ = self._note_generator(made)  # type: ignore[method-assign]
        try:
            with self._shell.builtin_trap, self._shell.display_trap, SAYINGS.of(module):
                yield
        finally:
            random.Random.__init__ = made  # type: ignore[method-assign]
            sys.stdout, sys.stderr = streams
            sys.argv = arguments
            sys.modules["__main__"] = main
            self._set |= {n: (before.get(n), v) for n, v in os.environ.items() if given.get(n) != v}
            os.environ.clear()
            os.environ.update(before)

    def environment(self, asked: dict[str, str]) -> dict[str, str]:
        """What IPython and importing have set of the environment, for a kernel that is asked to have this one."""
        # Where it differs from the one that modules were imported in, they might have left it as it is.
        return self._surroundings | {n: value for n, (found, value) in self._set.items() if asked.get(n) == found}

    def start_kernel(self, arguments: list[str]) -> Any:
        """The application of a real kernel, ready to start, in which all goes on that was imported here."""
        filters = list(warnings.filters)
        for made in (self._shell, self._kernel, self._app):
            type(made).clear_instance()
        app = IPKernelApp.instance(parent_handle=os.getppid())
        kind, app.outstream_class = app.outstream_class, f"{__name__}.{kernel_stream.__name__}"
        app.initialize([*arguments, *_ARGUMENTS])
        app.outstream_class = kind
        self._restore_filters(filters)
        _hand_over(self._shell, self._born, app.shell)
        SAYINGS.wait_for_imports(app.shell)
        # Modules may have kept them: from now on they are what the real ones are.
        for ours, real in ((self._app, app), (self._kernel, app.kernel), (self._shell, app.shell)):
            ours.__dict__ = real.__dict__
        for known in self._generators:
            generator = known()
            if generator is not None:
                # Python does so after a fork, but for its own generator only.
                generator.seed()
        return app

    def _restore_filters(self, before: list[Any]) -> None:
        """Put warning filters in the order they have in a kernel that imports after it has started.

        There the kernel's own are behind those of what it imports; some have come to the front just now.
        """
        new = [f for f in warnings.filters if f not in before]
        imported = len(before) - self._filters
        # It has Python forget which warnings were shown, as any change of filters has.
        warnings.resetwarnings()
        warnings.filters[:] = [*before[:imported], *new, *before[imported:]]  # type: ignore[index]

    def _note_generator(self, made: Any) -> Any:
        def note(generator: random.Random, x: Any = None) -> None:
            made(generator, x)
            if x is None:
                self._generators.append(weakref.ref(generator))

        return note


def _registered(shell: Any) -> dict[tuple[str, ...], Any]:
    """What a shell holds that modules may add to, by its place."""
    found: dict[tuple[str, ...], Any] = {("events", n): list(c) for n, c in shell.events.callbacks.items()}
    for kind, formatter in _formatters(shell).items():
        found |= {("printers", kind, name): dict(getattr(formatter, name)) for name in _PRINTERS}
        found["enabled", kind] = formatter.enabled
    found |= {("magics", kind): dict(known) for kind, known in shell.magics_manager.magics.items()}
    found |= {("transformers", name): list(getattr(shell, name)) for name in _TRANSFORMERS}
    found["configurables",] = list(shell.configurables)
    found["names",] = dict(shell.user_ns)
    found["attributes",] = {n: v for n, v in vars(shell).items() if n != "_trait_values"}
    found["errors",] = (shell.custom_exceptions, getattr(shell, "CustomTB", None))
    return found


def _hand_over(old: Any, born: dict[tuple[str, ...], Any], new: Any) -> None:
    """Register with a shell what was registered with another one since it was born."""
    for place, found in _registered(old).items():
        known, (kind, *rest) = born.get(place), place
        if kind == "events":
            for function in _added(found, known):
                new.events.register(rest[0], function)
        elif kind == "printers":
            getattr(_formatters(new)[rest[0]], rest[1]).update(_changed(found, known))
        elif kind == "enabled" and found != known:
            _formatters(new)[rest[0]].enabled = found
        elif kind == "magics":
            new.magics_manager.magics[rest[0]].update(_changed(found, known))
        elif kind == "transformers":
            getattr(new, rest[0]).extend(_added(found, known))
        elif kind == "configurables":
            new.configurables.extend(_added(found, known))
        elif kind == "names":
            new.user_ns.update(_changed(found, known))
        elif kind == "attributes":
            vars(new).update({n: v for n, v in found.items() if n not in (known or {}) and n not in vars(new)})
        elif kind == "errors" and found != known and found[0]:
            new.set_custom_exc(*found)


def _formatters(shell: Any) -> dict[str, Any]:
    """All that a shell formats values with, by what comes of it."""
    display = shell.display_formatter
    own = {"ipython_display": display.ipython_display_formatter, "mimebundle": display.mimebundle_formatter}
    return {**display.formatters, **own}


def _added(found: list[Any], known: list[Any] | None) -> list[Any]:
    return [value for value in found if value not in (known or [])]


def _changed(found: dict[Any, Any], known: dict[Any, Any] | None) -> dict[Any, Any]:
    nothing = object()
    return {name: value for name, value in found.items() if (known or {}).get(name, nothing) is not value}
