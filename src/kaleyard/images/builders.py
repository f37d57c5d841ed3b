"""The programs that build images: a literal table of three, and which of them is here."""

from __future__ import annotations

import json
import os
import re
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from kaleyard.errors import ExternalError, Location, UsageError
from kaleyard.images.build_commands import Commands
from kaleyard.images.oci_registry import is_loopback

__all__ = ["BUILDERS", "BuildRequest", "Builder", "find_builder"]

_INSTALL = "Install one: docker (https://docs.docker.com/engine/install), podman or buildah; then start it."
_QUESTION_SECONDS = 60
_SHOWN = 400  # characters of what a program says when it fails
# Reproducible images have one date, that of every file in them (templates/step/layer.py).
_TIME = "315532800"
_PARALLEL = 23  # the first major version of Docker's engine whose BuildKit survives builds that share stages
_BUILDX = 23  # the first major version of Docker's client that builds with its plugin alone
_UNKNOWN = re.compile(r"no such (image|object)|not known|not found|unknown image", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """One image to build: its name, the folder it is built from, and how."""

    image: str
    folder: Path
    arguments: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, Path] = field(default_factory=dict)
    platform: str = ""
    place: Location | None = None

    def options(self) -> list[str]:
        """The options that all builders take in the same words."""
        found = ["--tag", self.image, "--file", str(self.folder / "Dockerfile")]
        found += [o for n, v in self.arguments.items() for o in ("--build-arg", f"{n}={v}")]
        found += [o for n, p in self.secrets.items() for o in ("--secret", f"id={n},src={p}")]
        return [*found, *(["--platform", self.platform] if self.platform else []), str(self.folder)]


@dataclass(frozen=True, slots=True)
class Builder(ABC):
    """A program that builds, keeps and pushes images."""

    name: ClassVar[str]
    command: str
    commands: Commands

    @classmethod
    @abstractmethod
    def usable(cls, command: str) -> str:
        """Why this command cannot build, "" if it can."""

    @property
    def jobs(self) -> int:
        """How many builds should run at once, unless the user says so."""
        return 1

    @abstractmethod
    def build(self, order: BuildRequest) -> None:
        """Build the image. Raises ExternalError with the builder's last lines."""

    def push(self, image: str, place: Location | None = None) -> None:
        """Push the image to the registry in its name. Raises ExternalError likewise."""
        plain = ["--tls-verify=false"] if is_loopback(image.partition("/")[0]) else []
        self.commands.run([self.command, "push", "--quiet", *plain, image], f"pushing {image}", place=place)

    def login(self, host: str, user: str, token: str) -> None:
        """Sign in to a registry, for builds and pushes. Raises ExternalError, without the token, if it refuses."""
        plain = ["--tls-verify=false"] if is_loopback(host) else []
        self._login([*plain, host], host, user, token)

    def _login(self, options: list[str], host: str, user: str, token: str) -> None:
        done = _ask([self.command, "login", "--username", user, "--password-stdin", *options], token)
        if done.returncode:
            told = done.stderr.replace(token, "...").strip()[-_SHOWN:]
            raise ExternalError(
                f"{self.name} cannot sign in to {host} as {user}: {told}",
                fix="Look at the user and the token; the token must still be valid.",
            )

    def labels(self, image: str) -> Mapping[str, str] | None:
        """The labels of an image it keeps, None if it has none of that name. Raises ExternalError if it cannot say."""
        told = self._inspected(image)
        return None if told is None else self._labels(told)

    def digest(self, image: str) -> str:
        """The digest under which a registry gave it this image, "" if it has none."""
        told = self._inspected(image) or {}
        name = image.partition("@")[0]
        plain = name.rpartition(":")[0] if ":" in name.rpartition("/")[2] else name
        found = [r.partition("@") for r in told.get("RepoDigests") or ()]
        return next((digest for place, _, digest in found if place.endswith(plain)), "")

    def _inspected(self, image: str) -> Any:
        done = _ask([self.command, *self._inspect(), image])
        if done.returncode == 0:
            told = json.loads(done.stdout)
            return told[0] if isinstance(told, list) else told
        if _UNKNOWN.search(done.stderr):
            return None
        raise ExternalError(f"{self.name} does not answer: {done.stderr.strip()[-_SHOWN:]}", fix="Start it.")

    def _inspect(self) -> list[str]:
        return ["image", "inspect"]

    def _labels(self, told: Any) -> Mapping[str, str]:
        return (told.get("Config") or {}).get("Labels") or {}


