"""What a registry has: an image's digest and labels, asked by OCI's distribution protocol.

Only questions: pushing is the builder's, which does it well. Plain HTTP is spoken to this machine alone.
"""

from __future__ import annotations

import ipaddress
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kaleyard.errors import AccessDeniedError, ExternalError, ProjectError
from kaleyard.images.credentials import find_credentials

if TYPE_CHECKING:
    import requests

__all__ = ["Manifest", "Registry", "is_loopback", "split_repository"]

_INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
_MANIFESTS = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
# A registry that is not asked for OCI's types says that an OCI image is not there.
_ACCEPT = {"Accept": ", ".join((*_INDEXES, *_MANIFESTS))}
_SECONDS = (10, 60)  # to connect, and between two pieces of an answer
_OK, _UNAUTHORISED, _FORBIDDEN, _MISSING = 200, 401, 403, 404

_HOST = r"(?:localhost|[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?=[.:])[a-z0-9.-]*|\[[0-9a-f:]+\])(?::[0-9]+)?"
_PATH = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"({_HOST})/({_PATH}(?:/{_PATH})*)")
# Where a registry that images are named after answers, if it is elsewhere.
_ADDRESSES = {"docker.io": "registry-1.docker.io", "index.docker.io": "registry-1.docker.io"}
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Manifest:
    """An image as a registry has it."""

    digest: str
    labels: Mapping[str, str]


class Registry:
    """One registry, asked by several threads at once."""

    def __init__(self, host: str) -> None:
        self.host = host
        address = _ADDRESSES.get(host, host)
        self._url = f"{'http' if is_loopback(address) else 'https'}://{address}"
        self._local = threading.local()
        self._authorisation: dict[str, str] = {}  # by repository

    def digest(self, repository: str, reference: str) -> str | None:
        """The digest of the image with that tag, None if there is none. Raises ExternalError if it cannot be asked."""
        answer = self._ask("HEAD", repository, f"manifests/{reference}", missing=True)
        if answer is None:
            return None
        told = answer.headers.get("Docker-Content-Digest", "")
        return told if told.startswith("sha256:") else self._manifest(repository, reference)[0]

    def manifest(self, repository: str, reference: str, platform: str = "") -> Manifest:
        """The image with its labels; of an image for several platforms those of `platform`, or the first."""
        digest, data = self._manifest(repository, reference)
        if "manifests" in data:
            _, data = self._manifest(repository, _chosen(data["manifests"], platform))
        config = self._json(repository, f"blobs/{data.get('config', {}).get('digest', '')}")
        labels = config.get("config", {}).get("Labels") or {}
        return Manifest(digest, labels)

    def _manifest(self, repository: str, reference: str) -> tuple[str, dict[str, Any]]:
        import hashlib

        answer = self._ask("GET", repository, f"manifests/{reference}")
        assert answer is not None
        return f"sha256:{hashlib.sha256(answer.content).hexdigest()}", self._parsed(answer, repository)

    def _json(self, repository: str, path: str) -> dict[str, Any]:
        answer = self._ask("GET", repository, path)
        assert answer is not None
        return self._parsed(answer, repository)

    def _parsed(self, answer: requests.Response, repository: str) -> dict[str, Any]:
        try:
            data = answer.json()
        except ValueError:
            data = None
        if not isinstance(data, dict):
            raise ExternalError(f"the registry {self.host} gives no JSON for {repository}: is it a registry?")
        return data

    def _ask(self, method: str, repository: str, path: str, *, missing: bool = False) -> requests.Response | None:
        """The answer; None for what is not there, if it may be `missing`."""
        url = f"{self._url}/v2/{repository}/{path}"
        answer = self._send(method, url, repository)
        if answer.status_code == _UNAUTHORISED:
            told = self._sign_in(answer.headers.get("WWW-Authenticate", ""), repository)
            if told:
                self._authorisation[repository] = told
                answer = self._send(method, url, repository)
        if answer.status_code == _OK:
            return answer
        if answer.status_code == _MISSING and missing:
            return None
        raise self._refusal(answer, repository)

    def _send(self, method: str, url: str, repository: str) -> requests.Response:
        import requests

        headers = dict(_ACCEPT)
        if repository in self._authorisation:
            headers["Authorization"] = self._authorisation[repository]
        for last in (False, True):  # a connection that was kept may be gone by now
            try:
                return self._session().request(method, url, headers=headers, timeout=_SECONDS, allow_redirects=True)
            except requests.ConnectionError as error:
                if last:
                    raise self._silence(error) from error
            except requests.RequestException as error:
                raise self._silence(error) from error
        raise AssertionError

    def _session(self) -> requests.Session:
        """A connection of the calling thread's own."""
        import requests

        if not hasattr(self._local, "session"):
            session = requests.Session()
            # Else requests itself would send what ~/.netrc has, and proxies would hear of this machine's registry.
            session.trust_env = not is_loopback(self.host)
            session.auth = _no_auth
            self._local.session = session
        found: requests.Session = self._local.session
        return found

    def _sign_in(self, challenge: str, repository: str) -> str:
        """What to say in `Authorization` after that challenge; "" if there is nothing to say."""
        import base64

        known = find_credentials(self.host, repository)
        kind, _, rest = challenge.partition(" ")
        pair = f"{known.user}:{known.password}".encode() if known and not known.token else b""
        basic = f"Basic {base64.b64encode(pair).decode()}" if pair else ""
        if kind.lower() != "bearer":
            return basic
        told = dict(_CHALLENGE.findall(rest))
        realm = told.pop("realm", "")
        # A token service that hears passwords in the clear could be anybody.
        if not realm.startswith("https://") and not is_loopback(re.sub(r"^http://|/.*$", "", realm)):
            return ""
        wanted = {k: told[k] for k in ("service", "scope") if k in told}
        return self._token(realm, wanted, basic, known.token if known else "")

    def _token(self, realm: str, wanted: dict[str, str], basic: str, refresh: str) -> str:
        import requests

        headers = {"Authorization": basic} if basic else {}
        try:
            if refresh:
                form = wanted | {"grant_type": "refresh_token", "refresh_token": refresh, "client_id": "kaleyard"}
                answer = self._session().post(realm, data=form, timeout=_SECONDS)
            else:
                answer = self._session().get(realm, params=wanted, headers=headers, timeout=_SECONDS)
            data = answer.json() if answer.status_code == _OK else {}
        except requests.RequestException as error:
            raise self._silence(error) from error
        token = data.get("token") or data.get("access_token") if isinstance(data, dict) else None
        return f"Bearer {token}" if token else ""

    def _silence(self, error: Exception) -> ExternalError:
        return ExternalError(
            f"the registry {self.host} does not answer: {_innermost(error)}",
            fix="Start it or mend the connection; or name another: --registry, or registry in pyproject.toml.",
        )

    def _refusal(self, answer: requests.Response, repository: str) -> ExternalError:
        code = answer.status_code
        if code in (_UNAUTHORISED, _FORBIDDEN):
            known = find_credentials(self.host, repository) is not None
            why = "the credentials are wrong or not allowed" if known else "nobody logged in to it here"
            return AccessDeniedError(
                f"the registry {self.host} refuses {repository} ({code}): {why}",
                fix=f"Log in with `docker login {self.host}` or `podman login {self.host}`.",
            )
        if code == _MISSING:
            return ExternalError(f"the registry {self.host} has lost a part of {repository}", fix="Push it again.")
        return ExternalError(
            f"the registry {self.host} answers {code} {answer.reason} for {repository}",
            fix="That is the registry's own fault: look into its log, or try again later.",
        )


