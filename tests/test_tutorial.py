"""The tutorial, done as it says: its cells become the notebook, its commands are run one after another."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from notebook_builder import NotebookCells, notebook

BLOCK = re.compile(r"```(python|sh)\n(.*?)```", re.DOTALL)


def done(command: str, folder: Path) -> str:
    settings = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    ended = subprocess.run(
        ["/bin/sh", "-euc", command], cwd=folder, env=settings, capture_output=True, text=True, check=False, timeout=600
    )
    assert ended.returncode == 0, f"{command}\n{ended.stdout}{ended.stderr}"
    return ended.stdout


def test_the_tutorial_works_from_an_empty_folder(repository: Path, tmp_path: Path) -> None:
    cells: list[NotebookCells] = []
    told: list[str] = []
    for kind, text in BLOCK.findall((repository / "docs" / "tutorial.md").read_text()):
        if kind == "python":
            first, _, source = text.partition("\n")
            cells.append((source.rstrip("\n"), first.removeprefix("# tag: ")))
            notebook(tmp_path / "notebooks" / "pi.ipynb", *cells)
        else:
            told.append(done(text, tmp_path))
    _, seen, first, again = told
    assert "throw" in seen
    assert "no findings" in seen
    assert re.search(r"done: 2 done.*\nmetrics: pi = 3\.\d", first)
    assert "every step was cached (2)" in again
    assert "done: 2 done" in again


def test_the_tutorials_mistake_is_found_as_it_says(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.kaleyard]\n")
    notebook(tmp_path / "notebooks" / "pi.ipynb", ("darts = [1]", "step:throw"), ("len(dats)", "step:count"))
    with pytest.raises(AssertionError, match=r"cell 2, step count: .*dats[\s\S]*darts"):
        done("kaleyard check", tmp_path)
