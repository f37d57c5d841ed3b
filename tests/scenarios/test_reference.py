"""The reference pipeline: every tool accepts its notebook, and what is committed is what the notebook says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import kaleyard
from kaleyard.records.run_record import Run
from kaleyard.reporting.console import SilentReporter

NOTEBOOK = "notebooks/housing.ipynb"


@pytest.fixture(scope="module")
def housing(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Run:
    """The reference pipeline, run in a copy of the project."""
    root = tmp_path_factory.mktemp("housing")
    shutil.copytree(repository / "notebooks", root / "notebooks", ignore=shutil.ignore_patterns("package"))
    shutil.copy(repository / "pyproject.toml", root)
    shutil.copy(repository / "requirements.lock", root)
    return kaleyard.run(root / NOTEBOOK, reporter=SilentReporter())


def test_papermill_runs_the_notebook_with_a_parameter(repository: Path, tmp_path: Path) -> None:
    target = tmp_path / "notebooks"
    shutil.copytree(repository / "notebooks", target, ignore=shutil.ignore_patterns("package"))
    command = [sys.executable, "-m", "papermill", "housing.ipynb", "out.ipynb", "-p", "SEED", "7", "--cwd", str(target)]
    subprocess.run(command, cwd=target, check=True, capture_output=True)
    text = (target / "out.ipynb").read_text()
    assert "26743" in text or "26,743" in text, "the RMSE of SEED 7 is not in the executed notebook"


def test_kales_own_command_line_compiles_the_notebook(repository: Path, tmp_path: Path) -> None:
    shutil.copy(repository / NOTEBOOK, tmp_path / "housing.ipynb")
    command = [str(Path(sys.executable).with_name("kale")), "--nb", "housing.ipynb"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (made,) = tmp_path.glob(".kale/*.yaml")
    steps = next(iter(yaml.safe_load_all(made.read_text())))["root"]["dag"]["tasks"]
    assert {re.sub(r"-step$", "", name) for name in steps} >= {"preprocess", "train", "test", "deploy"}


def test_kale_and_kaleyard_find_the_same_order(repository: Path) -> None:
    pipeline = kaleyard.read(repository / NOTEBOOK)
    assert pipeline.names == ("preprocess", "train", "test", "deploy")
    flows = {s.name: {(i.name, i.step) for i in s.inputs} for s in pipeline.steps}
    assert flows["train"] == {("X_train", "preprocess"), ("y_train", "preprocess")}
    assert flows["test"] == {("X_test", "preprocess"), ("y_test", "preprocess"), ("model", "train")}


def test_without_prev_tags_the_pipeline_is_the_same(repository: Path, tmp_path: Path) -> None:
    data = json.loads((repository / NOTEBOOK).read_text())
    for cell in data["cells"]:
        tags = cell["metadata"].get("tags", [])
        cell["metadata"]["tags"] = [t for t in tags if not t.startswith("prev:")]
    (tmp_path / "notebooks").mkdir()
    shutil.copytree(repository / "notebooks/data", tmp_path / "notebooks/data")
    (tmp_path / "pyproject.toml").write_text("[tool.kaleyard]\n")
    bare = tmp_path / NOTEBOOK
    bare.write_text(json.dumps(data))
    assert kaleyard.read(bare) == kaleyard.read(repository / NOTEBOOK)


def test_the_pipeline_ends_in_a_tested_model_and_a_deployable_package(housing: Run) -> None:
    assert housing.state == "done", [s.error for s in housing.steps.values() if s.error]
    assert housing.metrics == {"rmse": 22834, "r2": 0.9267}
    package = housing.artifact("deploy", "package")
    assert {p.name for p in package.iterdir()} == {"model.skops", "model.json", "reference.json"}
    about = json.loads((package / "model.json").read_text())
    assert {"scikit-learn", "python"} <= set(about["versions"])
    assert json.loads((package / "reference.json").read_text())


def test_a_model_worse_than_allowed_is_not_deployed_and_nothing_else_runs_again(housing: Run) -> None:
    notebook = housing.folder.parents[2] / NOTEBOOK
    done = kaleyard.run(notebook, {"MAX_RMSE": 1000}, reporter=SilentReporter())
    assert {n: s.state for n, s in done.steps.items()} == {
        "preprocess": "cached",
        "train": "cached",
        "test": "cached",
        "deploy": "failed",
    }
    error = done.steps["deploy"].error
    assert error is not None
    assert "22,834" in error["what"]
    assert "1,000" in error["what"]
    assert "deploy" not in {a.name for a in done.steps["deploy"].artifacts}


def test_the_committed_components_are_what_the_notebook_says(repository: Path) -> None:
    assert kaleyard.compile(repository / NOTEBOOK, check=True).changes == {}


def test_compiling_gives_the_same_bytes_in_any_process(repository: Path, tmp_path: Path) -> None:
    trees = []
    for seed in ("1", "2"):
        folder = tmp_path / seed
        environment = os.environ | {"PYTHONHASHSEED": seed, "KALEYARD_COMPONENTS": str(folder)}
        command = [sys.executable, "-m", "kaleyard", "compile", str(repository / NOTEBOOK)]
        subprocess.run(command, env=environment, cwd=repository, check=True, capture_output=True)
        trees.append({p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()})
    assert trees[0] == trees[1]
    assert len(trees[0]) == 4 * 4 + 1
    committed = repository / "components"
    assert trees[0] == {
        p.relative_to(committed).as_posix(): p.read_bytes() for p in (committed / "housing").rglob("*") if p.is_file()
    }


def test_kfp_loads_the_package_and_nothing_is_installed_at_run_time(repository: Path) -> None:
    from kfp import components

    folder = repository / "components" / "housing"
    for path in [folder / "pipeline.yaml", *folder.glob("*/component.yaml")]:
        assert components.load_component_from_file(str(path)).name
        assert "pip" not in re.findall(r"\w+", path.read_text())
        assert "packages_to_install" not in path.read_text()


def test_each_step_has_its_own_packages_only(repository: Path) -> None:
    folder = repository / "components" / "housing"
    names = {
        step: {
            line.split("==")[0]
            for line in (folder / step / "requirements.txt").read_text().splitlines()
            if "==" in line
        }
        for step in ("preprocess", "train", "test", "deploy")
    }
    assert all({"papermill", "ipykernel", "pandas", "pyarrow"} <= found for found in names.values())
    assert "matplotlib" in names["test"]
    assert "matplotlib" not in names["train"]
    assert not any({"kfp", "kubeflow-kale", "jupyterlab", "click"} & found - {"click"} for found in names.values())


def test_an_unwritable_components_folder_is_told(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "blocked").write_text("a file")
    monkeypatch.setenv("KALEYARD_COMPONENTS", str(tmp_path / "blocked"))
    with pytest.raises(kaleyard.KaleyardError, match="cannot be written"):
        kaleyard.compile(repository / NOTEBOOK)
