"""The environment that a new project's `make` makes: made once, for all tests of such projects."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import kaleyard
from container_engine import locked
from project_make import make

__all__ = ["venv"]


@pytest.fixture(scope="session")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That environment's folder: one for all workers."""
    base = tmp_path_factory.getbasetemp()
    place = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "project-environment"
    place.mkdir(exist_ok=True)
    with locked("project-environment"):
        if not (place / "venv" / ".ready").exists():
            folder = kaleyard.new(place / "first project")
            make(folder, "environment", venv=place / "venv")
            assert (folder / "components" / "regression" / "pipeline.yaml").is_file()
    return place / "venv"
