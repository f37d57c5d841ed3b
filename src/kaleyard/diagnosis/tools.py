"""Checks of programs: present, new enough, and, where they speak to a service of their own, answered by it."""

from __future__ import annotations

import json
import shutil
from typing import ClassVar

from kaleyard.compatibility import Range, range_of, tool_minimum
from kaleyard.diagnosis.machine import CLUSTERS, judge, room
from kaleyard.diagnosis.probe import Answer, Machine, Probe, ProbeResult, ask, version_in

__all__ = ["CHECKS"]

_GIB = 1 << 30


class Tool(Probe):
    """A program on the path, asked for its version with `question`."""

    question: ClassVar[tuple[str, ...]] = ("--version",)

    def look(self, machine: Machine) -> ProbeResult:
        """Whether it is there, and which version."""
        command = shutil.which(self.name)
        if command is None:
            return self.found("missing", "it is not installed")
        answer = ask([command, *self.question])
        version = version_in(answer.said)
        if not version:
            answer_data = f"{command} does not tell its version: {answer.complaint}"
            fix = f"Try `{self.name} {' '.join(self.question)}` and mend what it says, or install it anew."
            return self.found("refused", answer_data, fix=fix)
        minimum = tool_minimum(self.name)
        if Range(minimum).judge(version):
            return self.found("old", f"{version}; needed is {minimum} or newer", version=version)
        return self.served(command, version, machine)

    def served(self, command: str, version: str, machine: Machine) -> ProbeResult:
        """What its service says, for programs that have one."""
        del command, machine
        return self.found("fine", version, version=version)


class Make(Tool):
    """Install GNU make (Debian and Ubuntu: apt install make; macOS: xcode-select --install)."""

    code, name = "KD201", "make"


class Docker(Tool):
    """Install Docker (https://docs.docker.com/engine/install; Debian and Ubuntu: apt install docker.io)."""

    code, name = "KD202", "docker"

    def served(self, command: str, version: str, machine: Machine) -> ProbeResult:
        """Whether its engine answers, and how much of the machine the engine has."""
        return self.engine(ask([command, "info", "--format", "{{json .}}"]), version, machine)

    def engine(self, answer: Answer, version: str, machine: Machine) -> ProbeResult:
        """The same from what the engine told."""
        answer_data = _json(answer.said)
        errors = answer_data.get("ServerErrors")
        if not answer.good or errors or not answer_data.get("ServerVersion"):
            why = str(errors[0]) if isinstance(errors, list) and errors else answer.complaint
            return self.found("refused", f"{version}, but its engine does not answer: {why}", fix=_engine_fix(why))
        return self.sized(version, machine, answer_data.get("NCPU"), answer_data.get("MemTotal"))

    def sized(self, version: str, machine: Machine, cores: object, memory: object) -> ProbeResult:
        """Whether what the engine's own machine has is enough: Docker Desktop's is smaller than the computer."""
        if machine.purpose not in CLUSTERS or not isinstance(cores, int) or not isinstance(memory, int):
            return self.found("fine", version, version=version)
        wanted = room(machine)
        states = {
            judge(cores, wanted.minimum.cores, wanted.recommended.cores),
            judge(memory / _GIB, wanted.minimum.memory, wanted.recommended.memory),
        }
        worst = next(s for s in ("small", "tight", "fine") if s in states)
        answer_data = f"{version}, with {cores} processors and {memory / _GIB:.1f} GiB"
        fix = f"Give its machine {wanted.recommended.cores:g} processors and {wanted.recommended.memory:g} GiB."
        return self.found(worst, answer_data, fix=fix, version=version)


class Podman(Docker):
    """Install Podman (https://podman.io/docs/installation; Debian and Ubuntu: apt install podman)."""

    code, name = "KD203", "podman"

    def engine(self, answer: Answer, version: str, machine: Machine) -> ProbeResult:
        """Whether it can run containers."""
        host = _json(answer.said).get("host") or {}
        if not answer.good or not isinstance(host, dict):
            fix = "Start its machine: podman machine start; on Linux see what `podman info` says."
            return self.found("refused", f"{version}, but it cannot run: {answer.complaint}", fix=fix)
        return self.sized(version, machine, host.get("cpus"), host.get("memTotal"))


class Buildah(Tool):
    """Install buildah (Debian and Ubuntu: apt install buildah): it builds images where no engine may run."""

    code, name = "KD204", "buildah"


class Kubectl(Tool):
    """Install kubectl (https://kubernetes.io/docs/tasks/tools), of the cluster's version or one beside it."""

    code, name = "KD205", "kubectl"
    question = ("version", "--client")


class Kind(Tool):
    """Install kind (https://kind.sigs.k8s.io/docs/user/quick-start)."""

    code, name = "KD206", "kind"


class Minikube(Tool):
    """Install minikube (https://minikube.sigs.k8s.io/docs/start)."""

    code, name = "KD207", "minikube"
    question = ("version", "--short")


class K3d(Tool):
    """Install k3d (https://k3d.io)."""

    code, name = "KD208", "k3d"


class Microk8s(Tool):
    """Install MicroK8s (https://microk8s.io): snap install microk8s --classic --channel=..., from `snap info`."""

    code, name = "KD209", "microk8s"
    question = ("version",)

    def served(self, command: str, version: str, machine: Machine) -> ProbeResult:
        """Its Kubernetes, which must not be newer than what was tested either."""
        wanted = range_of("kubernetes")
        if wanted.judge(version):
            fix = "Choose a channel with a tested version: snap info microk8s, then snap refresh --channel=..."
            return self.found("new", f"{version}; tested are {wanted}", fix=fix, version=version)
        return super().served(command, version, machine)


def _json(text: str) -> dict[str, object]:
    try:
        answer_data = json.loads(text)
    except ValueError:
        return {}
    return answer_data if isinstance(answer_data, dict) else {}


def _engine_fix(why: str) -> str:
    if "permission denied" in why.lower():
        return "Join its group (sudo usermod -aG docker $USER, then log in anew), or use Podman."
    return "Start it (Docker Desktop, or: sudo systemctl start docker), or say in DOCKER_HOST where it is."


CHECKS: tuple[type[Probe], ...] = (Make, Docker, Podman, Buildah, Kubectl, Kind, Minikube, K3d, Microk8s)
