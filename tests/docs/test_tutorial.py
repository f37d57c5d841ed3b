"""The tutorial, done as it says: its cells become the notebook, its commands are run one after another."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import kaleyard
from container_engine import secrets
from kfp_server import run_at, serving_kfp
from notebook_builder import NotebookCells, notebook
from template_repository import copy_repository

pytest_plugins = ["engine", "project_environment"]

BLOCK = re.compile(r"```(python|sh)\n(.*?)```", re.DOTALL)


def blocks(repository: Path) -> list[tuple[str, str]]:
    return BLOCK.findall((repository / "docs" / "tutorial.md").read_text())


def cells_of(repository: Path) -> list[NotebookCells]:
    told = [text.partition("\n") for kind, text in blocks(repository) if kind == "python"]
    return [(source.rstrip("\n"), first.removeprefix("# tag: ")) for first, _, source in told]


def commands_of(repository: Path) -> list[str]:
    return [text for kind, text in blocks(repository) if kind == "sh"]


def done(command: str, folder: Path, **more: str) -> str:
    settings = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"} | more
    settings["GIT_CONFIG_GLOBAL"] = os.devnull
    ended = subprocess.run(
        ["/bin/sh", "-euc", command], cwd=folder, env=settings, capture_output=True, text=True, check=False, timeout=600
    )
    assert ended.returncode == 0, f"{command}\n{ended.stdout}{ended.stderr}"
    return ended.stdout


def test_the_tutorial_works_from_an_empty_folder(repository: Path, tmp_path: Path, venv: Path) -> None:
    template = copy_repository(repository, tmp_path / "kaleyard")
    made, seen, first, again, kept, _cluster = commands_of(repository)
    home = {"HOME": str(tmp_path), "KALEYARD": str(template)}
    # An environment takes a minute: the one that such a project's make made is put where this one's would be.
    before, make, after = made.partition("make run\n")
    done(before, tmp_path, **home)
    project = tmp_path / "pi"
    (project / ".venv").symlink_to(venv, target_is_directory=True)
    (venv / ".ready").touch()
    assert "done: 2 done" in done(make + after, project, **home)

    notebook(project / "notebooks" / "pi.ipynb", *cells_of(repository))
    # The base image of a new project is not locked; where no registry can be asked, it stays so.
    shown = done(seen, project, **home, KALEYARD_BASE_IMAGE=f"python:3.12-slim@sha256:{'0' * 64}")
    assert "throw" in shown
    assert "no findings" in shown
    assert re.search(r"done: 2 done.*\nmetrics: pi = 3\.\d", done(first, project, **home))
    shown = done(again, project, **home)
    assert "every step was cached (2)" in shown
    assert "done: 2 done" in shown
    shown = done(kept, project, **home)
    assert "the components of blank, pi are up to date" in shown
    assert (project / "components" / "pi" / "throw" / "Dockerfile").is_file()


@pytest.mark.engine
def test_the_tutorials_last_commands_reach_a_registry_and_a_server(
    repository: Path, tmp_path: Path, registry: str, base_image: str
) -> None:
    project = kaleyard.new(tmp_path / "pi", {"starter": "blank"})
    notebook(project / "notebooks" / "pi.ipynb", *cells_of(repository))
    (project / ".venv").symlink_to(Path(sys.executable).parents[1], target_is_directory=True)
    command = commands_of(repository)[-1]
    given = " ".join(f"--secret id={name},src={path}" for name, path in secrets().items())
    command = command.replace("kaleyard build notebooks/pi.ipynb", f"kaleyard build notebooks/pi.ipynb {given}")
    # The cluster is not here: a server in a thread answers for it, and says that every step is done.
    run = run_at("SUCCEEDED", ("throw", "SUCCEEDED"), ("count", "SUCCEEDED"))
    with serving_kfp(looks=[run]) as server:
        shown = done(
            command,
            project,
            KALEYARD_REGISTRY=f"{registry}/tutorial",
            KALEYARD_KFP_HOST=server.url,
            KALEYARD_BASE_IMAGE=base_image,
            HOME=str(tmp_path),
        )
    assert "throw" in shown


def test_the_tutorials_mistake_is_found_as_it_says(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.kaleyard]\n")
    notebook(tmp_path / "notebooks" / "pi.ipynb", ("darts = [1]", "step:throw"), ("len(dats)", "step:count"))
    with pytest.raises(AssertionError, match=r"cell 2, step count: .*dats[\s\S]*darts"):
        done("kaleyard check", tmp_path)
