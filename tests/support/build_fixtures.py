"""Projects to build images of: `bare`, where nothing answers, and `place`, where everything is there."""

from __future__ import annotations

import os
import shutil
import socket
import time
from pathlib import Path

import pytest

from build_place import Place
from container_engine import Engine


@pytest.fixture
def bare(project: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A project whose registry does not answer, and whose images nobody can build."""
    shutil.copy(repository / "requirements.lock", project)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        registry = f"127.0.0.1:{free.getsockname()[1]}/team"
    (project / "notebooks/helper.py").write_text("START = 1\n")
    monkeypatch.chdir(project)
    place = Place(project, registry, "python:3.12-slim", {})
    place.write()
    return place


@pytest.fixture
def place(bare: Place, engine: Engine, registry: str, base_image: str, monkeypatch: pytest.MonkeyPatch) -> Place:
    """The same project where everything is there; nothing of it is in the registry yet."""
    monkeypatch.setenv("KALEYARD_BASE_IMAGE", base_image)
    certificates = os.environ.get("PIP_CERT") or os.environ.get("SSL_CERT_FILE") or ""
    told = {"ca": Path(certificates), "pipconf": Path("/etc/pip.conf")}
    secrets = {name: path for name, path in told.items() if path.is_file()}
    return Place(bare.root, f"{registry}/t{time.time_ns()}", base_image, secrets)
