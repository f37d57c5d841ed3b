"""Kale's reader of tags, without what the package imports to compile and to talk to clusters.

`import kale` takes kfp, the kubernetes client and their kin with it: 2 s of which reading tags uses nothing. While
Kale reads, its modules that need them are stand-ins; afterwards all of Kale's modules are out of sight again, so that
whoever else imports Kale in this process gets it whole.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import threading
import types
from collections.abc import Iterator
from typing import Any

from kaleyard.runtime.import_shortcuts import skip_iri_grammar

__all__ = ["kale_reader"]

# Of Kale 2.3: they compile, and ask clusters. Reading tags calls nothing of them.
_LEFT_OUT = ("kale.compiler", "kale.common.kfutils", "kale.common.k8sutils", "kale.common.kfputils")
# It reads the file, which is done before; 0.3 s for those who have not imported it anyhow.
_FORMAT = "nbformat"
_LOCK = threading.RLock()
_LEAN: dict[str, types.ModuleType] = {}


class _StandIn(types.ModuleType):
    """A module of which anything can be imported and nothing used."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {"__doc__": f"Stands for {self.__name__}.{name}."})


@contextlib.contextmanager
def kale_reader() -> Iterator[tuple[Any, Any]]:
    """Kale's modules `kale.processors.nbprocessor` and `kale.step`, to be used inside the `with` block.

    Raises ImportError if Kale is not installed.
    """
    skip_iri_grammar()
    with _LOCK:
        whole = _kale()
        try:
            if whole:
                _import()
            else:
                _import_lean()
            yield sys.modules["kale.processors.nbprocessor"], sys.modules["kale.step"]
        finally:
            if not whole:
                _LEAN.update(_kale())
                for name in _LEAN:
                    sys.modules.pop(name, None)


def _import_lean() -> None:
    if _LEAN:
        sys.modules.update(_LEAN)
        return
    given = {name: _StandIn(name) for name in _LEFT_OUT}
    if _FORMAT not in sys.modules:
        given[_FORMAT] = _StandIn(_FORMAT)
    sys.modules.update(given)
    try:
        _import()
    except (ImportError, AttributeError, TypeError):
        # Another Kale than we know: it is imported whole.
        for name in _kale():
            del sys.modules[name]
        _forget_format()
        _import()
    finally:
        _forget_format()


def _forget_format() -> None:
    if isinstance(sys.modules.get(_FORMAT), _StandIn):
        del sys.modules[_FORMAT]


def _import() -> None:
    importlib.import_module("kale.processors.nbprocessor")
    importlib.import_module("kale.step")


def _kale() -> dict[str, types.ModuleType]:
    return {n: m for n, m in sys.modules.items() if n.partition(".")[0] == "kale"}
