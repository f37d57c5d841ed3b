"""Programs that tests of the cluster's files need: skipped for want of them, but not where every test must run."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from everything import EVERYTHING

__all__ = ["kustomize", "program"]

_PATH = os.environ.get("PATH")  # before any test puts stand-ins in front of it


def program(name: str) -> str:
    """Where the program is."""
    found = shutil.which(name, path=_PATH)
    if found is None and EVERYTHING:
        pytest.fail(f"{name} is not here: .ci/tools installs it")
    if found is None:
        pytest.skip(f"needs {name}")
    return found


def kustomize(folder: Path) -> list[dict[str, Any]]:
    """The objects of a kustomization, built by the real kubectl."""
    done = subprocess.run(
        [program("kubectl"), "kustomize", "--load-restrictor", "LoadRestrictionsNone", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.safe_load_all(done.stdout) if one]
