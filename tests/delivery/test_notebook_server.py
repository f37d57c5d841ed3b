"""The Kubeflow notebook server: its image built and started for real, its manifests by Kubeflow's own schemas."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import textwrap
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from cluster_tools import kustomize, program
from container_engine import Engine, locked, secrets
from pod_security import violations
from waiting import until_it_answers

pytest_plugins = ["engine"]
IMAGE = "localhost/kaleyard-notebook-server:test"
PREFIX = "/notebook/someone/kaleyard"


@pytest.fixture(scope="module")
def folder(repository: Path) -> Path:
    return repository / "templates" / "notebook-server"


@pytest.fixture(scope="module")
def objects(folder: Path) -> dict[str, dict[str, Any]]:
    return {one["kind"]: one for one in kustomize(folder)}


@pytest.fixture(scope="module")
def image(engine: Engine, base_image: str, repository: Path) -> str:
    """The image on the test's base; most of it is in the builder's cache when the lock has not changed."""
    told = [word for name, path in secrets().items() for word in ("--secret", f"id={name},src={path}")]
    dockerfile = str(repository / "templates" / "notebook-server" / "Dockerfile")
    with locked("build"):
        engine.ask(
            "build", "--tag", IMAGE, "--build-arg", f"BASE={base_image}", *told, "-f", dockerfile, str(repository)
        )
    return IMAGE


@pytest.fixture(scope="module")
def server(engine: Engine, image: str) -> Iterator[tuple[str, str]]:
    """The container's name and its address, started as a pod would be: nothing may be written but home and /tmp."""
    name = f"kaleyard-notebook-server-{uuid.uuid4().hex[:8]}"
    engine.ask(
        *("run", "--detach", "--name", name, "--env", f"NB_PREFIX={PREFIX}", "--publish", "127.0.0.1::8888"),
        *("--read-only", "--tmpfs", "/tmp", "--tmpfs", "/home/jovyan:uid=1000,gid=100"),
        *("--cap-drop", "ALL", "--security-opt", "no-new-privileges", image),
    )
    try:
        address = engine.ask("port", name, "8888").splitlines()[0]
        until_it_answers(
            f"http://{address}{PREFIX}/api",
            lambda: engine.ask("inspect", "--format", "{{.State.Running}}", name) == "true",
            lambda: engine.ask("logs", name),
        )
        yield name, f"http://{address}"
    finally:
        engine.ask("rm", "--force", name)


@pytest.mark.engine
def test_the_server_answers_under_its_prefix_and_nowhere_else(server: tuple[str, str]) -> None:
    _, address = server
    for path in ("/api", "/api/kernelspecs", "/lab"):
        with urllib.request.urlopen(f"{address}{PREFIX}{path}", timeout=60) as answer:
            assert answer.status == 200
            assert answer.headers["Access-Control-Allow-Origin"] == "*"
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{address}/api", timeout=60)
    assert refused.value.code == 404


@pytest.mark.engine
def test_it_runs_as_jovyan_and_holds_kales_panel_kaleyard_and_the_environment(
    engine: Engine, server: tuple[str, str]
) -> None:
    name, _ = server
    assert engine.ask("exec", name, "id", "-u") == "1000"
    assert engine.ask("exec", name, "sh", "-c", "echo $HOME; pwd").split() == ["/home/jovyan", "/home/jovyan"]
    code = (
        "import importlib.metadata as m, json, pathlib, sys;"
        "print(m.version('jupyterlab').split('.')[0], m.version('kaleyard'), m.version('scikit-learn').split('.')[0]);"
        "print((pathlib.Path(sys.prefix) / 'share/jupyter/labextensions/jupyterlab-kubeflow-kale').is_dir())"
    )
    versions, panel = engine.ask("exec", name, "python", "-c", code).splitlines()
    assert versions.split()[0] == "4"
    assert versions.split()[2] == "1"
    assert panel == "True"


