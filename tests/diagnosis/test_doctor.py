"""`doctor`: what each check finds, what is needed for what, the five seconds, and what is printed.

Programs that a machine may lack, or have in another version, are small scripts on a path of the test's own; registry
and Kubeflow Pipelines are real HTTP servers in a thread.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from click.testing import CliRunner

from kaleyard.cli import cli
from kaleyard.compatibility import Range, compatibility, value
from kaleyard.config import Project
from kaleyard.diagnosis import machine, services
from kaleyard.diagnosis import probe as checking
from kaleyard.diagnosis import purposes as findings
from kaleyard.diagnosis.probe import Machine, ProbeResult, State
from kaleyard.diagnosis.purposes import CHECKS, PURPOSES, diagnose
from kaleyard.errors import ProjectError, UsageError

VERSIONS = {
    "make": "GNU Make 4.3",
    "docker": "Docker version 28.2.2, build e6534b4",
    "podman": "podman version 5.4.0",
    "buildah": "buildah version 1.28.2 (image-spec 1.0.2, runtime-spec 1.0.2)",
    "kubectl": "Client Version: v1.36.1\nKustomize Version: v5.7.1",
    "kind": "kind v0.32.0 go1.26.3 linux/amd64",
    "minikube": "v1.38.1",
    "k3d": "k3d version v5.9.0\nk3s version v1.35.5-k3s1 (default)",
    "microk8s": "MicroK8s v1.35.2 revision 8511",
}
ENGINE = json.dumps({"ServerVersion": "28.2.2", "NCPU": 4, "MemTotal": 8 << 30, "ServerErrors": None})
DEAD = json.dumps({"ServerErrors": ["Cannot connect to the Docker daemon"], "ServerVersion": ""})


def program(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def says(text: str) -> str:
    return f"/bin/cat <<'SAID'\n{text}\nSAID"


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A path with nothing on it but what the test puts there."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


@contextmanager
def server(answers: Mapping[str, tuple[int, str]], *, date: str = "") -> Iterator[str]:
    """A real HTTP server that gives these answers by path; it tells what it was asked nowhere."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answers.get(self.path, (404, "{}"))
            data = body.encode()
            self.send_response_only(status)
            self.send_header("Date", date or self.date_time_string())
            if status == 401:
                self.send_header("WWW-Authenticate", 'Basic realm="here"')
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)

        do_HEAD = do_GET  # noqa: N815 - its name there

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            pass

    one = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=one.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{one.server_address[1]}"
    finally:
        one.shutdown()
        thread.join()
        one.server_close()


def look(name: str, project: Path, purpose: str = "local", registry: str = "127.0.0.1:1") -> ProbeResult:
    return CHECKS[name]().look(Machine(Project(project, registry=registry), purpose))


@pytest.mark.parametrize("name", VERSIONS)
def test_a_tool_is_missing_then_fine_then_too_old_then_refuses(name: str, tools: Path, tmp_path: Path) -> None:
    assert look(name, tmp_path).state == "missing"
    info = f'case "$1" in info) {says(ENGINE)}\n;; *) {says(VERSIONS[name])}\n;; esac'
    program(tools, name, info)
    found = look(name, tmp_path)
    assert (found.state, found.fix) == ("fine", "")
    assert found.version in VERSIONS[name]
    program(tools, name, says("version 0.1.2"))
    found = look(name, tmp_path)
    assert found.state == "old"
    assert "0.1.2" in found.what
    assert value(f"tools.{name}.minimum") in found.what
    program(tools, name, "echo no such library >&2; exit 127")
    found = look(name, tmp_path)
    assert found.state == "refused"
    assert "no such library" in found.what
    assert found.fix


def test_a_microk8s_that_is_too_new_is_told_with_its_channels(tools: Path, tmp_path: Path) -> None:
    program(tools, "microk8s", says("MicroK8s v1.37.0 revision 9000"))
    found = look("microk8s", tmp_path)
    assert found.state == "new"
    assert "snap refresh" in found.fix


def test_an_engine_that_does_not_answer_is_refused_with_the_fix(tools: Path, tmp_path: Path) -> None:
    for why, fix in (("Cannot connect to the Docker daemon", "Start it"), ("permission denied", "Join its group")):
        dead = DEAD.replace("Cannot connect to the Docker daemon", why)
        program(tools, "docker", f'case "$1" in info) {says(dead)}\n;; *) {says(VERSIONS["docker"])}\n;; esac')
        found = look("docker", tmp_path)
        assert found.state == "refused"
        assert why in found.what
        assert found.fix.startswith(fix)


def test_podman_that_cannot_run_is_refused(tools: Path, tmp_path: Path) -> None:
    told = f'case "$1" in info) echo no newuidmap >&2; exit 125;; *) {says(VERSIONS["podman"])}\n;; esac'
    program(tools, "podman", told)
    found = look("podman", tmp_path)
    assert found.state == "refused"
    assert "no newuidmap" in found.what


