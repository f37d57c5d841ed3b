"""A project's own `make`."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

__all__ = ["make"]


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
