"""Checks of the machine itself: Python, processors, memory, disk."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path

from kaleyard.compatibility import MachineRequirements, range_of, requirements_for
from kaleyard.diagnosis.probe import Machine, Probe, ProbeResult, State

__all__ = ["CHECKS", "CLUSTERS"]

# Purposes for which the whole cluster has to fit into this machine.
CLUSTERS = frozenset({"kind", "minikube", "k3d", "microk8s"})
_GIB = 1 << 30
_CGROUP_MEMORY = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def room(machine: Machine) -> MachineRequirements:
    """What the purpose needs of this machine."""
    return requirements_for("cluster" if machine.purpose in CLUSTERS else "local")


def judge(has: float, minimum: float, recommended: float) -> State:
    """Whether that is enough; figures of machines are a little below their names, so a twentieth is forgiven."""
    if has < minimum * 0.95:
        return "small"
    return "tight" if has < recommended * 0.95 else "fine"


class Python(Probe):
    """Install Python 3.12 (or 3.11, 3.13) and make the environment with `make run PYTHON=python3.12`."""

    code, name = "KD101", "Python"

    def look(self, machine: Machine) -> ProbeResult:
        """The version of the Python that runs this."""
        del machine
        version = platform.python_version()
        wanted = range_of("python")
        judgement = wanted.judge(version)
        state: State = "old" if judgement == "old" else "new" if judgement else "fine"
        return self.found(state, f"{version}" + (f"; needed is {wanted}" if judgement else ""), version=version)


class Processors(Probe):
    """Use a machine with more processors, or give Docker's or Podman's virtual machine more."""

    code, name = "KD102", "processors"

    def look(self, machine: Machine) -> ProbeResult:
        """How many processors this process may use."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        wanted = room(machine)
        state = judge(cores, wanted.minimum.cores, wanted.recommended.cores)
        return self.found(state, _told(f"{cores}", state, wanted.minimum.cores, wanted.recommended.cores))


class Memory(Probe):
    """Close what is not needed, or use a machine with more memory."""

    code, name = "KD103", "memory"

    def look(self, machine: Machine) -> ProbeResult:
        """The memory of the machine, or of the container that this runs in."""
        import psutil

        has = min(psutil.virtual_memory().total, *map(_limit, _CGROUP_MEMORY)) / _GIB
        wanted = room(machine)
        state = judge(has, wanted.minimum.memory, wanted.recommended.memory)
        return self.found(state, _told(f"{has:.1f} GiB", state, wanted.minimum.memory, wanted.recommended.memory))


class Disk(Probe):
    """Free some: docker system prune, kaleyard's old runs/ and .kaleyard/cache, or another disk."""

    code, name = "KD104", "disk"

    def look(self, machine: Machine) -> ProbeResult:
        """What is free where the project lies, and where containers are kept if a cluster is to be made."""
        places = [machine.project.root]
        if machine.purpose in CLUSTERS:
            places += [Path(p) for p in ("/var/lib/docker", "/var/lib/containers", "/var/snap") if Path(p).is_dir()]
        free, place = min((shutil.disk_usage(p).free / _GIB, p) for p in places)
        wanted = room(machine)
        state = judge(free, wanted.minimum.disk, wanted.recommended.disk)
        judgement = _told(f"{free:.1f} GiB", state, wanted.minimum.disk, wanted.recommended.disk)
        return self.found(state, f"{judgement} free at {place}")


def _told(has: str, state: State, minimum: float, recommended: float) -> str:
    if state == "small":
        return f"{has} of the {minimum:g} that are needed"
    return f"{has}, {recommended:g} are recommended" if state == "tight" else has


def _limit(path: str) -> int:
    """The most that a control group lets its processes have, in bytes; without a limit more than any machine has."""
    try:
        return int(Path(path).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 1 << 62


CHECKS: tuple[type[Probe], ...] = (Python, Processors, Memory, Disk)
