"""What this machine is, in a line, and whether it has something else to do."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from pathlib import Path

from benchmarks.measure import measure

__all__ = ["busy", "describe", "list_versions"]


def describe() -> str:
    """Processor, memory, system and Python."""
    processor = _search("/proc/cpuinfo", r"^model name\s*: (.+)$") or platform.machine()
    memory = int(_search("/proc/meminfo", r"^MemTotal:\s*(\d+) kB$") or 0) / 2**20
    system = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    return (
        f"{processor}, {len(os.sched_getaffinity(0))} processors, {memory:.0f} GiB of memory, {system}, "
        f"Linux {platform.release()}, Python {platform.python_version()}"
    )


def list_versions(environments: Mapping[str, Mapping[str, str]]) -> str:
    """The versions of every environment's packages, those that are the same in all of them once."""
    same = set.intersection(*(set(packages.items()) for packages in environments.values())) if environments else set()
    parts = {name: [p for p in packages.items() if p not in same] for name, packages in environments.items()}
    everywhere = [p for p in next(iter(environments.values()), {}).items() if p in same]
    told = {"in every environment": everywhere} | parts
    return "; ".join(
        f"{name}: {', '.join(' '.join(p) for p in packages)}" for name, packages in told.items() if packages
    )


def busy(folder: Path, seconds: float = 0.5) -> float:
    """How many processors work for others while nothing is measured."""
    return measure(["sleep", str(seconds)], folder, folder / "idle.log", os.environ, 10 * seconds).others


def _search(path: str, pattern: str) -> str:
    found = re.search(pattern, Path(path).read_text(encoding="utf-8", errors="replace"), flags=re.MULTILINE)
    return found[1].strip() if found else ""
