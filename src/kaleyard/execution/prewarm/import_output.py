"""Records what modules print and warn while they are preloaded, and replays it in the cell that imports them.

Without preloading, a warning about a missing progress bar, for example, appears below the cell with the import. The
warning filters that a module adds are replayed too, so that they take effect at the same point.
"""

from __future__ import annotations

import ast
import importlib
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from kaleyard.execution.prewarm.preload import imported_by

__all__ = ["IMPORT_OUTPUT", "ImportOutput", "replay"]


@dataclass(slots=True, eq=False)
class ImportOutput:
    """The recorded output of each module, as functions that repeat it."""

    recorded: dict[str, list[Callable[[], object]]] = field(default_factory=dict)
    _current: list[Callable[[], object]] = field(default_factory=list)
    _shell: Any = None

    @contextmanager
    def of(self, module: str) -> Iterator[None]:
        """Record the output in this context as this module's."""
        showwarning, warnings.showwarning = warnings.showwarning, self._warned
        before = list(warnings.filters)
        self._current = []
        try:
            yield
        finally:
            # Unless the module has replaced it.
            if warnings.showwarning == self._warned:
                warnings.showwarning = showwarning
            # Filters that the module appended stay in place.
            added = list(takewhile(lambda f: f not in before, warnings.filters))
            if added:
                self._current.append(lambda: _put_first(added))
            if self._current:
                self.recorded[module] = self._current

    def record_text(self, stream: str, text: str) -> None:
        """Record text that was written to the stream with this name."""
        self._current.append(lambda: getattr(sys, stream).write(text))

    def _warned(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: object = None,  # noqa: ARG002 - as warnings.showwarning has it
        line: str | None = None,  # noqa: ARG002
    ) -> None:
        if filename == importlib.__file__:
            # The warning is about the importing code: a cell, three calls up from here, through `replay`.
            self._current.append(lambda: warnings.warn(message, category, stacklevel=4))
        else:
            self._current.append(lambda: warnings.warn_explicit(message, category, filename, lineno))

    def wait_for_imports(self, shell: Any) -> None:
        """Replay each module's output in the first cell of this shell that imports it."""
        if self.recorded:
            self._shell = shell
            shell.ast_transformers.append(self)

    def visit(self, tree: ast.Module) -> ast.Module:
        """The cell with a call of `replay` before each import of a module with recorded output."""
        body: list[ast.stmt] = []
        for node in tree.body:
            body += [_replay_call(name, node) for name in imported_by(node) if name in self.recorded]
            body.append(node)
        tree.body = body
        return tree

    def replay(self, module: str) -> None:
        """Repeat the module's output, once."""
        for repeat in self.recorded.pop(module, ()):
            repeat()
        if not self.recorded and self._shell is not None and self in self._shell.ast_transformers:
            self._shell.ast_transformers.remove(self)


IMPORT_OUTPUT = ImportOutput()


def replay(module: str) -> None:
    """Repeat the output of a preloaded module, in a cell that imports it."""
    IMPORT_OUTPUT.replay(module)


def _put_first(filters: list[Any]) -> None:
    """Put these warning filters first, as if the module were imported now."""
    if list(warnings.filters[: len(filters)]) != filters:
        others = [f for f in warnings.filters if f not in filters]
        # Python then forgets which warnings were shown, as it does for any change of filters.
        warnings.resetwarnings()
        warnings.filters[:] = [*filters, *others]  # type: ignore[index]


def _replay_call(module: str, location: ast.stmt) -> ast.stmt:
    call = ast.parse(f"__import__({__name__!r}, fromlist=['replay']).replay({module!r})").body[0]
    for node in ast.walk(call):
        ast.copy_location(node, location)
    return call
