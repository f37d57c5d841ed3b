"""Whether a step's container has exceeded its memory limit, as the Linux kernel reports it.

The files that are read: https://docs.kernel.org/admin-guide/cgroup-v2.html (memory.events, memory.max) and
https://docs.kernel.org/admin-guide/cgroup-v1/memory.html (memory.oom_control, memory.limit_in_bytes).
"""

from __future__ import annotations

import os
import re
from pathlib import Path

__all__ = ["exceeded_limit", "memory_size"]

_CGROUPS = Path("/sys/fs/cgroup")
# The file that counts processes killed by the OOM killer, and the one that holds the limit.
_FILES = (("memory.events", "memory.max"), ("memory/memory.oom_control", "memory/memory.limit_in_bytes"))


def exceeded_limit(cgroups: Path = _CGROUPS) -> int:
    """The container's memory limit in bytes if a process was killed for exceeding it, else 0."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for events_file, limit_file in _FILES:
        try:
            kills = re.search(r"(?m)^oom_kill (\d+)$", (cgroups / events_file).read_text(encoding="ascii"))
            text = (cgroups / limit_file).read_text(encoding="ascii").strip()
        except OSError:
            continue
        # Without a limit the value is "max", or a number larger than the machine's memory.
        if kills and int(kills[1]) and text.isdecimal() and int(text) < machine:
            return int(text)
    return 0


def memory_size(size: int) -> str:
    """A number of bytes in the largest unit that gives a whole number, as in a tag: `512Mi`."""
    for unit, unit_size in (("Gi", 1024**3), ("Mi", 1024**2), ("Ki", 1024)):
        if size % unit_size == 0:
            return f"{size // unit_size}{unit}"
    return f"{size} bytes"
