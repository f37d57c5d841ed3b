"""What fits together: `templates/cluster/compatibility.yaml`, read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from kaleyard.config import template_folder
from kaleyard.errors import ProjectError

__all__ = [
    "MachineRequirements",
    "Range",
    "Size",
    "compatibility",
    "range_of",
    "requirements_for",
    "tool_minimum",
    "value",
]

_FILE = "compatibility.yaml"


@dataclass(frozen=True, slots=True)
class Range:
    """Versions that will do: from `minimum` on, up to and with `maximum`, or up to and without `below`."""

    minimum: str
    maximum: str = ""
    below: str = ""

    def judge(self, version: str) -> str:
        """Nothing for a version that will do, else "old" or "new"."""
        from packaging.version import InvalidVersion, Version

        try:
            number = Version(version)
        except InvalidVersion:
            return "old"
        if number < Version(self.minimum):
            return "old"
        # 1.36.4 is a 1.36, so it is told by its first two numbers.
        if self.maximum and number.release[:2] > Version(self.maximum).release[:2]:
            return "new"
        return "new" if self.below and number.release >= Version(self.below).release else ""

    def __str__(self) -> str:
        end = f", below {self.below}" if self.below else f" to {self.maximum}" if self.maximum else " or newer"
        return f"{self.minimum}{end}"


@dataclass(frozen=True, slots=True)
class Size:
    """Processors, and memory and free disk in GiB."""

    cores: float
    memory: float
    disk: float


@dataclass(frozen=True, slots=True)
class MachineRequirements:
    """What something needs of a machine: below the minimum it does not work, below the recommendation it is tight."""

    minimum: Size
    recommended: Size


@cache
def compatibility() -> Mapping[str, Any]:
    """The whole matrix, as it is in the file. Raises ProjectError if the file is not there or no YAML."""
    import yaml

    path = template_folder("cluster") / _FILE
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ProjectError(f"{path} cannot be read: {error}", fix="Install Kaleyard anew.") from error
    assert isinstance(data, dict)
    return data


def value(key: str) -> str:
    """One value of the matrix by its path, such as `ways.kind.image`. Raises ProjectError if there is none."""
    found: Any = compatibility()
    for part in key.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    if found is None or isinstance(found, dict):
        raise ProjectError(f"{_FILE} has no value {key}")
    return str(found)


def range_of(name: str) -> Range:
    """Which versions of `kubernetes`, `kfp` or `python` will do."""
    entry = compatibility()[name]
    return Range(entry["minimum"], entry.get("maximum", ""), entry.get("below", ""))


def tool_minimum(name: str) -> str:
    """The oldest version of a tool that will do."""
    return str(compatibility()["tools"][name]["minimum"])


def requirements_for(name: str) -> MachineRequirements:
    """What `local` runs or a `cluster` need of a machine."""
    entry = compatibility()["machine"][name]
    return MachineRequirements(Size(**entry["minimum"]), Size(**entry["recommended"]))
