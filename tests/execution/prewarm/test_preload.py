"""What is imported ahead of the kernels that need it, and what is left to them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import kaleyard
from kaleyard.config import Project
from kaleyard.execution.prediction import RerunPrediction, notebook_modules, step_modules
from kaleyard.execution.prewarm.preload import modules_of, with_companions
from notebook_builder import load, notebook


@pytest.mark.parametrize(
    ("source", "modules"),
    [
        ("import numpy as np, os.path", ["numpy", "os.path"]),
        ("from sklearn.linear_model import Ridge, Lasso as L", ["sklearn.linear_model"]),
        ("from sklearn import datasets", ["sklearn", "sklearn.datasets"]),
        ("from json import *", ["json"]),
        ("import matplotlib.pyplot as plt", ["matplotlib.pyplot"]),
        ("import torch, numpy", ["numpy"]),
        ("import helpers, json", ["json"]),
        ("%matplotlib inline\n!ls\nimport json", ["json"]),
        ("from . import x\nimport json", ["json"]),
        ("def f():\n    import json", []),
        ("import json\nthis is no Python", []),
        ("import os\nos.environ['OMP_NUM_THREADS'] = '1'\nimport numpy", []),
        ("%env OMP_NUM_THREADS=1\nimport numpy", []),
        ("import sys\nsys.path.insert(0, 'lib')\nimport numpy", []),
    ],
)
def test_modules_are_those_imported_at_the_top_unless_the_code_changes_importing(
    source: str, modules: list[str]
) -> None:
    assert modules_of([source], own=["helpers"]) == modules


def test_one_cell_that_sets_the_environment_speaks_for_all() -> None:
    assert modules_of(["import numpy", "import os; os.environ['A'] = 'b'"]) == []


def test_companions_come_last_and_once() -> None:
    names = ["pandas", "numpy", "pandas.io", "sklearn.svm"]
    assert with_companions(names) == [*names, "pyarrow", "pyarrow.parquet", "skops.io"]
    assert with_companions(["json", "json"]) == ["json"]


def preloaded(*names: str, code: str = "") -> str:
    """What `preload` says of each, in a process of its own."""
    script = (
        f"{code}\nfrom kaleyard.execution.prewarm.preload import preload\nprint([preload(n) for n in {list(names)!r}])"
    )
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip()


def test_only_installed_modules_are_imported_and_failures_left_to_the_kernel(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("raise SystemExit('a user\\'s module was run')")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})"
    assert preloaded("numpy", "numpy", "mine", "nosuchmodule", "numpy.nosuch", "sqlite3", code=code) == str(
        [True, False, False, False, False, True]
    )


def test_threads_of_blas_are_no_reason_to_start_cold() -> None:
    assert preloaded("scipy.linalg", "pandas", "pyarrow.parquet", "sklearn.svm", "matplotlib.figure") == str([True] * 5)


def test_steps_are_told_apart_and_modules_of_the_project_left_out(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("")
    pipeline = load(
        tmp_path,
        ("import sqlite3\nimport statistics\nimport json", "imports"),
        ("a = statistics.mean([1, 2])", "step:one"),
        ("b = a\nimport decimal", "step:two"),
    )
    assert step_modules(pipeline, Project(tmp_path)) == {"one": ["statistics"], "two": ["decimal"]}
    found = notebook_modules(tmp_path / "nb.ipynb", Project(tmp_path))
    assert found == ["sqlite3", "statistics", "decimal"]
    assert notebook_modules(tmp_path / "missing.ipynb", Project(tmp_path)) == []


def test_foresight_says_all_then_nothing_then_some(project: Path) -> None:
    path = notebook(project / "notebooks" / "f.ipynb", ("N = 1", "pipeline-parameters"), ("a = N", "step:one"))
    place = Project(project)
    assert RerunPrediction(place, path, None).guess() == "all"
    assert kaleyard.run(path).state == "done"
    assert RerunPrediction(place, path, None).guess() == "nothing"
    assert RerunPrediction(place, path, ["N=2"]).guess() == "some"
    notebook(path, ("N = 1", "pipeline-parameters"), ("a = N + 1", "step:one"))
    assert RerunPrediction(place, path, None).guess() == "some"
    [file] = (place.cache_folder / "foresight").iterdir()
    file.write_text("{")
    assert RerunPrediction(place, path, None).guess() == "all"


def test_foresight_that_cannot_be_kept_is_no_error(project: Path) -> None:
    (project / ".kaleyard").write_text("a file where the cache should be")
    path = project / "notebooks" / "f.ipynb"
    RerunPrediction(Project(project), path, None).remember()
    assert RerunPrediction(Project(project), path, None).guess() == "all"
