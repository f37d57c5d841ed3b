"""Whether the container a step runs in has run into its memory limit: the kernel's own word, wherever it runs.

Files and their meaning: https://docs.kernel.org/admin-guide/cgroup-v2.html (memory.events, memory.max) and
https://docs.kernel.org/admin-guide/cgroup-v1/memory.html (memory.oom_control, memory.limit_in_bytes).
"""

from __future__ import annotations

import os
import re
from pathlib import Path

__all__ = ["exceeded_limit", "memory_size"]

_CGROUPS = Path("/sys/fs/cgroup")
# The file that counts the processes killed for want of memory, and the one that tells the limit.
_FILES = (("memory.events", "memory.max"), ("memory/memory.oom_control", "memory/memory.limit_in_bytes"))


def exceeded_limit(cgroups: Path = _CGROUPS) -> int:
    """The limit in bytes for want of which a process of this container was killed; 0 if none was, or there is none."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for events, limit in _FILES:
        try:
            killed = re.search(r"(?m)^oom_kill (\d+)$", (cgroups / events).read_text(encoding="ascii"))
            told = (cgroups / limit).read_text(encoding="ascii").strip()
        except OSError:
            continue
        # Where nothing limits the group, it is "max", or a number beyond all memory.
        if killed and int(killed[1]) and told.isdecimal() and int(told) < machine:
            return int(told)
    return 0


def memory_size(number: int) -> str:
    """A number of bytes in the largest unit it has a whole number of, as in a tag."""
    for unit, size in (("Gi", 1024**3), ("Mi", 1024**2), ("Ki", 1024)):
        if number % size == 0:
            return f"{number // size}{unit}"
    return f"{number} bytes"
