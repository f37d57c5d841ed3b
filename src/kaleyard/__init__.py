"""Annotated notebooks as pipelines that run here and on any cluster: the public names.

Nothing is imported before it is asked for: a step's kernel imports this package for its `runtime` alone.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kaleyard.api.build import build
    from kaleyard.api.check import check, compile, read, show  # noqa: A004 - the verbs' names
    from kaleyard.api.doctor import doctor
    from kaleyard.api.lock import lock
    from kaleyard.api.login import login
    from kaleyard.api.new import new, update
    from kaleyard.api.run import run
    from kaleyard.api.runs import compare_runs, logs, runs
    from kaleyard.api.submit import submit
    from kaleyard.errors import KaleyardError
    from kaleyard.pipeline import Pipeline
    from kaleyard.records.run_record import Run, load_run
    from kaleyard.rules.findings import Finding

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
    "lock",
    "login",
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
    "Finding": "kaleyard.rules.findings",
    "KaleyardError": "kaleyard.errors",
    "Pipeline": "kaleyard.pipeline",
    "Run": "kaleyard.records.run_record",
    "build": "kaleyard.api.build",
    "check": "kaleyard.api.check",
    "compare_runs": "kaleyard.api.runs",
    "compile": "kaleyard.api.check",
    "doctor": "kaleyard.api.doctor",
    "load_run": "kaleyard.records.run_record",
    "lock": "kaleyard.api.lock",
    "login": "kaleyard.api.login",
    "logs": "kaleyard.api.runs",
    "new": "kaleyard.api.new",
    "read": "kaleyard.api.check",
    "run": "kaleyard.api.run",
    "runs": "kaleyard.api.runs",
    "show": "kaleyard.api.check",
    "submit": "kaleyard.api.submit",
    "update": "kaleyard.api.new",
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
