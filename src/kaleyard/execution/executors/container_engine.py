"""The container engines a step can run in, and how they are spoken to: by their command lines, never through a shell.

A new engine is a row in `ENGINES`, if its command takes Docker's words.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kaleyard.errors import ExternalError, UsageError

__all__ = ["ENGINES", "Engine", "EngineKind", "find_engine"]

_PATIENCE = 60.0  # seconds for a question that takes a tenth of one


@dataclass(frozen=True, slots=True)
class EngineKind:
    """What tells one engine from another: how to get and start it, and what only it has to be told."""

    install: str
    start: str
    options: tuple[str, ...] = ()


ENGINES: dict[str, EngineKind] = {
    "docker": EngineKind(
        "Install Docker (https://docs.docker.com/engine/install; Debian and Ubuntu: apt install docker.io)",
        "Start it (Docker Desktop, or: sudo systemctl start docker), or say in DOCKER_HOST where it is",
    ),
    "podman": EngineKind(
        "Install Podman (https://podman.io/docs/installation; Debian and Ubuntu: apt install podman)",
        "Start its machine: podman machine start",
        # Without root, the caller's own id is then the same inside as outside.
        ("--userns=keep-id",),
    ),
}

# What engines say, in several versions' words, when they cannot do what they are told; what that means; what helps.
_REFUSALS = (
    (
        r"permission denied.{0,80}(socket|\.sock)",
        "{name} does not let you in",
        "Join its group (sudo usermod -aG docker $USER, then log in anew), or use Podman.",
    ),
    (
        r"cannot connect to|failed to connect|unable to connect|error during connect|error waiting for container",
        "{name} does not run",
        "{start}.",
    ),
    (r"no space left on device|disk quota exceeded", "the disk of {name} is full", "Free it: {name} system prune."),
)


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine that answers: its name in `ENGINES`, and the command that speaks to it."""

    name: str
    command: str

    def ask(self, *arguments: str) -> str:
        """What it prints, told to do this. Raises ExternalError if it refuses."""
        done = self.try_to(*arguments)
        if done.returncode:
            raise self.refusal(done.stderr or done.stdout)
        return done.stdout

    def try_to(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """What came of telling it to do this. Raises ExternalError if it cannot even be told."""
        command = [self.command, *arguments]
        try:
            return subprocess.run(
                command, capture_output=True, text=True, errors="replace", timeout=_PATIENCE, check=False
            )
        except OSError as error:
            raise ExternalError(f"{self.command} cannot be started: {error.strerror}") from error
        except subprocess.TimeoutExpired as error:
            raise ExternalError(f"{self.name} did not answer in {_PATIENCE:g} s", fix="Start it anew.") from error

    def start(self, arguments: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
        """Its command at work, what it says going to `log`; Ctrl-C on the terminal does not reach it."""
        with log.open("ab") as out:
            return subprocess.Popen(
                [self.command, *arguments], stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )

    def begin(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Its command at work on something long, what it says on one pipe."""
        return subprocess.Popen(
            [self.command, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def image_ids(self, images: Sequence[str]) -> dict[str, str]:
        """The ids of those of the images that it has; equal ids are equal content."""
        asked = self.try_to("image", "inspect", "--format", "{{.Id}}", *images)
        if not asked.returncode:
            return dict(zip(images, asked.stdout.split(), strict=True))
        # It prints the ids of those it has, and does not say whose they are.
        return {n: i for name in images for n, i in self.image_ids([name]).items()} if len(images) > 1 else {}

    @property
    def options(self) -> tuple[str, ...]:
        """What only this engine has to be told for a step."""
        return ENGINES[self.name].options if os.getuid() else ()

    def refusal(self, said: str) -> ExternalError:
        """The error behind what the engine said, with the last of its own words."""
        words = next((line for line in reversed(said.splitlines()) if line.strip()), "it gave no reason")
        start = ENGINES[self.name].start
        for pattern, what, fix in _REFUSALS:
            if re.search(pattern, said, re.IGNORECASE):
                return ExternalError(
                    f"{what.format(name=self.name)}: {words}", fix=fix.format(name=self.name, start=start)
                )
        return ExternalError(f"{self.name} refused: {words}")


def find_engine(wanted: str = "") -> tuple[Engine, list[str]]:
    """The engine asked for, or the first in `ENGINES` that answers; and the names of Kaleyard's containers in it.

    `wanted` is a name in `ENGINES` or a path that ends in one. Raises UsageError for any other, and ExternalError,
    with what to install or to start, if no engine answers.
    """
    name = Path(wanted).name
    if wanted and name not in ENGINES:
        raise UsageError(f"there is no engine {wanted}", fix=f"Choose one of {', '.join(ENGINES)}.")
    refusals: list[ExternalError] = []
    for kind in [name] if wanted else list(ENGINES):
        command = shutil.which(wanted or kind)
        if command is None:
            continue
        engine = Engine(kind, command)
        try:
            names = engine.ask("ps", "--all", "--filter", "label=kaleyard.run", "--format", "{{.Names}}")
        except ExternalError as error:
            refusals.append(error)
            continue
        return engine, names.split()
    if refusals:
        raise refusals[0]
    row = ENGINES[name] if wanted else ENGINES["docker"]
    what = f"{wanted} is not installed" if wanted else f"none of {', '.join(ENGINES)} is installed"
    raise ExternalError(what, fix=f"{row.install}, or run the steps as processes: --runner process.")
