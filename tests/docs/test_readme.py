"""README's commands, each run as it stands, in README's order, in a copy of the repository beside an empty folder.

What cannot be run here is listed with its reason, so that a new command must either run or be listed.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import kfp_server_api as models
import pytest
from test_pages import CONSOLE

from container_engine import secrets
from kfp_server import run_at, serving_kfp
from template_repository import commit_all, copy_repository

pytest_plugins = ["engine"]

NOT_RUN = {
    "make cluster": "makes a cluster; tests/docs/test_cluster_docs.py runs the scripts with stand-ins",
}
# These need images: the test that has an engine runs them, in their order.
ENGINE = (
    ".venv/bin/kaleyard build",
    ".venv/bin/kaleyard run notebooks/housing.ipynb --runner container",
    ".venv/bin/kaleyard submit notebooks/housing.ipynb --wait",
    ".venv/bin/kaleyard runs housing/latest remote:housing/latest",
    ".venv/bin/kaleyard logs remote:latest",
)
# Where another code than 0 is right.
CODES = {
    ".venv/bin/kaleyard check tests/notebooks/undefined_name.ipynb": {3},
    ".venv/bin/kaleyard doctor": {0, 4},  # whether this machine lacks something is its own affair
    ".venv/bin/kaleyard doctor --for kind": {0, 4},
}
STEPS = ("preprocess", "train", "test", "deploy")


def commands(repository: Path) -> Iterator[str]:
    for block in CONSOLE.findall((repository / "README.md").read_text(encoding="utf-8")):
        for line in block.splitlines():
            if line.startswith("$ "):
                yield re.sub(r"\s+#.*", "", line[2:])


def run(command: str, folder: Path, home: Path, **more: str) -> str:
    # The environment is this one: what its lock says is not installed again.
    told = command.replace("make ", "make -o .venv/.ready ", 1) if command.startswith("make ") else command
    settings = {n: v for n, v in os.environ.items() if not n.startswith(("KALEYARD_", "MAKE"))}
    settings |= {"HOME": str(home), "GIT_CONFIG_GLOBAL": os.devnull, **more}
    done = subprocess.run(
        ["bash", "-euc", told], cwd=folder, env=settings, capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode in CODES.get(command, {0}), f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def environment(folder: Path) -> None:
    (folder / ".venv").symlink_to(Path(sys.executable).parents[1], target_is_directory=True)


@pytest.fixture
def clone(repository: Path, tmp_path: Path) -> Path:
    made = copy_repository(repository, tmp_path / "kaleyard")
    environment(made)
    return made


def test_each_command_is_run_or_has_a_reason(repository: Path) -> None:
    told = list(commands(repository))
    assert len(told) > 20
    assert set(told) >= {*NOT_RUN, *ENGINE, *CODES}


def test_each_command_works_as_it_stands(clone: Path, tmp_path: Path, repository: Path) -> None:
    project = tmp_path / "house-prices"
    after: dict[str, Callable[[], object]] = {
        ".venv/bin/kaleyard new ../house-prices --no-input": lambda: environment(project),
    }
    before: dict[str, Callable[[], object]] = {
        # The list of verbs begins anew: there is no such project yet, and it is in git before it is updated.
        ".venv/bin/kaleyard new ../house-prices": lambda: project.rename(tmp_path / "made before"),
        ".venv/bin/kaleyard update ../house-prices": lambda: commit_all(project),
    }
    printed: dict[str, list[str]] = {}
    for command in commands(repository):
        if command not in NOT_RUN and command not in ENGINE:
            before.get(command, lambda: None)()
            printed.setdefault(command, []).append(run(command, clone, tmp_path))
            after.get(command, lambda: None)()
    first, again, *_ = printed["make run"]
    assert "metrics: r2 = 0.9267  rmse = 22834" in first
    assert "every step was cached (4)" in again
    (changed,) = printed[".venv/bin/kaleyard run notebooks/housing.ipynb -p MAX_RMSE=25000"]
    assert re.search(r"train: cached\n  test: cached .*\n  deploy: running\n  deploy: done", changed)
    (other,) = printed["make -C ../house-prices run"]
    assert "metrics: r2 = 0.486  rmse = 53.32" in other


@pytest.mark.engine
def test_those_that_need_an_engine_do_too(
    clone: Path, tmp_path: Path, repository: Path, registry: str, base_image: str
) -> None:
    given = {"KALEYARD_REGISTRY": f"{registry}/readme", "KALEYARD_BASE_IMAGE": base_image}
    given |= {"KALEYARD_BUILD_SECRETS": " ".join(f"id={name},src={path}" for name, path in secrets().items())}
    run("make run", clone, tmp_path)
    reference = models.V2beta1PipelineVersionReference(pipeline_id="pipelines-1")
    looked = run_at("SUCCEEDED", *((name, "SUCCEEDED") for name in STEPS), pipeline_version_reference=reference)
    with serving_kfp(looks=[looked]) as kfp:
        given |= {"KALEYARD_KFP_HOST": kfp.url}
        printed = [run(command, clone, tmp_path, **given) for command in ENGINE]
    assert "done: 4 done" in printed[1]
    assert all(name in printed[2] for name in STEPS)
    assert "remote:housing/runs-1" in printed[3]
    order = [command for command in commands(repository) if command in ENGINE]
    assert [c for i, c in enumerate(order) if c not in order[:i]] == list(ENGINE)
