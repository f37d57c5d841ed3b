"""A Kubeflow Pipelines server: where it is, who one is to it, and calls that outlast its bad moments.

All of it goes through kfp's own client. Where the server is comes from options, `KALEYARD_KFP_*` variables,
`[tool.kaleyard]`, and kfp's own `KF_PIPELINES_*` variables; who one is comes from variables and files alone, so that no
secret stands on a command line or in a project.
"""

from __future__ import annotations

import json
import os
import random
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kaleyard.compatibility import range_of
from kaleyard.config import Project
from kaleyard.errors import ExternalError, UnknownOutcomeError, UsageError

__all__ = ["Connection", "Server", "find_server"]

_TOKEN_FILE = "KF_PIPELINES_SA_TOKEN_PATH"  # noqa: S105 - kfp's name for where a pod's token lies
_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_IN_CLUSTER = "KUBERNETES_SERVICE_HOST"
_ATTEMPTS, _FIRST_WAIT, _SECONDS = 5, 0.5, 30.0
# What a server, or the gateway before it, says when the same question may well be answered later.
_LATER = {0, 408, 425, 429, 500, 502, 503, 504}
_FIXES = {
    401: "Say who you are: KALEYARD_KFP_TOKEN, KALEYARD_KFP_TOKEN_FILE or KALEYARD_KFP_COOKIE.",
    403: "Ask for the right to do this in that namespace, or name another: --namespace.",
    404: "See that the address is the API's: it ends before /apis.",
    409: "Something of that name is there already.",
}


@dataclass(frozen=True, slots=True)
class Server:
    """Where a server is and who one is to it; secrets show in no text of it.

    `host` is "" inside a cluster, where kfp finds it. `certificate` and `key` are a client's own; `authority` is who
    vouches for the server's.
    """

    host: str
    namespace: str = ""
    token: str = field(default="", repr=False)
    cookie: str = field(default="", repr=False)
    authority: str = ""
    certificate: str = ""
    key: str = ""


def find_server(project: Project, host: str | None = None, namespace: str | None = None) -> Server:
    """The server that options, variables and settings name.

    Raises UsageError if none is named, or a file that is named is missing.
    """
    address = host or project.kfp_host or os.environ.get("KF_PIPELINES_ENDPOINT", "")
    if not address and _IN_CLUSTER not in os.environ:
        raise UsageError(
            "nothing says where Kubeflow Pipelines is",
            fix="Say it with --host, KALEYARD_KFP_HOST, or kfp-host in [tool.kaleyard]; `kaleyard doctor` tells more.",
        )
    if address and "://" not in address:
        raise UsageError(f"{address!r} is no address", fix="Begin it with https:// or, on this machine, http://.")
    files = {n: _file(f"KALEYARD_KFP_{n}") for n in ("CA", "CERT", "KEY")}
    return Server(
        address.rstrip("/"),
        namespace or project.kfp_namespace or os.environ.get("KF_PIPELINES_NAMESPACE", "") or _own_namespace(address),
        os.environ.get("KALEYARD_KFP_TOKEN") or _content("KALEYARD_KFP_TOKEN_FILE") or _content(_TOKEN_FILE),
        os.environ.get("KALEYARD_KFP_COOKIE") or _content("KALEYARD_KFP_COOKIE_FILE"),
        files["CA"],
        files["CERT"],
        files["KEY"],
    )


def _own_namespace(host: str) -> str:
    """The namespace of the pod this runs in, where the server is the one beside it."""
    try:
        return "" if host else _NAMESPACE.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _file(variable: str) -> str:
    path = os.environ.get(variable, "")
    if path and not Path(path).is_file():
        raise UsageError(f"{variable} names {path}, which is no file", fix="Mend the path, or unset it.")
    return path


def _content(variable: str) -> str:
    path = _file(variable)
    return Path(path).read_text(encoding="utf-8").strip() if path else ""


