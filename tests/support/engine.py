"""Fixtures: a real container engine, a registry and a base image, as `.ci/engine start` tells, or as found here.

Without them the tests that need them are skipped, in a line that says what to do; where every test must run they fail.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import NoReturn, get_args
from urllib.error import HTTPError

import pytest

from container_engine import Engine, Kind
from everything import EVERYTHING

# As the caller set them: conftest.py takes them away from every test.
_REGISTRY = os.environ.get("KALEYARD_TEST_REGISTRY", "")
_BASE = os.environ.get("KALEYARD_TEST_BASE_IMAGE", "")
_ENGINE = os.environ.get("KALEYARD_TEST_ENGINE", "")
_ADVICE = 'settings=$(.ci/engine start) && eval "$settings"'


def lacking(what: str, advice: str) -> NoReturn:
    """Skip the test for want of `what`, in one line; where every test must run, fail it."""
    message = f"there is no {what}: {advice}, or: {_ADVICE}"
    if EVERYTHING:
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


@pytest.fixture(scope="session")
def engine() -> Engine:
    """The engine that answers, Docker before Podman; the one that KALEYARD_TEST_ENGINE names, if it does."""
    kinds: tuple[Kind, ...] = get_args(Kind)
    for kind in (k for k in kinds if _ENGINE in ("", k)):
        command = shutil.which(kind)
        if command is None:
            continue
        asked = subprocess.run([command, "ps"], capture_output=True, timeout=60, check=False)
        if asked.returncode == 0:
            return Engine(kind, (command,))
    lacking("container engine", "install and start Docker or Podman")


@pytest.fixture(scope="session")
def registry(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry on this machine that anybody may push to: "127.0.0.1:PORT"."""
    if _REGISTRY:
        yield _REGISTRY
        return
    with serving_registry(tmp_path_factory.mktemp("registry")) as address:
        yield address


@contextmanager
def serving_registry(folder: Path, more: str = "") -> Iterator[str]:
    """A registry that keeps its things in that folder, with `more` settings: "127.0.0.1:PORT"."""
    command = shutil.which("docker-registry")
    if command is None:
        lacking("registry", "install docker-registry")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    settings = f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {folder}}}}}\nhttp: {{addr: '{address}'}}\n"
    (folder / "registry.yml").write_text(settings + more, encoding="utf-8")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([command, "serve", str(folder / "registry.yml")], stdout=log, stderr=log)
    try:
        _wait_for(f"http://{address}/v2/", process)
        yield address
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="session")
def base_image(engine: Engine) -> str:
    """An image with Python that the engine has."""
    image = _BASE or f"python:{sys.version_info.major}.{sys.version_info.minor}-slim"
    if not engine.ask("image", "ls", "--quiet", image):
        pulled = subprocess.run([*engine.command, "pull", image], capture_output=True, timeout=600, check=False)
        if pulled.returncode:
            lacking(f"image {image}", "pull it")
    return image


def _wait_for(address: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except HTTPError as error:
            if error.code == HTTPStatus.UNAUTHORIZED:  # it asks who one is: it answers
                return
            raise
        except OSError:
            assert process.poll() is None, "the registry ended"
            assert time.monotonic() < deadline, "the registry does not answer"
            time.sleep(0.1)