@pytest.mark.parametrize(
    ("memory", "cores", "purpose", "state"),
    [
        (2, 4, "kind", "small"),
        (2, 4, "local", "fine"),
        (5, 4, "kind", "tight"),
        (8, 1, "kind", "small"),
        (8, 4, "kind", "fine"),
    ],
)
def test_what_counts_for_a_cluster_is_what_the_engine_has_of_the_machine(
    tools: Path, tmp_path: Path, memory: int, cores: int, purpose: str, state: State
) -> None:
    told = json.dumps({"ServerVersion": "28.2.2", "NCPU": cores, "MemTotal": memory << 30})
    program(tools, "docker", f'case "$1" in info) {says(told)}\n;; *) {says(VERSIONS["docker"])}\n;; esac')
    assert look("docker", tmp_path, purpose).state == state


@pytest.mark.parametrize(
    ("gib", "purpose", "state"),
    [(1, "local", "small"), (3, "local", "tight"), (6, "kind", "tight"), (64, "kind", "fine")],
)
def test_memory_is_judged_by_what_the_purpose_needs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, gib: int, purpose: str, state: State
) -> None:
    told = psutil.virtual_memory()._replace(total=gib << 30)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: told)
    monkeypatch.setattr(machine, "_CGROUP_MEMORY", (str(tmp_path / "none"),))
    assert look("memory", tmp_path, purpose).state == state


def test_the_limit_of_a_container_counts_as_its_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(machine, "_CGROUP_MEMORY", (str(limit),))
    limit.write_text(f"{1 << 30}\n")
    assert look("memory", tmp_path).what == "1.0 GiB of the 2 that are needed"
    limit.write_text("max\n")
    assert look("memory", tmp_path).state != "small"


def test_disk_and_processors_are_judged_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1 << 30))
    assert look("disk", tmp_path).state == "small"
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
    assert look("processors", tmp_path).state == "tight"
    assert look("processors", tmp_path, "kind").state == "small"


@pytest.mark.parametrize(
    ("version", "state"), [("3.10.9", "old"), ("3.11.0", "fine"), ("3.13.7", "fine"), ("3.14.0", "new")]
)
def test_python_is_judged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str, state: State) -> None:
    monkeypatch.setattr(platform, "python_version", lambda: version)
    assert look("Python", tmp_path).state == state


def test_a_registry_is_fine_refused_or_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with server({}) as host:
        found = look("registry", tmp_path, registry=f"{host}/team")
        assert (found.state, found.what) == ("fine", f"{host}/team answers, without a login")
    with server({"/v2/kaleyard-doctor/manifests/latest": (401, "{}")}) as host:
        found = look("registry", tmp_path, registry=host)
        assert found.state == "refused"
        assert "docker login" in found.fix
    found = look("registry", tmp_path, registry="127.0.0.1:1")
    assert found.state == "silent"
    assert "Start it" in found.fix


@pytest.mark.parametrize(
    ("version", "state"),
    [("2.15.0", "old"), ("2.16.0", "fine"), ("2.17.3", "fine"), ("2.18.0", "new"), ("unknown", "unsure")],
)
def test_kubeflow_pipelines_is_judged_by_its_own_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, state: State
) -> None:
    with server({"/apis/v2beta1/healthz": (200, json.dumps({"tag_name": version}))}) as host:
        monkeypatch.setenv("KALEYARD_KFP_HOST", f"http://{host}/")
        found = look("Kubeflow Pipelines", tmp_path)
    assert (found.state, found.version or "unknown") == (state, version)
    assert found.fix or found.will_do


def test_kubeflow_pipelines_may_be_unset_silent_or_something_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert look("Kubeflow Pipelines", tmp_path).state == "unset"
    monkeypatch.setenv("KALEYARD_KFP_HOST", "http://127.0.0.1:1")
    assert look("Kubeflow Pipelines", tmp_path).state == "silent"
    with server({"/apis/v2beta1/healthz": (200, "<html>")}) as host:
        monkeypatch.setenv("KALEYARD_KFP_HOST", f"http://{host}")
        assert look("Kubeflow Pipelines", tmp_path).state == "silent"


@pytest.mark.parametrize(
    ("version", "state"),
    [("v1.32.9", "old"), ("v1.33.0", "fine"), ("v1.36.7-eks-1", "fine"), ("v1.37.0", "new"), ("", "silent")],
)
def test_kubernetes_is_judged_by_the_chosen_cluster(
    tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, state: State
) -> None:
    assert look("Kubernetes", tmp_path).state == "unset"
    program(tools, "kubectl", "exit 1")
    assert look("Kubernetes", tmp_path).state == "unset"
    told = json.dumps({"clientVersion": {}, "serverVersion": {"gitVersion": version}})
    program(tools, "kubectl", f'case "$1" in config) echo there;; *) {says(told)}\n;; esac')
    found = look("Kubernetes", tmp_path)
    assert found.state == state
    assert "there" in found.what
    monkeypatch.setenv("KALEYARD_KUBE_CONTEXT", "elsewhere")
    assert "elsewhere" in look("Kubernetes", tmp_path).what


