"""A Kubeflow Pipelines server for tests: it stands for a cluster, which cannot exist on a test machine.

It speaks the routes that `submit` uses over real HTTP; what it answers is made from the models of kfp's own generated
client. It can be told to fail, to be slow, or to hang up before or after it did what it was asked to.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import kfp_server_api as models

__all__ = ["Kfp", "run_at", "serving_kfp"]

_LISTS = {
    "experiments": ("experiment_id", models.V2beta1Experiment),
    "pipelines": ("pipeline_id", models.V2beta1Pipeline),
    "versions": ("pipeline_version_id", models.V2beta1PipelineVersion),
    "runs": ("run_id", models.V2beta1Run),
    "recurringruns": ("recurring_run_id", models.V2beta1RecurringRun),
}
_FIELDS = {"versions": "pipeline_versions", "recurringruns": "recurringRuns"}


@dataclass
class Kfp:
    """What the server has, what it was asked, and how it misbehaves: (method, path's part, how), used up in turn.

    `how` is a status, "before" or "after" for a hung-up connection, or "slow" for no answer in time.
    """

    version: str = "2.17.0"
    token: str = ""
    things: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {name: [] for name in _LISTS})
    asked: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    faults: list[tuple[str, str, int | str]] = field(default_factory=list)
    looks: list[dict[str, Any]] = field(default_factory=list)
    logs: dict[str, str] = field(default_factory=dict)
    page: int = 100
    url: str = ""

    def fault(self, method: str, path: str) -> int | str | None:
        for index, (m, part, how) in enumerate(self.faults):
            if m == method and part in path:
                del self.faults[index]
                return how
        return None

    def add(self, kind: str, data: dict[str, Any]) -> dict[str, Any]:
        name, _ = _LISTS[kind]
        made = data | {_camel(name): f"{kind}-{len(self.things[kind]) + 1}"}
        if kind in ("pipelines", "versions") and any(
            t["display_name"] == data.get("display_name") for t in self.things[kind]
        ):
            raise _RefusedError(409, "already exists")
        self.things[kind].append(made)
        return made


class _RefusedError(Exception):
    """A status and a message."""


def _camel(name: str) -> str:
    """A name as it is here: the generated client reads these keys by its models' `attribute_map`."""
    return name


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    kfp: Kfp

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing is printed."""

    def do_GET(self) -> None:
        self._handle("GET")

    def do_POST(self) -> None:
        self._handle("POST")

    def do_DELETE(self) -> None:
        self._handle("DELETE")

    def _handle(self, method: str) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = urlsplit(self.path).path
        self.kfp.asked.append(f"{method} {path}")
        self.kfp.headers.append({k.lower(): v for k, v in self.headers.items()})
        how = self.kfp.fault(method, path)
        if how == "before":
            self.close_connection = True
            return
        if isinstance(how, int):
            self._send(how, {"message": f"told to say {how}"})
            return
        if self.kfp.token and self.headers.get("authorization") != f"Bearer {self.kfp.token}":
            self._send(401, {"message": "who are you?"})
            return
        try:
            answer = self._answer(method, path, body)
        except _RefusedError as error:
            self._send(error.args[0], {"message": error.args[1]})
            return
        if how == "after":
            self.close_connection = True
            return
        if how == "slow":
            time.sleep(3)
        self._send(200, answer)

    def _answer(self, method: str, path: str, body: bytes) -> Any:
        kfp, query = self.kfp, parse_qs(urlsplit(self.path).query)
        if path.startswith("/api/v1/namespaces/"):
            # Kubernetes' own API, as far as a pod's log goes.
            return self._log(path)
        if path.endswith("/healthz"):
            return {"multi_user": False, "tag_name": kfp.version}
        parts = path.removeprefix("/apis/v2beta1/").split("/")
        if path.endswith("/pipelines/upload_version"):
            content = body.partition(b"\r\n\r\n")[2].rpartition(b"\r\n--")[0]
            told = {k: v[0] for k, v in query.items()}
            spec = {
                "display_name": told["display_name"],
                "pipeline_id": told["pipelineid"],
                "content": content.decode(),
            }
            return self._model("versions", kfp.add("versions", spec))
        kind = parts[2] if len(parts) > 2 else parts[0]
        if kind not in kfp.things:
            raise _RefusedError(404, f"no {path}")
        if method == "POST":
            return self._model(kind, kfp.add(kind, _snake(json.loads(body))))
        if method == "DELETE":
            name, _ = _LISTS[kind]
            kfp.things[kind] = [t for t in kfp.things[kind] if t[name] != parts[1]]
            return {}
        if len(parts) == 2:
            if kfp.looks:
                return kfp.looks.pop(0) if len(kfp.looks) > 1 else kfp.looks[0]
            return self._model(kind, next(t for t in kfp.things[kind] if t[_LISTS[kind][0]] == parts[1]))
        return self._page(kind, query)

    def _log(self, path: str) -> str:
        told = self.kfp.logs.get(path.split("/")[-2])
        if told is None:
            raise _RefusedError(404, "no such pod")
        return told

    def _page(self, kind: str, query: dict[str, list[str]]) -> Any:
        found = self.kfp.things[kind]
        if "filter" in query:
            (wanted,) = json.loads(query["filter"][0])["predicates"]
            found = [t for t in found if t.get(wanted["key"]) == wanted["stringValue"]]
        if query.get("sort_by") == ["created_at desc"]:
            found = sorted(found, key=lambda t: str(t.get("created_at", "")), reverse=True)
        start = int(query.get("page_token", ["0"])[0] or 0)
        end = start + min(self.kfp.page, int(query["page_size"][0]))
        token = {"next_page_token": str(end)} if end < len(found) else {}
        return {_FIELDS.get(kind, kind): [self._model(kind, t) for t in found[start:end]], **token}

    @staticmethod
    def _model(kind: str, data: dict[str, Any]) -> Any:
        _, model = _LISTS[kind]
        known = {name: data[name] for name in model.openapi_types if name in data}
        return models.ApiClient().sanitize_for_serialization(model(**known))

    def _send(self, status: int, answer: Any) -> None:
        content = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain" if isinstance(answer, str) else "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _snake(data: dict[str, Any]) -> dict[str, Any]:
    return {re.sub(r"(?<=[a-z])([A-Z])", lambda m: f"_{m[1].lower()}", name): value for name, value in data.items()}


@contextmanager
def serving_kfp(**told: Any) -> Iterator[Kfp]:
    """A server on this machine, at a free port."""
    kfp = Kfp(**told)
    handler = type("Handler", (_Handler,), {"kfp": kfp})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        kfp.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield kfp
        finally:
            server.shutdown()
            thread.join()


def run_at(state: str, *tasks: tuple[str, str], **more: Any) -> Any:
    """A run as the server shows it: its state, and its tasks' names and states."""
    now = datetime.now(UTC)
    details = models.V2beta1RunDetails(
        task_details=[
            models.V2beta1PipelineTaskDetail(
                display_name=name,
                state=told,
                start_time=now,
                end_time=now,
                pod_name=f"pod-{name}",
                error=models.GoogleRpcStatus(message="exit code 1") if told == "FAILED" else None,
            )
            for name, told in tasks
        ]
    )
    run = models.V2beta1Run(
        run_id="runs-1", display_name="demo", state=state, created_at=now, run_details=details, **more
    )
    return models.ApiClient().sanitize_for_serialization(run)
