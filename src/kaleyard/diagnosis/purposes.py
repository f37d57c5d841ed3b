"""All checks asked at once, each with a limit, and what their findings mean for a purpose."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from kaleyard.config import Project
from kaleyard.diagnosis import machine, services, tools
from kaleyard.diagnosis.probe import LIMIT, Machine, Probe, ProbeResult
from kaleyard.errors import UsageError

__all__ = ["CHECKS", "PURPOSES", "Diagnosis", "diagnose"]

CHECKS: Mapping[str, type[Probe]] = {c.name: c for c in (*machine.CHECKS, *tools.CHECKS, *services.CHECKS)}

_HERE = ("Python", "processors", "memory", "disk")
_ENGINE = "docker|podman"
# What each purpose needs; with a bar between them, one of them. A purpose is a row.
PURPOSES: Mapping[str, tuple[str, ...]] = {
    "local": _HERE,
    "containers": (*_HERE, f"{_ENGINE}|buildah", "registry"),
    "kind": (*_HERE, _ENGINE, "kubectl", "kind"),
    "minikube": (*_HERE, "kubectl", "minikube"),
    "k3d": (*_HERE, "docker", "kubectl", "k3d"),
    "microk8s": (*_HERE, "kubectl", "microk8s"),
    "cluster": (*_HERE, "kubectl", "Kubernetes"),
    "submit": ("Python", "registry", "Kubeflow Pipelines", "clock"),
}


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was found, in the order of the checks, for one purpose, and how long it took."""

    purpose: str
    findings: tuple[ProbeResult, ...]
    seconds: float

    @property
    def stops(self) -> tuple[ProbeResult, ...]:
        """What is needed for the purpose and cannot be used; empty if all is well."""
        return tuple(f for f in self.findings if f.stops)

    def to_dict(self) -> dict[str, Any]:
        """The diagnosis as JSON values."""
        return {
            "purpose": self.purpose,
            "fine": not self.stops,
            "seconds": round(self.seconds, 2),
            "findings": [f.to_dict() for f in self.findings],
        }


def diagnose(project: Project, purpose: str) -> Diagnosis:
    """Every check's finding, those needed for the purpose marked. Raises UsageError for a purpose there is not."""
    if purpose not in PURPOSES:
        raise UsageError(f"there is nothing called {purpose} to check for", fix=f"Choose one of {', '.join(PURPOSES)}.")
    started = time.monotonic()
    found = _look(Machine(project, purpose))
    return Diagnosis(purpose, _needed(found, PURPOSES[purpose]), time.monotonic() - started)


def _look(where: Machine) -> dict[str, ProbeResult]:
    """Each check in a thread of its own; those that are not back in time are told as silent, and left behind."""
    # What several checks import, imported once before them: threads that import the same wait for each other.
    import requests  # noqa: F401

    back: queue.SimpleQueue[ProbeResult] = queue.SimpleQueue()
    for check in CHECKS.values():
        # A thread that hangs must not keep the command from ending, so none of them is waited for at exit.
        threading.Thread(target=lambda check=check: back.put(_guarded(check(), where)), daemon=True).start()
    found: dict[str, ProbeResult] = {}
    until = time.monotonic() + LIMIT
    while len(found) < len(CHECKS):
        try:
            one = back.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            break
        found[one.name] = one
    late = [c() for n, c in CHECKS.items() if n not in found]
    return found | {c.name: c.found("silent", f"no answer within {LIMIT:g} s") for c in late}


def _guarded(check: Probe, where: Machine) -> ProbeResult:
    """What the check finds; a check that the machine defeats has found out that it cannot tell."""
    try:
        return check.look(where)
    except OSError as error:
        return check.found("refused", f"it cannot be told: {error}")


def _needed(found: Mapping[str, ProbeResult], needs: tuple[str, ...]) -> tuple[ProbeResult, ...]:
    """The findings in order, those needed marked: of several that would do the good ones, or all if none is good."""
    needed: set[str] = set()
    for need in needs:
        choices = need.split("|")
        good = [n for n in choices if found[n].will_do]
        needed.update(good or choices)
    return tuple(replace(found[n], needed=n in needed) for n in CHECKS)
