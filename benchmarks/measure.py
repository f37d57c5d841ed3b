"""What a command takes: wall time, processor time and memory of it and of everything it started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Measurement", "measure"]

_SUPERVISOR = Path(__file__).with_name("supervisor.py")


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one command took, or several one after the other.

    `wall` and `cpu` are seconds; `pss` and `rss` are MiB, the largest sums over the command's processes at one time,
    of their shares of the memory they use and of all of it; `others` is how many processors were busy with something
    else meanwhile. `left` are processes that did not end with the command: they were killed 5 s after it.
    `expired`: the command took too long, and was killed.
    """

    wall: float = 0.0
    cpu: float = 0.0
    pss: float = 0.0
    rss: float = 0.0
    others: float = 0.0
    code: int = 0
    expired: bool = False
    left: tuple[str, ...] = ()

    def __add__(self, later: Measurement) -> Measurement:
        wall = self.wall + later.wall
        return Measurement(
            wall,
            self.cpu + later.cpu,
            max(self.pss, later.pss),
            max(self.rss, later.rss),
            (self.others * self.wall + later.others * later.wall) / wall if wall else 0.0,
            self.code or later.code,
            self.expired or later.expired,
            self.left + later.left,
        )


def measure(
    command: Sequence[str | Path], folder: Path, log: Path, environment: Mapping[str, str], limit: float
) -> Measurement:
    """Run the command in `folder`, its output to `log`, at most `limit` seconds, and return what it took.

    All its processes have ended when this returns, or raises for Ctrl-C.
    """
    told: dict[str, Any] = {
        "command": [str(part) for part in command],
        "folder": str(folder),
        "log": str(log),
        "environment": dict(environment),
        "limit": limit,
        "parent": os.getpid(),
    }
    supervisor = subprocess.Popen(
        [sys.executable, "-I", "-S", str(_SUPERVISOR)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        answer, _ = supervisor.communicate(json.dumps(told))
    except BaseException:
        supervisor.terminate()
        supervisor.wait()
        raise
    if supervisor.returncode:
        raise RuntimeError(f"the command could not be measured; its supervisor ended with {supervisor.returncode}")
    found = json.loads(answer)
    sizes = {name: found.get(name, 0) / 2**20 for name in ("pss", "rss")}
    return Measurement(**found | sizes | {"left": tuple(found.get("left", ()))})
