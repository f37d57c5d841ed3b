"""Types of arguments that several verbs take."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["NOTEBOOK"]

NOTEBOOK = click.Path(path_type=Path)