def test_a_clock_that_is_off_is_told_by_the_registry(tmp_path: Path) -> None:
    from datetime import UTC, datetime, timedelta

    with server({}) as host:
        assert look("clock", tmp_path, registry=host).state == "fine"
    late = format_datetime(datetime.now(UTC) - timedelta(minutes=10), usegmt=True)
    with server({}, date=late) as host:
        found = look("clock", tmp_path, registry=host)
    assert found.state == "refused"
    assert "ahead of" in found.what
    assert "timedatectl" in found.fix
    assert look("clock", tmp_path).state == "unsure"


def test_every_check_has_a_code_of_its_own_and_advice_and_every_need_is_a_check() -> None:
    codes = [c.code for c in CHECKS.values()]
    assert len(set(codes)) == len(codes)
    assert all(c.advice() for c in CHECKS.values())
    assert all(n in CHECKS for needs in PURPOSES.values() for need in needs for n in need.split("|"))


def test_one_good_engine_is_enough_and_without_any_all_are_told(
    tools: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del project
    info = f'case "$1" in info) {says(ENGINE)}\n;; *) {says(VERSIONS["docker"])}\n;; esac'
    assert {"docker", "podman"} <= {f.name for f in diagnose(Project(tools), "kind").stops}
    program(tools, "docker", info)
    told = {f.name: f for f in diagnose(Project(tools), "kind").findings}
    assert told["docker"].needed
    assert not told["podman"].needed


def test_a_machine_with_python_alone_is_fine_for_local_runs(
    tools: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    monkeypatch.setenv("KALEYARD_REGISTRY", "127.0.0.1:1")
    done = CliRunner().invoke(cli, ["doctor"])
    assert done.exit_code == 0, done.output
    assert "local: all that is needed is here" in done.output
    assert "Install kind" not in done.output  # nobody asked for it
    done = CliRunner().invoke(cli, ["doctor", "--for", "kind"])
    assert done.exit_code == 4
    assert "missing  kind" in done.output
    assert "Install kind" in done.output


def test_json_is_all_that_is_printed_and_says_what_stops(
    tools: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    done = CliRunner().invoke(cli, ["doctor", "--for", "submit", "--json"])
    told = json.loads(done.output)
    assert done.exit_code == 4
    assert told["fine"] is False
    assert told["purpose"] == "submit"
    kfp = next(f for f in told["findings"] if f["name"] == "Kubeflow Pipelines")
    assert (kfp["state"], kfp["needed"]) == ("unset", True)
    assert "KALEYARD_KFP_HOST" in kfp["fix"]


def test_an_unknown_purpose_is_wrong_use(project: Path) -> None:
    with pytest.raises(UsageError, match="nothing called moon"):
        diagnose(Project(project), "moon")


def test_what_hangs_is_told_as_silent_and_keeps_nobody_waiting(
    tools: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (checking, findings, services):
        monkeypatch.setattr(module, "LIMIT", 1.0)
    released = threading.Event()

    class Hangs(services.RegistryAnswers):
        def look(self, machine: Machine) -> ProbeResult:
            del machine
            released.wait()
            return self.found("fine", "late")

    monkeypatch.setattr(findings, "CHECKS", {**CHECKS, "registry": Hangs})
    program(tools, "kind", "exec /bin/sleep 60")
    told = {f.name: f for f in diagnose(Project(project), "local").findings}
    released.set()
    assert told["registry"].state == "silent"
    assert "no answer within 1 s" in told["registry"].what
    assert told["kind"].state == "refused"
    assert "no answer" in told["kind"].what
    assert told["Python"].state == "fine"


def test_a_range_knows_patch_releases_and_nonsense() -> None:
    assert not Range("1.33", maximum="1.36").judge("1.36.9")
    assert Range("1.33", maximum="1.36").judge("1.37.0") == "new"
    assert Range("2.16", below="2.18").judge("2.18.0") == "new"
    assert Range("2.16", below="2.18").judge("") == "old"
    assert str(Range("2.16", below="2.18")) == "2.16, below 2.18"


def test_the_matrix_agrees_with_what_the_project_declares(repository: Path) -> None:
    import tomllib

    data = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    python = compatibility()["python"]
    assert data["requires-python"] == f">={python['minimum']},<{python['below']}"
    assert f"kubeflow-kale=={value('kale.version')}" in data["dependencies"]
    kfp = compatibility()["kfp"]
    assert f"kfp[kubernetes]>={kfp['minimum']},<{kfp['below']}" in data["dependencies"]
    assert not Range(kfp["minimum"], below=kfp["below"]).judge(kfp["version"])
    with pytest.raises(ProjectError, match="has no value"):
        value("kfp.nothing")


def test_scripts_get_values_of_the_matrix_by_their_names() -> None:
    done = CliRunner().invoke(cli, ["doctor", "--value", "kfp.version", "--value", "ways.kind.image"])
    assert done.output.split() == [value("kfp.version"), value("ways.kind.image")]
    assert CliRunner().invoke(cli, ["doctor", "--value", "kfp"]).exception