class Connection:
    """Calls to a server by kfp's client, in its own words: `call(client.runs.run_service_get_run, run_id)`."""

    def __init__(self, server: Server, *, attempts: int = _ATTEMPTS, seconds: float = _SECONDS) -> None:
        self.server = server
        self._attempts, self._seconds = attempts, seconds
        self.client: Any = _client(server)

    def call(self, function: Callable[..., Any], *arguments: Any, doing: str, again: bool = True, **more: Any) -> Any:
        """The server's answer. A call that may be made `again` is retried with increasing waits while it fails.

        Raises UnknownOutcomeError if one that may not was perhaps carried out, else ExternalError.
        """
        from kfp_server_api import ApiException
        from urllib3.exceptions import HTTPError

        for attempt in range(1, self._attempts + 1):
            try:
                return function(*arguments, **more, _request_timeout=self._seconds)
            except ApiException as error:
                status, said = int(error.status or 0), _words(error)
            except (HTTPError, OSError) as error:
                status, said = 0, f"{type(error).__name__}: {_reason(error)}"
            except (ValueError, TypeError) as error:
                raise ExternalError(
                    f"{self._name} does not answer as Kubeflow Pipelines does ({doing}): {error}", fix=_FIXES[404]
                ) from error
            if status not in _LATER:
                break
            if not again:
                raise UnknownOutcomeError(f"{self._name} gave no answer ({doing}): {said}")
            if attempt < self._attempts:
                time.sleep(_FIRST_WAIT * 2 ** (attempt - 1) * random.uniform(0.8, 1.2))  # noqa: S311 - spreads clients
        if status == 0:
            raise ExternalError(
                f"{self._name} does not answer ({doing}): {said}", fix="See that it runs: `kaleyard doctor` tells more."
            )
        raise ExternalError(f"{self._name} refuses ({doing}): {status} {said}", fix=_FIXES.get(status))

    def version(self) -> str:
        """The server's version, "" if it does not tell. Raises ExternalError if it does not answer."""
        answer = self.call(
            self.client.healthzs.healthz_service_get_healthz, doing="asking for its version", _preload_content=False
        )
        try:
            data = json.loads(answer.data)
        except ValueError as error:
            raise ExternalError(
                f"{self._name} is no Kubeflow Pipelines: it answers no JSON", fix=_FIXES[404]
            ) from error
        return str(data.get("tag_name", "")).removeprefix("v")

    def check_version(self) -> str:
        """A warning about a server that is newer than what is tested here, "" if it fits.

        Raises ExternalError for one that is too old.
        """
        version, wanted = self.version(), range_of("kfp")
        judged = wanted.judge(version) if version else ""
        if judged == "old":
            raise ExternalError(
                f"{self._name} is Kubeflow Pipelines {version}; needed is {wanted}", fix="Upgrade it: docs/how-to."
            )
        return f"{self._name} is Kubeflow Pipelines {version}, newer than what is tested: {wanted}" if judged else ""

    @property
    def _name(self) -> str:
        return self.server.host or "Kubeflow Pipelines"


def _client(server: Server) -> Any:
    import kfp
    from kfp_server_api import V2beta1GetHealthzResponse

    class PlainClient(kfp.Client):  # type: ignore[misc]
        """kfp's client with the certificate of the settings, and without its silent retries."""

        def _load_config(self, *arguments: Any, **more: Any) -> Any:
            config = super()._load_config(*arguments, **more)
            config.cert_file, config.key_file = server.certificate or None, server.key or None
            config.retries = False
            return config

        def get_kfp_healthz(self, sleep_duration: int = 5) -> Any:
            """Kfp asks here for the namespace, which is already known: no call is made."""
            del sleep_duration
            return V2beta1GetHealthzResponse(multi_user=False)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return PlainClient(
            host=server.host or None,
            namespace=server.namespace or "kubeflow",
            existing_token=server.token or None,
            cookies=server.cookie or None,
            ssl_ca_cert=server.authority or None,
        )


def _words(error: Any) -> str:
    """What the server said, without the headers of its answer."""
    try:
        told = json.loads(error.body)
        return str(told.get("message") or told.get("error") or error.reason)[:400]
    except (TypeError, ValueError, AttributeError):
        return str(error.reason or "no answer")[:400]


def _reason(error: BaseException) -> str:
    return str(getattr(error, "reason", "") or error)[:300]
