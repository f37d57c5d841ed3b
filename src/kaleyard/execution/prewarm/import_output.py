"""What modules say when they are imported ahead, kept until a cell imports them.

A warning that no progress bar is there, a greeting: where nobody imports ahead it comes below the cell with the import.
So does a module's choice of which warnings are shown come before what the cell has chosen until then.
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

__all__ = ["SAYINGS", "Sayings", "say"]


@dataclass(slots=True, eq=False)
class Sayings:
    """What each module has said, as what has to be done to say it again."""

    kept: dict[str, list[Callable[[], object]]] = field(default_factory=dict)
    _now: list[Callable[[], object]] = field(default_factory=list)
    _shell: Any = None

    @contextmanager
    def of(self, module: str) -> Iterator[None]:
        """Keep what is said in here as this module's."""
        shows, warnings.showwarning = warnings.showwarning, self._warned
        before = list(warnings.filters)
        self._now = []
        try:
            yield
        finally:
            # A module may have changed it for good.
            if warnings.showwarning == self._warned:
                warnings.showwarning = shows
            # Those put last stay there.
            added = list(takewhile(lambda f: f not in before, warnings.filters))
            if added:
                self._now.append(lambda: _put_first(added))
            if self._now:
                self.kept[module] = self._now

    def wrote(self, stream: str, text: str) -> None:
        """Keep a text for a stream of this name."""
        self._now.append(lambda: getattr(sys, stream).write(text))

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
            # It is about whoever imports the module, which is a cell: three calls up from there, by way of `say`.
            self._now.append(lambda: warnings.warn(message, category, stacklevel=4))
        else:
            self._now.append(lambda: warnings.warn_explicit(message, category, filename, lineno))

    def wait_for_imports(self, shell: Any) -> None:
        """Say in the cells of this shell what was kept, each where the module is imported first."""
        if self.kept:
            self._shell = shell
            shell.ast_transformers.append(self)

    def visit(self, tree: ast.Module) -> ast.Module:
        """The cell with a call of `say` before each import of a module that has something to say."""
        body: list[ast.stmt] = []
        for node in tree.body:
            body += [_call(name, node) for name in imported_by(node) if name in self.kept]
            body.append(node)
        tree.body = body
        return tree

    def again(self, module: str) -> None:
        """Say what the module has said, once."""
        for saying in self.kept.pop(module, ()):
            saying()
        if not self.kept and self._shell is not None and self in self._shell.ast_transformers:
            self._shell.ast_transformers.remove(self)


SAYINGS = Sayings()


def say(module: str) -> None:
    """Say what this module has said when it was imported ahead, in a cell that imports it."""
    SAYINGS.again(module)


def _put_first(filters: list[Any]) -> None:
    """Put these filters of warnings before all others, as they are where the module is imported now."""
    if list(warnings.filters[: len(filters)]) != filters:
        others = [f for f in warnings.filters if f not in filters]
        # It has Python forget which warnings were shown, as any change of filters has.
        warnings.resetwarnings()
        warnings.filters[:] = [*filters, *others]  # type: ignore[index]


def _call(module: str, place: ast.stmt) -> ast.stmt:
    made = ast.parse(f"__import__({__name__!r}, fromlist=['say']).say({module!r})").body[0]
    for node in ast.walk(made):
        ast.copy_location(node, place)
    return made
