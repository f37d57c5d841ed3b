"""The reference pipeline gives the same in all places: as processes, as containers, and as KFP's package of it.

Compared are the parameters, the metrics, and the digest of every value that passes between steps or is a result. Two
artifacts are not values and not compared: the executed notebook holds the times at which its cells ran, and its page
is made from that. One value cannot be equal byte for byte: the folder that `deploy` packs. skops, called by the user's
own cell, numbers the parts of its file by their addresses in memory, and zip files hold times; and the folder's
description names the Python it was made with, which is the container's. So of it the model is compared by what it
holds, as Kaleyard's own format writes it, and the rest but for that version as text.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import kaleyard
from container_engine import Engine, images, locked, secrets, settings
from kaleyard.compiler.pipeline_package import package_yaml, task_names
from kaleyard.config import Project, find_project
from kaleyard.execution.executors.container import ContainerExecutor
from kaleyard.execution.executors.process import ProcessExecutor
from kaleyard.execution.scheduler import RunOptions, Scheduler
from kaleyard.execution.task import Executor
from kaleyard.pipeline import Pipeline
from kaleyard.records.run_record import Run
from kaleyard.reporting.console import SilentReporter
from kaleyard.rules.checker import load_pipeline
from kaleyard.runtime import serializers as formats
from kaleyard.runtime.contract import FILES, METRICS, NOTEBOOK, PAGE, artifact_name
from kfp_docker_runner import exit_codes_kept, outputs, run_package
from notebook_builder import notebook

pytest_plugins = ["engine"]
pytestmark = pytest.mark.engine

PACKAGE = ("deploy", "package")


@dataclass(frozen=True, slots=True)
class Housing:
    """The reference pipeline in a copy of its project, its images by digest, and the package that names them."""

    pipeline: Pipeline
    project: Project
    images: dict[str, str]
    package: Path

    def run(self, executor: Executor) -> Run:
        """The pipeline run with nothing cached."""
        with executor:
            told = RunOptions(cache=False)
            done = Scheduler(
                self.pipeline, self.project, self.pipeline.defaults(), executor, SilentReporter(), told
            ).run()
        assert done.state == "done", [step.error for step in done.steps.values()]
        return done


@dataclass(frozen=True, slots=True)
class Result:
    """What a run gave: metrics and values' digests by step and name, and where the package is."""

    metrics: dict[str, float]
    digests: dict[tuple[str, str], str]
    package: Path


