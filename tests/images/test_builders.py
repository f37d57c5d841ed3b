"""Which builder is taken, and what is told when it fails: with small programs in place of the builders."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from kaleyard.cli import cli
from kaleyard.errors import ExternalError, KaleyardError, UsageError
from kaleyard.images.build_commands import Commands
from kaleyard.images.builders import BUILDERS, BuildRequest, find_builder

GOOD = {
    "docker": 'case "$1" in buildx) exit 1;; --version) echo "Docker version 20.10";; *) exit 0;; esac',
    "podman": "exit 0",
    "buildah": "exit 0",
}


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the whole path."""
    folder = tmp_path / "tools"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def program(folder: Path, name: str, script: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("name", BUILDERS)
def test_the_builder_that_is_here_is_found_and_may_be_named(tools: Path, name: str) -> None:
    path = program(tools, name, GOOD[name])
    assert find_builder(None, Commands()).command == str(path)
    assert find_builder(name, Commands()).name == name


def test_the_first_that_works_is_taken(tools: Path) -> None:
    program(tools, "docker", "echo 'cannot connect' >&2; exit 1")
    program(tools, "podman", GOOD["podman"])
    program(tools, "buildah", GOOD["buildah"])
    assert find_builder(None, Commands()).name == "podman"


def test_a_docker_that_cannot_build_hides_none_that_can(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tools, "docker", 'case "$1" in --version) echo "Docker version 28.1";; buildx) exit 1;; esac')
    with pytest.raises(ExternalError, match="buildx plugin is missing"):
        find_builder("docker", Commands())
    other = program(tools.parent / "other", "docker", GOOD["docker"])
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{other.parent}")
    assert find_builder("docker", Commands()).command == str(other)


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        (None, ExternalError, r"no builder is installed.*\n.*Install one: docker .*podman or buildah"),
        ("podman", ExternalError, r"the builder podman is not installed\n.*Install podman"),
        ("kaniko", UsageError, r"there is no builder kaniko\n.*docker, podman, buildah"),
    ],
)
def test_a_missing_builder_is_told_with_what_to_install(
    tools: Path, name: str | None, error: type[KaleyardError], words: str
) -> None:
    with pytest.raises(error, match=words):
        find_builder(name, Commands())


def test_a_build_that_fails_shows_its_last_twenty_lines_and_what_to_do(tools: Path, tmp_path: Path) -> None:
    lines = " ".join(map(str, range(40)))
    build = f"for n in {lines}; do echo line $n; done; echo 'write /x: no space left on device' >&2; exit 1"
    program(tools, "podman", f'case "$1" in build) {build};; esac')
    with pytest.raises(ExternalError, match="the build failed") as caught:
        find_builder("podman", Commands()).build(BuildRequest("localhost/x:1", tmp_path))
    told = str(caught.value)
    assert "line 39" in told
    assert "line 21" in told
    assert "line 20\n" not in told
    assert "make room" in told


def test_nothing_of_an_order_reaches_a_shell(tools: Path, tmp_path: Path) -> None:
    program(tools, "podman", f'case "$1" in build) printf "%s\\n" "$@" > {tmp_path}/words;; esac')
    hostile = "$(touch /tmp/kaleyard-evil);`id` 'x' \"y\" --flag"
    find_builder("podman", Commands()).build(BuildRequest("localhost/x:1", tmp_path, {"SOURCE": hostile}))
    assert f"SOURCE={hostile}" in (tmp_path / "words").read_text().splitlines()


def test_stopping_ends_the_command_and_all_it_started(tmp_path: Path) -> None:
    commands = Commands()
    caught: list[BaseException] = []
    script = "import subprocess, sys, time; subprocess.Popen(['sleep', '600']); time.sleep(600)"

    def work() -> None:
        try:
            commands.run([sys.executable, "-c", script], "the build")
        except ExternalError as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    before = {p.pid for p in psutil.Process().children(recursive=True)}
    thread.start()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        ours = [p for p in psutil.Process().children(recursive=True) if p.pid not in before]
        if len(ours) == 2:
            break
        time.sleep(0.05)
    commands.stop()
    thread.join(30)
    assert not thread.is_alive()
    assert "was stopped" in str(caught[0])
    assert not psutil.wait_procs(ours, timeout=10)[1]
    with pytest.raises(ExternalError, match="was stopped"):
        commands.run(["true"], "another")


TOKEN = "a$HOME'token"


@pytest.mark.parametrize(
    ("name", "registry", "words"),
    [
        ("docker", "docker.io/me", "--password-stdin docker.io"),
        ("docker", "localhost:5000", "--password-stdin localhost:5000"),
        ("podman", "registry.example.com/owner/more/", "--password-stdin registry.example.com"),
        ("buildah", "localhost:5000/team", "--password-stdin --tls-verify=false localhost:5000"),
    ],
)
@pytest.mark.parametrize("piped", [False, True])
def test_login_hands_the_token_to_the_builder_and_tells_it_nobody(
    tools: Path, project: Path, monkeypatch: pytest.MonkeyPatch, name: str, registry: str, words: str, piped: bool
) -> None:
    does = f'echo "$@" >{project}/told; /bin/cat >{project}/given'
    program(tools, name, f'case "$1" in login) {does};; *) {GOOD[name]};; esac')
    monkeypatch.chdir(project)
    monkeypatch.setenv("KALEYARD_REGISTRY", registry)
    monkeypatch.setenv("REGISTRY_USER", "nobody" if piped else "o'b")
    monkeypatch.setenv("REGISTRY_TOKEN", "" if piped else TOKEN)
    options = ["--username", "o'b", "--password-stdin"] if piped else []
    done = CliRunner().invoke(cli, ["login", *options], input=f"{TOKEN}\n" if piped else None)
    assert done.exit_code == 0, done.output
    assert (project / "told").read_text() == f"login --username o'b {words}\n"
    assert (project / "given").read_text() == TOKEN
    assert "token" not in done.output


@pytest.mark.parametrize("lacks", ["REGISTRY_USER", "REGISTRY_TOKEN"])
def test_login_without_a_user_or_a_token_says_which(lacks: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in {"REGISTRY_USER", "REGISTRY_TOKEN"} - {lacks}:
        monkeypatch.setenv(name, "x")
    monkeypatch.delenv(lacks, raising=False)
    done = CliRunner().invoke(cli, ["login", "--registry", "registry.example.com"])
    assert isinstance(done.exception, UsageError)
    assert done.exception.what == f"{lacks} is not set"


def test_a_registry_that_refuses_is_told_without_the_token(tools: Path) -> None:
    program(
        tools,
        "podman",
        f'[ "$1" = login ] || exit 0; echo "{TOKEN.replace("$", chr(92) + "$")} is wrong" >&2; exit 125',
    )
    with pytest.raises(ExternalError, match=r"podman cannot sign in to registry\.example\.com as me: \.\.\. is wrong"):
        find_builder("podman", Commands()).login("registry.example.com", "me", TOKEN)
