"""Kale's reader of tags, without the packages that Kale imports to compile and to talk to clusters.

`import kale` imports kfp, the kubernetes client and others in 2 s, and reading tags needs none of them. While Kale
reads, empty modules replace its modules that need them; afterwards all of Kale's modules are removed from
`sys.modules`, so that other code in this process can import the complete Kale.
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

# Modules of Kale 2.3 that compile or contact clusters: reading tags calls nothing in them.
_LEFT_OUT = ("kale.compiler", "kale.common.kfutils", "kale.common.k8sutils", "kale.common.kfputils")
# Kale uses it only to read the file, which is not needed here; importing it takes 0.3 s.
_FORMAT = "nbformat"
_LOCK = threading.RLock()
_LEAN: dict[str, types.ModuleType] = {}


class _StandIn(types.ModuleType):
    """A module from which any name can be imported, for code that never uses it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {"__doc__": f"Stands for {self.__name__}.{name}."})


@contextlib.contextmanager
def kale_reader() -> Iterator[tuple[Any, Any]]:
    """Kale's modules `kale.processors.nbprocessor` and `kale.step`, for use within the `with` block.

    Raises ImportError if Kale is not installed.
    """
    skip_iri_grammar()
    with _LOCK:
        imported_before = _loaded_kale_modules()
        try:
            if imported_before:
                _import_reader()
            else:
                _import_without_cluster_code()
            yield sys.modules["kale.processors.nbprocessor"], sys.modules["kale.step"]
        finally:
            if not imported_before:
                _LEAN.update(_loaded_kale_modules())
                for name in _LEAN:
                    sys.modules.pop(name, None)


def _import_without_cluster_code() -> None:
    if _LEAN:
        sys.modules.update(_LEAN)
        return
    stand_ins = {name: _StandIn(name) for name in _LEFT_OUT}
    if _FORMAT not in sys.modules:
        stand_ins[_FORMAT] = _StandIn(_FORMAT)
    sys.modules.update(stand_ins)
    try:
        _import_reader()
    except (ImportError, AttributeError, TypeError):
        # An unknown version of Kale: import all of it.
        for name in _loaded_kale_modules():
            del sys.modules[name]
        _remove_format_stand_in()
        _import_reader()
    finally:
        _remove_format_stand_in()


def _remove_format_stand_in() -> None:
    if isinstance(sys.modules.get(_FORMAT), _StandIn):
        del sys.modules[_FORMAT]


def _import_reader() -> None:
    importlib.import_module("kale.processors.nbprocessor")
    importlib.import_module("kale.step")


def _loaded_kale_modules() -> dict[str, types.ModuleType]:
    return {n: m for n, m in sys.modules.items() if n.partition(".")[0] == "kale"}
