"""The verbs as functions: what the command line, notebooks and scripts call. A file for each thing they are about."""

from __future__ import annotations

from kaleyard.api.cluster import submit
from kaleyard.api.diagnosis import doctor
from kaleyard.api.history import compare_runs, logs, runs
from kaleyard.api.images import build
from kaleyard.api.notebooks import Compiled, check, compile, pipeline_notebooks, read, show  # noqa: A004 - verbs' names
from kaleyard.api.projects import new, update
from kaleyard.api.running import run

__all__ = [
    "Compiled",
    "build",
    "check",
    "compare_runs",
    "compile",
    "doctor",
    "logs",
    "new",
    "pipeline_notebooks",
    "read",
    "run",
    "runs",
    "show",
    "submit",
    "update",
]
