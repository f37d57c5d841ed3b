"""How images are built and where they go, as told by options and `KALEYARD_BUILD_*` variables."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kaleyard.errors import UsageError

__all__ = ["SECRETS", "BuildOptions", "build_secrets"]

# What a build may be given without its staying in the image: the secret's name, and the variable for its file.
SECRETS = {"ca": "KALEYARD_BUILD_CA", "pipconf": "KALEYARD_BUILD_PIPCONF"}
_PLATFORM = re.compile(r"[a-z0-9]+/[a-z0-9_]+(/[a-z0-9]+)?")


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """How to build: with which builder, for which platform (the engine's own by default), how many at once."""

    builder: str | None = None
    platform: str = ""
    push: bool = True
    dry_run: bool = False
    jobs: int | None = None
    secrets: Mapping[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.platform and not _PLATFORM.fullmatch(self.platform):
            raise UsageError(
                f"{self.platform!r} is not one platform", fix="Name one as its system and processor: linux/amd64."
            )


def build_secrets(told: Mapping[str, str | os.PathLike[str]]) -> dict[str, Path]:
    """The files of the build's secrets by name: those told, else what the variables name.

    Raises UsageError for a name there is no secret of, and for a file that is not there.
    """
    for name in told:
        if name not in SECRETS:
            raise UsageError(f"a build has no secret {name!r}", fix=f"There are {' and '.join(SECRETS)}.")
    files = {name: told.get(name) or os.environ.get(variable) for name, variable in SECRETS.items()}
    found = {name: Path(path).expanduser() for name, path in files.items() if path}
    for name, path in found.items():
        if not path.is_file():
            raise UsageError(f"{path}, the build's secret {name}, is no file", fix=f"See --secret and {SECRETS[name]}.")
    return found
