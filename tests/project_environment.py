"""The environment that a new project's `make` makes: made once, for all tests of such projects."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

import kaleyard
from container_engine import locked

__all__ = ["make", "venv"]


def make(folder: Path, *words: str, venv: Path, timeout: float = 1200) -> str:
    """What `make` prints there; the test fails if it fails."""
    kept = ("PATH", "LANG", "TMPDIR", "CI")
    settings = {name: os.environ[name] for name in kept if name in os.environ}
    settings |= {"HOME": str(venv.parent), "GIT_CONFIG_GLOBAL": os.devnull}
    done = subprocess.run(
        ["make", f"VENV={venv}", *words],
        cwd=folder,
        env=settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=timeout,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


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