class _Docker(Builder):
    """Docker with BuildKit, which makes what several builds have in common once."""

    name = "docker"

    @property
    def jobs(self) -> int:
        """Four, but one before version 23: its dockerd may panic if builds share stages (moby/moby#42414)."""
        done = _ask([self.command, "version", "--format", "{{.Server.Version}}"])
        major = re.match(r"\d+", done.stdout)
        return 4 if major and int(major[0]) >= _PARALLEL else 1

    @classmethod
    def usable(cls, command: str) -> str:
        if not _has_buildx(command):
            done = _ask([command, "--version"])
            major = re.search(r"\d+", done.stdout)
            if not major or int(major[0]) >= _BUILDX:
                return "its buildx plugin is missing"
        done = _ask([command, "version", "--format", "{{.Server.Version}}"])
        return "" if done.returncode == 0 else f"its engine does not answer: {done.stderr.strip()[-200:]}"

    def build(self, order: BuildRequest) -> None:
        load = ["--load"] if _has_buildx(self.command) else []
        # Attestations would make an index of every image, which is another one each time.
        variables = {"DOCKER_BUILDKIT": "1", "BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}
        command = [self.command, "build", "--progress=plain", "--build-arg", f"SOURCE_DATE_EPOCH={_TIME}", *load]
        self.commands.run([*command, *order.options()], "the build", place=order.place, variables=variables)

    def push(self, image: str, place: Location | None = None) -> None:
        self.commands.run([self.command, "push", image], f"pushing {image}", place=place)

    def login(self, host: str, user: str, token: str) -> None:
        self._login([host], host, user, token)


class _Podman(Builder):
    """Podman, which needs no engine that runs."""

    name = "podman"

    @classmethod
    def usable(cls, command: str) -> str:
        done = _ask([command, "info"])
        return "" if done.returncode == 0 else f"it cannot run: {done.stderr.strip()[-200:]}"

    def build(self, order: BuildRequest) -> None:
        command = [self.command, "build", "--layers", "--timestamp", _TIME]
        self.commands.run([*command, *order.options()], "the build", place=order.place)


class _Buildah(_Podman):
    """Buildah, which builds where nothing may run as a service; Podman builds by it, in the same words."""

    name = "buildah"

    def _inspect(self) -> list[str]:
        return ["inspect", "--type", "image"]

    def _labels(self, told: Any) -> Mapping[str, str]:
        return told["OCIv1"].get("config", {}).get("Labels") or {}


# In the order in which they are tried.
BUILDERS: Mapping[str, type[Builder]] = {b.name: b for b in (_Docker, _Podman, _Buildah)}


def find_builder(name: str | None, commands: Commands) -> Builder:
    """The builder of that name, or the first that can build here.

    Raises UsageError for a name that no builder has, and ExternalError, saying what to install, if there is none.
    """
    if name is not None and name not in BUILDERS:
        raise UsageError(f"there is no builder {name}", fix=f"Choose one of {', '.join(BUILDERS)}.")
    kinds = [BUILDERS[name]] if name else list(BUILDERS.values())
    reasons: list[str] = []
    for kind in kinds:
        for command in _found(kind.name):
            why = kind.usable(command)
            if not why:
                return kind(command, commands)
            reasons.append(f"{command}: {why}")
    told = "".join(f"\n    {reason}" for reason in reasons)
    if name and not reasons:
        raise ExternalError(
            f"the builder {name} is not installed", fix=f"Install {name}, or choose another: --builder."
        )
    if reasons:
        raise ExternalError(
            f"no builder can be used here{told}", fix=f"Mend it, or choose another: --builder. {_INSTALL}"
        )
    raise ExternalError(f"no builder is installed: none of {', '.join(BUILDERS)}", fix=_INSTALL)


def _found(name: str) -> Iterator[str]:
    """Every command of that name on the path: another client of Docker's may stand before the one that builds."""
    for folder in dict.fromkeys(os.get_exec_path()):
        path = Path(folder or ".", name)
        if path.is_file() and os.access(path, os.X_OK):
            yield str(path)


def _has_buildx(command: str) -> bool:
    return _ask([command, "buildx", "version"]).returncode == 0


def _ask(command: list[str], given: str = "") -> subprocess.CompletedProcess[str]:
    """A short question to a program, which reads what is `given`; one that does not answer in time has failed."""
    try:
        return subprocess.run(
            command,
            input=given,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_QUESTION_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"no answer within {_QUESTION_SECONDS} s")
    except OSError as error:
        return subprocess.CompletedProcess(command, 1, "", str(error.strerror))