def is_loopback(host: str) -> bool:
    """Whether a host, with or without a port, is this machine."""
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def split_repository(name: str) -> tuple[str, str]:
    """The host and the path of a repository. Raises ProjectError if it cannot be one."""
    found = _REPOSITORY.fullmatch(name)
    if not found:
        raise ProjectError(
            f"{name.rpartition('/')[0]!r} is no registry",
            fix="Set registry in pyproject.toml, or --registry, to a host and a path such as localhost:5000/team.",
        )
    return found[1], found[2]


def _chosen(manifests: list[dict[str, Any]], platform: str) -> str:
    def name(entry: dict[str, Any]) -> str:
        told = entry.get("platform", {})
        return "/".join(str(told[k]) for k in ("os", "architecture", "variant") if told.get(k))

    wanted = [m for m in manifests if name(m) == platform] or [m for m in manifests if "unknown" not in name(m)]
    return str((wanted or manifests)[0]["digest"])


def _innermost(error: BaseException) -> str:
    """The reason behind a pile of wrapped exceptions, in its own words."""
    while True:
        inner = getattr(error, "reason", None)
        inner = (
            inner
            if isinstance(inner, BaseException)
            else next((a for a in error.args if isinstance(a, BaseException)), None)
        )
        if inner is None:
            break
        error = inner
    return re.sub(r"^\w+\([^)]*\): ", "", str(error.args[-1] if error.args else error).rpartition(">: ")[2])


def _no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request
