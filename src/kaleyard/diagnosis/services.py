"""Checks of what is reached over a network: registry, Kubernetes, Kubeflow Pipelines, and the clock against theirs."""

from __future__ import annotations

import json
import os
import shutil
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from kaleyard.compatibility import range_of
from kaleyard.diagnosis.probe import LIMIT, Machine, Probe, ProbeResult, State, ask, version_in
from kaleyard.errors import AccessDeniedError, KaleyardError

__all__ = ["CHECKS"]

_SKEW = 60  # seconds: beyond it signatures and tokens are refused, and certificates look too old or too new
_SECONDS = LIMIT - 0.5
_REFUSALS = (401, 403)
_WHO = "Say who you are: KALEYARD_KFP_TOKEN, KALEYARD_KFP_TOKEN_FILE or KALEYARD_KFP_COOKIE."


class RegistryAnswers(Probe):
    """Start it, or name another: registry in pyproject.toml, or KALEYARD_REGISTRY."""

    code, name = "KD301", "registry"

    def look(self, machine: Machine) -> ProbeResult:
        """Whether the project's registry answers, and lets us in."""
        from kaleyard.images.credentials import find_credentials
        from kaleyard.images.oci_registry import Registry, split_repository

        try:
            host, path = split_repository(f"{machine.project.registry}/kaleyard-doctor")
            Registry(host).digest(path, "latest")
        except AccessDeniedError as error:
            return self.found("refused", error.what, fix=error.fix or "")
        except KaleyardError as error:
            return self.found("silent", error.what)
        login = "logged in" if find_credentials(host, path) else "without a login"
        return self.found("fine", f"{machine.project.registry} answers, {login}")


class Kubernetes(Probe):
    """Make a cluster (templates/cluster/kind.sh up), or choose one: kubectl config use-context NAME."""

    code, name = "KD302", "Kubernetes"

    def look(self, machine: Machine) -> ProbeResult:
        """The version of the cluster that kubectl speaks to."""
        del machine
        command = shutil.which("kubectl")
        context = os.environ.get("KALEYARD_KUBE_CONTEXT") or (_current(command) if command else "")
        if command is None or not context:
            return self.found("unset", "kubectl has no cluster chosen")
        answer = ask([command, "--context", context, "version", "--output=json", "--request-timeout=3s"])
        try:
            answer_text = json.loads(answer.said).get("serverVersion", {}).get("gitVersion", "")
        except ValueError:
            answer_text = ""
        version = version_in(answer_text)
        if not version:
            return self.found("silent", f"the cluster of context {context} does not answer: {answer.complaint}")
        wanted = range_of("kubernetes")
        judged = wanted.judge(version)
        state: State = "old" if judged == "old" else "new" if judged else "fine"
        more = f"; tested are {wanted}" if judged else ""
        fix = "Take a cluster of a tested version, or go on at your own risk."
        return self.found(state, f"{version} (context {context}){more}", fix=fix, version=version)


class Pipelines(Probe):
    """Say where it is in KALEYARD_KFP_HOST; `templates/cluster/kind.sh forward` opens that of a cluster here."""

    code, name = "KD303", "Kubeflow Pipelines"

    def look(self, machine: Machine) -> ProbeResult:
        """Whether its API answers, and its version."""
        host = kfp_host(machine)
        if not host:
            return self.found("unset", "KALEYARD_KFP_HOST does not say where it is")
        import requests

        from kaleyard.kubeflow.client import find_server

        try:
            server = find_server(machine.project, host)
            answer = requests.get(
                f"{host}/apis/v2beta1/healthz",
                headers={"Authorization": f"Bearer {server.token}"} if server.token else {"Cookie": server.cookie},
                verify=server.authority or True,
                cert=(server.certificate, server.key) if server.certificate else None,
                timeout=_SECONDS,
            )
            if answer.status_code in _REFUSALS:
                return self.found("refused", f"{host} refuses: {answer.status_code}", fix=_WHO)
            answer.raise_for_status()
            version = version_in(str(answer.json().get("tag_name", "")))
        except KaleyardError as error:
            return self.found("refused", error.what, fix=error.fix or "")
        except (requests.RequestException, ValueError, AttributeError) as error:
            return self.found("silent", f"{host} does not answer as its API does: {type(error).__name__}")
        if not version:
            return self.found("unsure", f"{host} answers and does not tell its version")
        wanted = range_of("kfp")
        judged = wanted.judge(version)
        state: State = "old" if judged == "old" else "new" if judged else "fine"
        more = f"; needed is {wanted}" if judged else ""
        return self.found(state, f"{version} at {host}{more}", fix=f"Install {wanted}.", version=version)


class Clock(Probe):
    """Set it: sudo timedatectl set-ntp true (Windows with WSL: wsl --shutdown, then open it anew)."""

    code, name = "KD304", "clock"

    def look(self, machine: Machine) -> ProbeResult:
        """The time here against the one that the registry, or Kubeflow Pipelines, tells with its answer."""
        from kaleyard.images.oci_registry import is_loopback

        host = machine.project.registry.partition("/")[0]
        asked = [f"{'http' if is_loopback(host) else 'https'}://{host}/v2/"]
        asked += [answer_text] if (answer_text := kfp_host(machine)) else []
        for url in asked:
            theirs = _date(url)
            if theirs is not None:
                off = (datetime.now(UTC) - theirs).total_seconds()
                where = f"{abs(off):.0f} s {'ahead of' if off > 0 else 'behind'} {url}"
                return self.found("refused", where) if abs(off) > _SKEW else self.found("fine", f"as that of {url}")
        return self.found("unsure", "nobody tells the time: neither registry nor Kubeflow Pipelines answers")


def _current(command: str) -> str:
    """The context that kubectl has chosen, "" if it has none."""
    answer = ask([command, "config", "current-context"])
    return answer.said if answer.good else ""


def kfp_host(machine: Machine) -> str:
    """Where Kubeflow Pipelines is said to be, "" if nobody says."""
    return (os.environ.get("KALEYARD_KFP_HOST") or machine.project.kfp_host).rstrip("/")


def _date(url: str) -> datetime | None:
    """What time a server says it is, to the second."""
    import requests

    try:
        answer = requests.head(url, timeout=_SECONDS / 2, allow_redirects=False)
        return parsedate_to_datetime(answer.headers["Date"])
    except (requests.RequestException, KeyError, ValueError):
        return None


CHECKS: tuple[type[Probe], ...] = (RegistryAnswers, Kubernetes, Pipelines, Clock)