@pytest.mark.engine
def test_a_pipeline_runs_in_the_server_from_an_empty_home(engine: Engine, server: tuple[str, str]) -> None:
    name, _ = server
    cells = [{"cell_type": "code", "metadata": {"tags": ["step:one"]}, "source": "x = 1\nx", "outputs": []}]
    text = json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    script = f"mkdir -p p && cd p && cat > one.ipynb <<'END'\n{text}\nEND\nkaleyard run one.ipynb"
    assert "done: 1 done" in engine.ask("exec", name, "sh", "-c", script)


def test_every_manifest_is_what_kubeflows_schema_allows(objects: dict[str, dict[str, Any]], repository: Path) -> None:
    schemas = json.loads((repository / "tests" / "schemas" / "kubeflow-1.11.json").read_text())["kinds"]
    assert set(objects) == {"Notebook", "PodDefault", "PersistentVolumeClaim"}
    for kind, schema in schemas.items():
        validator = Draft202012Validator(schema)
        assert [e.message for e in validator.iter_errors(objects[kind])] == [], kind
        broken = objects[kind] | {"spec": objects[kind]["spec"] | {"spek": {}}}
        assert list(validator.iter_errors(broken)), kind


def test_the_parts_of_the_manifests_hang_together(objects: dict[str, dict[str, Any]]) -> None:
    notebook, pod = objects["Notebook"], objects["Notebook"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    # The controller takes the container of the notebook's own name for the server.
    assert container["name"] == notebook["metadata"]["name"]
    (volume,) = pod["volumes"]
    assert volume["persistentVolumeClaim"]["claimName"] == objects["PersistentVolumeClaim"]["metadata"]["name"]
    assert container["volumeMounts"] == [{"name": volume["name"], "mountPath": "/home/jovyan"}]
    wanted = objects["PodDefault"]["spec"]["selector"]["matchLabels"]
    assert wanted.items() <= notebook["metadata"]["labels"].items()
    token = objects["PodDefault"]["spec"]
    (mount,) = token["volumeMounts"]
    (source,) = token["volumes"][0]["projected"]["sources"]
    assert token["env"][0]["value"] == f"{mount['mountPath']}/{source['serviceAccountToken']['path']}"
    assert source["serviceAccountToken"]["audience"] == "pipelines.kubeflow.org"


def test_the_server_may_no_more_than_pod_securitys_restricted_level_allows(objects: dict[str, dict[str, Any]]) -> None:
    pod = objects["Notebook"]["spec"]["template"]["spec"]
    assert violations(pod) == []
    assert pod["automountServiceAccountToken"] is False
    assert violations(pod | {"hostNetwork": True})


def test_hadolint_and_shellcheck_find_nothing(folder: Path) -> None:
    for command in (
        [program("hadolint"), "--no-color", str(folder / "Dockerfile")],
        [str(Path(sys.executable).with_name("shellcheck")), str(folder / "install"), str(folder / "start")],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_the_manifests_have_no_secret_and_no_name_of_a_machine(folder: Path) -> None:
    for path in folder.glob("*.yaml"):
        assert "Secret" not in {one["kind"] for one in yaml.safe_load_all(path.read_text()) if one}


def test_a_kustomization_as_the_docs_show_it_sets_image_and_namespace(repository: Path, tmp_path: Path) -> None:
    page = (repository / "docs" / "how-to" / "notebook-server.md").read_text()
    (shown,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "kustomization.yaml").write_text(textwrap.dedent(shown))
    shutil.copytree(repository / "templates" / "notebook-server", tmp_path / "templates" / "notebook-server")
    made = kustomize(tmp_path / "server")
    assert {one["metadata"]["namespace"] for one in made} == {"my-profile"}
    (notebook,) = [one for one in made if one["kind"] == "Notebook"]
    (container,) = notebook["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "REGISTRY/notebook-server:1"
