"""Projects made from the template do what they promise: their own commands run, in an environment of their own.

Combinations in which every answer stands at least once; KALEYARD_COMBINATIONS=all runs all the others too, in the same
environment. That each renders whole is tested in test_template.py.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from test_template import every_combination

import kaleyard
from project_make import make

pytest_plugins = ["project_environment"]

_ALWAYS = (
    {"license": "Apache-2.0", "python_version": "3.12", "starter": "tabular"},
    {"license": "none", "python_version": "3.11", "starter": "blank"},
    {"license": "MIT", "python_version": "3.13", "starter": "blank"},
    {"license": "BSD-3-Clause", "python_version": "3.13", "starter": "tabular"},
)
_ALL = os.environ.get("KALEYARD_COMBINATIONS") == "all"
# A green run after the environment is there takes less, even on a machine with much else to do.
_SECONDS = 60


def runs(answers: dict[str, str], folder: Path, venv: Path) -> None:
    """The project's own commands, one after the other, as its README and its CI have them."""
    kaleyard.new(folder, answers)
    # Newer than the project's files: they ask for the environment that is there.
    (venv / ".ready").touch()
    starter = {"tabular": "regression", "blank": "blank"}[answers["starter"]]
    shown = make(folder, "run", venv=venv, timeout=_SECONDS)
    assert "done: " in shown
    assert "metrics: " in shown
    assert (folder / "runs" / starter).is_dir()
    make(folder, "compile", venv=venv)
    tested = make(folder, "test", venv=venv)
    assert "up to date" in tested
    assert "All checks passed" in tested
    docker = (folder / "components" / starter).glob("*/Dockerfile")
    assert all(f"python:{answers['python_version']}-slim" in path.read_text(encoding="utf-8") for path in docker)


@pytest.mark.parametrize("answers", every_combination() if _ALL else _ALWAYS, ids=lambda a: "-".join(a.values()))
def test_a_new_project_runs_tests_and_compiles(answers: dict[str, str], tmp_path: Path, venv: Path) -> None:
    runs(answers, tmp_path / "a project", venv)


def test_every_answer_is_in_one_of_them() -> None:
    every = {answer for answers in every_combination() for answer in answers.items()}
    assert every == {answer for answers in _ALWAYS for answer in answers.items()}
