"""The container engines that can run a step, called by their command lines, never through a shell.

To add an engine whose command is compatible with Docker's, add a row to `ENGINES`.
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

_TIMEOUT = 60.0  # seconds; most calls take 0.1


@dataclass(frozen=True, slots=True)
class EngineKind:
    """How engines differ: how to install and start each, and the options that only it needs."""

    install: str
    start: str
    options: tuple[str, ...] = ()


ENGINES: dict[str, EngineKind] = {
    "docker": EngineKind(
        "Install Docker (https://docs.docker.com/engine/install; Debian and Ubuntu: apt install docker.io)",
        "Start it (Docker Desktop, or: sudo systemctl start docker), or set DOCKER_HOST to its address",
    ),
    "podman": EngineKind(
        "Install Podman (https://podman.io/docs/installation; Debian and Ubuntu: apt install podman)",
        "Start its machine: podman machine start",
        # Without root, the user then has the same id inside the container as outside.
        ("--userns=keep-id",),
    ),
}

# Error messages of several versions of the engines, what each means, and what to do.
_REFUSALS = (
    (
        r"permission denied.{0,80}(socket|\.sock)",
        "{name} denies you access",
        "Join its group (sudo usermod -aG docker $USER, then log in again), or use Podman.",
    ),
    (
        r"cannot connect to|failed to connect|unable to connect|error during connect|error waiting for container",
        "{name} is not running",
        "{start}.",
    ),
    (r"no space left on device|disk quota exceeded", "the disk of {name} is full", "Free space: {name} system prune."),
)


@dataclass(frozen=True, slots=True)
class Engine:
    """A running engine: its name in `ENGINES`, and its command."""

    name: str
    command: str

    def ask(self, *arguments: str) -> str:
        """The output of a command. Raises ExternalError if it fails."""
        done = self.try_to(*arguments)
        if done.returncode:
            raise self.refusal(done.stderr or done.stdout)
        return done.stdout

    def try_to(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The result of a command, even if it fails. Raises ExternalError if it cannot be run."""
        command = [self.command, *arguments]
        try:
            return subprocess.run(
                command, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT, check=False
            )
        except OSError as error:
            raise ExternalError(f"{self.command} cannot be started: {error.strerror}") from error
        except subprocess.TimeoutExpired as error:
            raise ExternalError(f"{self.name} did not answer within {_TIMEOUT:g} s", fix="Restart it.") from error

    def start(self, arguments: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
        """Start a command whose output goes to `log`; Ctrl-C in the terminal does not reach it."""
        with log.open("ab") as out:
            return subprocess.Popen(
                [self.command, *arguments], stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )

    def begin(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a command whose standard output and error go to one pipe."""
        return subprocess.Popen(
            [self.command, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def image_ids(self, images: Sequence[str]) -> dict[str, str]:
        """The ids of the images that the engine has; equal ids mean equal content."""
        answer = self.try_to("image", "inspect", "--format", "{{.Id}}", *images)
        if not answer.returncode:
            return dict(zip(images, answer.stdout.split(), strict=True))
        # If an image is missing, it prints the other ids, but not which image each belongs to.
        return {n: i for name in images for n, i in self.image_ids([name]).items()} if len(images) > 1 else {}

    @property
    def options(self) -> tuple[str, ...]:
        """The options that only this engine needs to run a step."""
        return ENGINES[self.name].options if os.getuid() else ()

    def refusal(self, output: str) -> ExternalError:
        """The error for a command's output, with the last line of that output."""
        last_line = next((line for line in reversed(output.splitlines()) if line.strip()), "it gave no reason")
        start = ENGINES[self.name].start
        for pattern, problem, fix in _REFUSALS:
            if re.search(pattern, output, re.IGNORECASE):
                return ExternalError(
                    f"{problem.format(name=self.name)}: {last_line}", fix=fix.format(name=self.name, start=start)
                )
        return ExternalError(f"{self.name} refused: {last_line}")


def find_engine(requested: str = "") -> tuple[Engine, list[str]]:
    """The requested engine, or the first in `ENGINES` that answers; and the names of Kaleyard's containers in it.

    `requested` is a name in `ENGINES` or a path that ends in one. Raises UsageError for another name, and
    ExternalError, which says what to install or start, if no engine answers.
    """
    name = Path(requested).name
    if requested and name not in ENGINES:
        raise UsageError(f"unknown container engine {requested}", fix=f"Choose one of {', '.join(ENGINES)}.")
    refusals: list[ExternalError] = []
    for kind in [name] if requested else list(ENGINES):
        command = shutil.which(requested or kind)
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
    advice = ENGINES[name if requested else "docker"].install
    problem = f"{requested} is not installed" if requested else f"none of {', '.join(ENGINES)} is installed"
    raise ExternalError(problem, fix=f"{advice}, or run the steps as processes: --runner process.")
