"""Kubernetes' Pod Security standard, level "restricted", as a check of pods before a cluster sees them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ["pods_in", "violations"]

_HOST = ("hostNetwork", "hostPID", "hostIPC")
_VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret", "image",
}  # fmt: skip
_SECCOMP = {"RuntimeDefault", "Localhost"}
_SYSCTLS = {
    "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range", "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem",
}  # fmt: skip


def pods_in(one: Any) -> Iterator[dict[str, Any]]:
    """The pod specs in an object: a pod's own, or the template of whatever makes pods, however deep."""
    if isinstance(one, dict):
        if isinstance(one.get("containers"), list):
            yield one
        else:
            for inner in one.values():
                yield from pods_in(inner)
    elif isinstance(one, list):
        for inner in one:
            yield from pods_in(inner)


def violations(pod: dict[str, Any]) -> list[str]:
    """What in a pod spec the restricted level refuses; empty if nothing."""
    context = pod.get("securityContext") or {}
    found = [name for name in _HOST if pod.get(name)]
    found += [f"volume {v['name']}" for v in pod.get("volumes") or () if not (set(v) - {"name"}) <= _VOLUMES]
    found += [f"sysctl {s['name']}" for s in context.get("sysctls") or () if s["name"] not in _SYSCTLS]
    found += [] if context.get("runAsUser", 1) else ["runAsUser 0"]
    for kind in ("containers", "initContainers", "ephemeralContainers"):
        for container in pod.get(kind) or ():
            found += [f"container {container['name']}: {what}" for what in _refused(container, context)]
    return found


def _refused(container: dict[str, Any], pod: dict[str, Any]) -> Iterator[str]:
    own = container.get("securityContext") or {}
    capabilities = own.get("capabilities") or {}
    if own.get("privileged"):
        yield "privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation"
    if "ALL" not in (capabilities.get("drop") or ()):
        yield "capabilities: drop ALL"
    yield from (f"capability {c}" for c in capabilities.get("add") or () if c != "NET_BIND_SERVICE")
    if own.get("runAsNonRoot", pod.get("runAsNonRoot")) is not True:
        yield "runAsNonRoot"
    if own.get("runAsUser", 1) == 0:
        yield "runAsUser 0"
    profile = own.get("seccompProfile") or pod.get("seccompProfile") or {}
    if profile.get("type") not in _SECCOMP:
        yield "seccompProfile"
    if own.get("procMount", "Default") != "Default":
        yield "procMount"
    if any(port.get("hostPort") for port in container.get("ports") or ()):
        yield "hostPort"
