"""Annotated notebooks as pipelines that run here and on any cluster: the public names.

Nothing is imported before it is asked for: a step's kernel imports this package for its `runtime` alone.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kaleyard.api import (
        build,
        check,
        compare_runs,
        compile,  # noqa: A004 - the verbs' names
        doctor,
        logs,
        new,
        read,
        run,
        runs,
        show,
        submit,
        update,
    )
    from kaleyard.errors import KaleyardError
    from kaleyard.local.record import Run, load_run
    from kaleyard.notebook.findings import Finding
    from kaleyard.pipeline import Pipeline

__all__ = [
    "Finding",
    "KaleyardError",
    "Pipeline",
    "Run",
    "build",
    "check",
    "compare_runs",
    "compile",
    "doctor",
    "load_run",
    "logs",
    "new",
    "read",
    "run",
    "runs",
    "show",
    "submit",
    "update",
]

_HOME = {
    "Finding": "kaleyard.notebook.findings",
    "KaleyardError": "kaleyard.errors",
    "Pipeline": "kaleyard.pipeline",
    "Run": "kaleyard.local.record",
    "build": "kaleyard.api",
    "check": "kaleyard.api",
    "compare_runs": "kaleyard.api",
    "compile": "kaleyard.api",
    "doctor": "kaleyard.api",
    "load_run": "kaleyard.local.record",
    "logs": "kaleyard.api",
    "new": "kaleyard.api",
    "read": "kaleyard.api",
    "run": "kaleyard.api",
    "runs": "kaleyard.api",
    "show": "kaleyard.api",
    "submit": "kaleyard.api",
    "update": "kaleyard.api",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'kaleyard' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)


def load_ipython_extension(shell: Any) -> None:
    """`%load_ext kaleyard`: `%kaleyard VERB ...` in a notebook or in IPython."""
    import_module("kaleyard.jupyter").load(shell)


def unload_ipython_extension(shell: Any) -> None:
    """`%unload_ext kaleyard`: the magic is gone."""
    import_module("kaleyard.jupyter").unload(shell)
