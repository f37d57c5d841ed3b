"""Programs that tests of the cluster's files need: skipped for want of them on a laptop, never in CI."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

__all__ = ["kustomize", "program"]


def program(*names: str) -> str:
    """The first of the programs that is here."""
    found = next((path for path in map(shutil.which, names) if path), None)
    if found is None and os.environ.get("CI"):
        pytest.fail(f"none of {', '.join(names)} is here: .ci/tools installs them")
    if found is None:
        pytest.skip(f"needs {' or '.join(names)}")
    return found


def kustomize(folder: Path) -> list[dict[str, Any]]:
    """The objects of a kustomization, built by the real kubectl, or by kustomize itself."""
    command = program("kubectl", "kustomize")
    verb = "kustomize" if Path(command).name == "kubectl" else "build"
    done = subprocess.run(
        [command, verb, "--load-restrictor", "LoadRestrictionsNone", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.safe_load_all(done.stdout) if one]