@pytest.fixture(scope="module")
def housing(
    engine: Engine, registry: str, base_image: str, repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Housing:
    root = tmp_path_factory.mktemp("equality")
    shutil.copytree(repository / "notebooks", root / "notebooks", ignore=shutil.ignore_patterns("package"))
    settings(root, base_image, registry)
    path = root / "notebooks" / "housing.ipynb"
    with locked("build"):
        (built,) = kaleyard.build(path, builder=engine.kind, secrets=secrets())
    assert built.package == root / "build" / "housing" / "pipeline.yaml"
    project = find_project(path)
    pinned = {name: image.pinned for name, image in built.steps.items()}
    return Housing(load_pipeline(path, project), project, pinned, built.package)


@pytest.fixture(scope="module")
def processes(housing: Housing) -> Run:
    return housing.run(ProcessExecutor())


@pytest.fixture(scope="module")
def as_containers(housing: Housing) -> Run:
    return housing.run(ContainerExecutor(housing.images))


@pytest.fixture(scope="module")
def by_kfp(housing: Housing, engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where KFP's own runner put what the package's steps made, on a read-only root and without a network."""
    if engine.kind != "docker":
        pytest.skip("KFP's runner loses the exit codes of Podman's containers")
    folder = tmp_path_factory.mktemp("kfp")
    # What it thinks it need not run again lies in the current folder.
    confined = {"read_only": True, "tmpfs": {"/tmp": "exec"}, "network_mode": "none", "cap_drop": ["ALL"]}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_package(housing.package, folder / "root", **confined)
    return folder / "root"


def of_run(run: Run) -> Result:
    digests = {(step.name, a.name): a.sha256 for step in run.steps.values() for a in step.artifacts}
    return Result(run.metrics, digests, run.artifact(*PACKAGE))


def of_kfp(housing: Housing, root: Path) -> Result:
    """What KFP's runner made, its values' digests by what lies there, and not by what the steps say."""
    told = outputs(root)
    metrics: dict[str, float] = {}
    digests: dict[tuple[str, str], str] = {}
    package = root
    for name, task in task_names(housing.pipeline).items():
        step = housing.pipeline.step(name)
        ours = {NOTEBOOK, PAGE, FILES} | ({METRICS} if step.metrics else set())
        assert set(told[task]) == ours | set(map(artifact_name, step.outputs))
        metrics |= told[task].get(METRICS, {}).get("metadata", {})
        for output in step.outputs:
            place = Path(told[task][artifact_name(output)]["uri"])
            digests[name, output] = formats.digest(place)[0]
            assert digests[name, output] == told[task][artifact_name(output)]["metadata"]["sha256"]
            package = place if (name, output) == PACKAGE else package
    return Result(metrics, digests, package)


def holdings(package: Path, scratch: Path) -> dict[str, Any]:
    """What the package holds, without what no two runs have in common."""
    from skops import io

    model = io.load(package / "model.skops", trusted=io.get_untrusted_types(file=package / "model.skops"))
    described = json.loads((package / "model.json").read_text())
    assert described["versions"].pop("python")
    scratch.mkdir()
    saved = formats.save("model", model, scratch / "model")
    texts = {p.name: p.read_text() for p in package.iterdir() if p.name not in ("model.skops", "model.json")}
    return {"model": saved.sha256, "model.json": described, **texts}


def test_processes_and_containers_give_the_same(processes: Run, as_containers: Run, tmp_path: Path) -> None:
    one, other = of_run(processes), of_run(as_containers)
    assert {n: s.parameters for n, s in processes.steps.items()} == {
        n: s.parameters for n, s in as_containers.steps.items()
    }
    assert one.metrics == other.metrics
    assert len(one.metrics) == 2
    assert one.digests.keys() == other.digests.keys()
    assert len(one.digests) == 8
    assert {k: d for k, d in one.digests.items() if k != PACKAGE} == {
        k: d for k, d in other.digests.items() if k != PACKAGE
    }
    assert holdings(one.package, tmp_path / "one") == holdings(other.package, tmp_path / "other")


def test_the_package_gives_kfp_the_same(housing: Housing, as_containers: Run, by_kfp: Path, tmp_path: Path) -> None:
    one, other = of_run(as_containers), of_kfp(housing, by_kfp)
    assert one.metrics == other.metrics
    assert one.digests.keys() == other.digests.keys()
    assert {k: d for k, d in one.digests.items() if k != PACKAGE} == {
        k: d for k, d in other.digests.items() if k != PACKAGE
    }
    assert holdings(one.package, tmp_path / "one") == holdings(other.package, tmp_path / "other")


def test_every_image_of_the_package_is_named_by_its_digest(housing: Housing) -> None:
    text = housing.package.read_text()
    assert all("@sha256:" in image and image in text for image in housing.images.values())
    assert text.count("image: ") == len(housing.images)


def test_a_failed_step_fails_the_package(
    engine: Engine, base_image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings(tmp_path, base_image)
    path = notebook(tmp_path / "notebooks" / "bad.ipynb", ("a = 1 / 0", "step:one"), ("b = a", "step:two"))
    project = find_project(path)
    pipeline = load_pipeline(path, project)
    package = tmp_path / "pipeline.yaml"
    package.write_bytes(package_yaml(pipeline, images(engine, pipeline, project)))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RuntimeError, match="one"):
        run_package(package, tmp_path / "root", network_mode="none")


def test_kfps_runner_keeps_every_exit_code(engine: Engine, base_image: str) -> None:
    import docker  # type: ignore[import-untyped]
    from kfp.local import docker_task_handler as handler

    client = docker.from_env()
    with exit_codes_kept():
        codes = [
            handler.run_docker_container(client, base_image, ["sh", "-c", f"exit {code}"], {}, network_mode="none")
            for code in (0, 3, 7)
        ]
    client.close()
    assert codes == [0, 3, 7]
