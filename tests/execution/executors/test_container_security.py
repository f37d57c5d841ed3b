"""What a step is confined to, and what is told when there is no engine to do it."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from container_engine import Engine
from kaleyard.errors import ExternalError, Location, NotebookError, UsageError
from kaleyard.execution.executors import container as containers
from kaleyard.execution.executors import container_engine as engines
from kaleyard.execution.executors import container_security as confinement
from kaleyard.execution.executors.container import ContainerExecutor
from kaleyard.notebook.tags import NETWORK_LABEL
from kaleyard.pipeline import Settings

pytest_plugins = ["engine"]

PLACE = Location("notebooks/a.ipynb", step="one")


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        (("memory", "4 GB"), "limit memory is '4 GB'.*such as \"4Gi\""),
        (("memory", "1Ki"), 'at least "6Mi"'),
        (("memory", "lots"), "limit memory"),
        (("cpu", "0"), "limit cpu is '0'.*such as \"500m\""),
        (("cpu", "half"), "limit cpu"),
    ],
)
def test_a_limit_that_cannot_be_is_refused(limit: tuple[str, str], words: str) -> None:
    with pytest.raises(NotebookError, match=f"(?s)step one: the {words}|{words}"):
        confinement.confinement(Settings(limits=(limit,)), PLACE)


@pytest.mark.parametrize(
    ("memory", "size"), [("512Mi", 512 << 20), ("4Gi", 4 << 30), ("1G", 10**9), ("8000000", 8_000_000)]
)
def test_limits_of_kubernetes_are_understood(memory: str, size: int) -> None:
    settings = Settings(limits=(("memory", memory), ("cpu", "500m")))
    options = confinement.confinement(settings, PLACE)
    assert f"--memory={size}" in options
    assert "--cpu-quota=50000" in options


def test_a_network_that_is_neither_on_nor_off_is_refused() -> None:
    with pytest.raises(NotebookError, match="kaleyard/network is 'host'"):
        confinement.confinement(Settings(labels=((NETWORK_LABEL, "host"),)), PLACE)


@pytest.mark.engine
def test_an_engine_that_does_not_run_is_told_with_how_to_start_it(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
        patch.setenv("CONTAINER_HOST", f"unix://{tmp_path}/none.sock")
        with pytest.raises(ExternalError, match=f"{engine.kind} is not running") as caught:
            ContainerExecutor({}, engine.kind).__enter__()
    assert "Start" in str(caught.value)


def test_an_engine_that_is_not_there_is_told_with_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ExternalError, match=r"(?s)none of docker, podman is installed.*--runner process"):
        ContainerExecutor({}).__enter__()
    with pytest.raises(ExternalError, match=r"(?s)podman is not installed.*apt install podman"):
        ContainerExecutor({}, "podman").__enter__()
    with pytest.raises(UsageError, match="unknown container engine lxc"):
        ContainerExecutor({}, "lxc").__enter__()


@pytest.mark.engine
def test_an_engine_that_lets_only_others_in_says_how_to_join(engine: Engine) -> None:
    if os.getuid() or engine.kind != "docker":
        pytest.skip("only root can be somebody whom the engine does not let in")
    command = [*engine.command, "ps"]
    asked = subprocess.run(command, capture_output=True, text=True, user=54321, group=54321, check=False)
    assert asked.returncode
    refusal = engines.Engine("docker", engine.command[0]).refusal(asked.stderr)
    assert "docker denies you access" in refusal.what
    assert "usermod -aG docker" in str(refusal.fix)


def test_a_full_disk_of_the_engine_is_told() -> None:
    said = "docker: Error response from daemon: mkdir /var/lib/docker/overlay2/x-init: no space left on device."
    refusal = engines.Engine("docker", "docker").refusal(said)
    assert "the disk of docker is full" in refusal.what
    assert "docker system prune" in str(refusal.fix)


def test_signals_have_their_names() -> None:
    task: Any = type("Task", (), {"log": Path("/nowhere"), "place": PLACE})()
    assert "SIGSEGV" in containers._ending(task, 128 + signal.SIGSEGV).what
    assert "code 3" in containers._ending(task, 3).what
