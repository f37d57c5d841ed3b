"""What tests tell a container engine, and the images of steps that they need."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kaleyard.config import Project
from kaleyard.images.build_options import BuildOptions
from kaleyard.images.pipeline_images import local_images
from kaleyard.pipeline import Pipeline

__all__ = ["Engine", "Kind", "images", "locked", "secrets", "settings"]

Kind = Literal["docker", "podman"]


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine that answers: its kind, and the command that speaks to it."""

    kind: Kind
    command: tuple[str, ...]

    def ask(self, *arguments: str, check: bool = True) -> str:
        """What the engine prints, told to do this; with `check`, the test fails if it refuses."""
        done = subprocess.run([*self.command, *arguments], capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, f"{' '.join(arguments)}: {done.stderr}"
        return done.stdout.strip()

    def left(self) -> list[str]:
        """The names of all containers of ours, running or not."""
        return self.ask("ps", "--all", "--filter", "label=kaleyard.run", "--format", "{{.Names}}").split()


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Only one process on this machine, of all that run tests, is in here at a time."""
    place = Path(os.environ.get("XDG_CACHE_HOME") or "/var/tmp") / f"kaleyard-tests-{os.getuid()}"
    place.mkdir(parents=True, exist_ok=True)
    with (place / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def images(engine: Engine, pipeline: Pipeline, project: Project) -> dict[str, str]:
    """The steps' images by step name, those built that the engine does not have."""
    with locked("build"):
        return local_images(pipeline, project, BuildOptions(engine.kind, secrets=secrets()))


def settings(folder: Path, base: str, registry: str = "127.0.0.1:1") -> None:
    """Make the folder a project whose images have that base and go to that registry, with this repository's lock."""
    text = f'[tool.kaleyard]\nbase-image = "{base}"\nregistry = "{registry}"\n'
    (folder / "pyproject.toml").write_text(text, encoding="utf-8")
    shutil.copy(Path(__file__).parents[2] / "requirements.lock", folder)


def secrets() -> dict[str, Path]:
    """What pip needs in a build on this machine: a private certificate authority, and where its index is."""
    certificates = os.environ.get("PIP_CERT") or os.environ.get("SSL_CERT_FILE") or ""
    told = {"ca": Path(certificates), "pipconf": Path("/etc/pip.conf")}
    return {name: path for name, path in told.items() if path.is_file()}
