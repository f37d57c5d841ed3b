"""What only a live cluster can prove of `submit`: the reference pipelines run there, and give what they give here.

    KALEYARD_KFP_HOST=http://... KALEYARD_REGISTRY=... make test-cluster

The images are built and pushed to that registry first; steps' pods are read by kubectl's configuration.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

# Read before the tests' own settings hide them.
SETTINGS = {name: value for name, value in os.environ.items() if name.startswith(("KALEYARD_", "KF_PIPELINES_"))}
# Skops writes ids and times into what `deploy` packs: its bytes are other ones each time.
CHANGING = {"package"}

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif("KALEYARD_KFP_HOST" not in SETTINGS, reason="KALEYARD_KFP_HOST names no Kubeflow Pipelines"),
]


def kaleyard(root: Path, *arguments: str) -> Any:
    command = [sys.executable, "-m", "kaleyard", *arguments, "--json"]
    done = subprocess.run(
        command, cwd=root, env=os.environ | SETTINGS, capture_output=True, text=True, timeout=1800, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", ["housing", "compare"])
def test_a_reference_pipeline_gives_there_what_it_gives_here(name: str, repository: Path) -> None:
    notebook = f"notebooks/{name}.ipynb"
    kaleyard(repository, "build", notebook)
    there = kaleyard(repository, "submit", notebook, "--wait", "--timeout", "1500")
    here = kaleyard(repository, "run", notebook)
    assert there["run"]["state"] == "done"
    steps = {step["name"]: step["state"] for step in there["run"]["steps"]}
    assert steps.keys() == here["steps"].keys()
    assert set(steps.values()) <= {"done", "cached"}
    for step, given in there["results"].items():
        assert given["metrics"] == pytest.approx(here["steps"][step]["metrics"])
        digests = {a["name"]: a["sha256"] for a in here["steps"][step]["artifacts"] if a["name"] not in CHANGING}
        assert {n: d for n, d in given["sha256"].items() if n not in CHANGING} == digests
