"""What is asked of a registry: real HTTP servers in threads, good and bad ones."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from kaleyard.errors import ExternalError, ProjectError
from kaleyard.images import oci_registry as registries
from kaleyard.images.credentials import Credentials, find_credentials
from kaleyard.images.oci_registry import Registry, is_loopback, split_repository

PASSWORD = "sesame-opens"
CONFIG = json.dumps({"config": {"Labels": {"kaleyard.key": "k1"}}}).encode()
MANIFEST = json.dumps(
    {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"digest": f"sha256:{hashlib.sha256(CONFIG).hexdigest()}"},
    }
).encode()
DIGEST = f"sha256:{hashlib.sha256(MANIFEST).hexdigest()}"

Answer = tuple[int, dict[str, str], bytes]


@contextmanager
def served(answer: Callable[[BaseHTTPRequestHandler], Answer]) -> Iterator[str]:
    """A server on this machine that answers so; its host."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            code, headers, body = answer(self)
            self.send_response(code)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_POST = do_GET  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def image(request: BaseHTTPRequestHandler) -> Answer:
    """A registry with one image, `team/demo:one`."""
    if request.path.startswith("/v2/team/demo/blobs/"):
        return 200, {}, CONFIG
    if request.path in ("/v2/team/demo/manifests/one", f"/v2/team/demo/manifests/{DIGEST}"):
        assert "application/vnd.oci.image.manifest.v1+json" in request.headers["Accept"]
        return 200, {"Docker-Content-Digest": DIGEST}, MANIFEST
    return 404, {}, b"{}"


@pytest.fixture(autouse=True)
def nobody_logged_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))


def log_in(folder: Path, host: str, password: str = PASSWORD, **more: Any) -> None:
    (folder / "docker").mkdir(exist_ok=True)
    entry = {"auth": base64.b64encode(f"me:{password}".encode()).decode()}
    (folder / "docker/config.json").write_text(json.dumps({"auths": {host: entry}, **more}))


def test_an_image_is_found_by_its_tag_with_its_labels() -> None:
    with served(image) as host:
        registry = Registry(host)
        assert registry.digest("team/demo", "one") == DIGEST
        assert registry.digest("team/demo", "two") is None
        assert registry.digest("team/other", "one") is None
        found = registry.manifest("team/demo", DIGEST)
    assert (found.digest, found.labels) == (DIGEST, {"kaleyard.key": "k1"})


def test_of_an_image_for_several_platforms_the_one_is_read_that_is_wanted() -> None:
    entry = {"digest": DIGEST, "platform": {"os": "linux", "architecture": "arm64"}}
    other = {"digest": "sha256:00", "platform": {"os": "linux", "architecture": "amd64"}}
    index = json.dumps({"manifests": [other, entry]}).encode()

    def answer(request: BaseHTTPRequestHandler) -> Answer:
        return (200, {}, index) if request.path.endswith("/many") else image(request)

    with served(answer) as host:
        found = Registry(host).manifest("team/demo", "many", "linux/arm64")
    assert found.labels == {"kaleyard.key": "k1"}
    assert found.digest == f"sha256:{hashlib.sha256(index).hexdigest()}"


def basic(request: BaseHTTPRequestHandler) -> Answer:
    wanted = f"Basic {base64.b64encode(f'me:{PASSWORD}'.encode()).decode()}"
    if request.headers.get("Authorization") != wanted:
        return 401, {"WWW-Authenticate": 'Basic realm="here"'}, b"{}"
    return image(request)


def bearer(request: BaseHTTPRequestHandler) -> Answer:
    """A registry that wants a token from a service at the same host, as the large ones do."""
    if request.path.startswith("/token"):
        if "scope=repository%3Ateam%2Fdemo%3Apull" not in request.path or basic(request)[0] == 401:
            return 401, {}, b"{}"
        return 200, {}, json.dumps({"token": "a-token"}).encode()
    if request.headers.get("Authorization") == "Bearer a-token":
        return image(request)
    realm = f"http://{request.headers['Host']}/token"
    told = f'Bearer realm="{realm}",service="here",scope="repository:team/demo:pull"'
    return 401, {"WWW-Authenticate": told}, b"{}"


@pytest.mark.parametrize("kind", [basic, bearer])
def test_who_logged_in_is_let_in(kind: Callable[[BaseHTTPRequestHandler], Answer], tmp_path: Path) -> None:
    with served(kind) as host:
        log_in(tmp_path, host)
        assert Registry(host).digest("team/demo", "one") == DIGEST


def test_docker_hub_is_asked_where_it_answers_as_whom_docker_login_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Registry("docker.io")._url == "https://registry-1.docker.io"
    log_in(tmp_path, "https://index.docker.io/v1/")
    with served(basic) as address:  # in Docker Hub's place
        monkeypatch.setitem(registries._ADDRESSES, "docker.io", address)
        assert Registry("docker.io").digest("team/demo", "one") == DIGEST


@pytest.mark.parametrize("kind", [basic, bearer])
@pytest.mark.parametrize(("password", "words"), [("wrong-word", "credentials are wrong"), ("", "nobody logged in")])
def test_wrong_or_no_credentials_are_told_and_never_shown(
    kind: Callable[[BaseHTTPRequestHandler], Answer], password: str, words: str, tmp_path: Path
) -> None:
    with served(kind) as host:
        if password:
            log_in(tmp_path, host, password)
        with pytest.raises(ExternalError, match=rf"refuses team/demo \(401\): .*{words}.*\n.*docker login") as caught:
            Registry(host).digest("team/demo", "one")
    assert "wrong-word" not in str(caught.value)
    assert base64.b64encode(b"me:wrong-word").decode() not in str(caught.value)


def test_a_password_is_sent_to_no_token_service_in_the_clear(tmp_path: Path) -> None:
    def answer(_: BaseHTTPRequestHandler) -> Answer:
        return 401, {"WWW-Authenticate": 'Bearer realm="http://token.invalid/x",service="s"'}, b"{}"

    with served(answer) as host:
        log_in(tmp_path, host)
        with pytest.raises(ExternalError, match="refuses"):
            Registry(host).digest("team/demo", "one")


@pytest.mark.parametrize(("code", "words"), [(403, r"refuses team/demo \(403\)"), (500, "answers 500"), (429, "429")])
def test_a_registry_that_refuses_is_told_with_its_code(code: int, words: str) -> None:
    with served(lambda _: (code, {}, b"{}")) as host, pytest.raises(ExternalError, match=words) as caught:
        Registry(host).digest("team/demo", "one")
    assert caught.value.exit_code == 4
    assert host in str(caught.value)


def test_a_registry_that_is_down_is_told_with_what_to_do() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(ExternalError, match=rf"{host} does not answer: .*refused.*\n.*--registry"):
        Registry(host).digest("team/demo", "one")


def test_a_registry_that_hangs_up_in_the_middle_of_an_answer_is_told() -> None:
    server = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        for _ in range(4):
            connection, _address = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")

    threading.Thread(target=answer, daemon=True).start()
    with server, pytest.raises(ExternalError, match="does not answer"):
        Registry(f"127.0.0.1:{server.getsockname()[1]}").manifest("team/demo", "one")


def test_what_is_no_registry_is_told() -> None:
    with served(lambda _: (200, {}, b"<html>")) as host, pytest.raises(ExternalError, match="is it a registry"):
        Registry(host).digest("team/demo", "one")


def test_credentials_are_looked_for_where_docker_and_podman_keep_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def entry(user: str) -> dict[str, str]:
        return {"auth": base64.b64encode(f"{user}:p:w".encode()).decode()}

    assert find_credentials("reg.example", "a/b") is None
    log_in(tmp_path, "https://reg.example/v1/")
    assert find_credentials("reg.example", "a/b") == Credentials("me", PASSWORD)
    podman = tmp_path / "run/containers/auth.json"
    podman.parent.mkdir(parents=True)
    podman.write_text(json.dumps({"auths": {"reg.example": entry("all"), "reg.example/a": entry("team")}}))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    assert find_credentials("reg.example", "a/b") == Credentials("team", "p:w")
    assert find_credentials("reg.example", "c") == Credentials("all", "p:w")
    told = tmp_path / "told.json"
    told.write_text(json.dumps({"auths": {"reg.example": {"identitytoken": "t"}}}))
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(told))
    assert find_credentials("reg.example", "c") == Credentials(token="t")
    told.write_text("{ broken")
    assert find_credentials("reg.example", "c") == Credentials("all", "p:w")


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        ({"credHelpers": {"reg.example": "fake"}}, Credentials("helped", "secret")),
        ({"credsStore": "fake", "auths": {"reg.example": {}}}, Credentials("helped", "secret")),
        ({"credHelpers": {"reg.example": "missing"}}, None),
        ({"credHelpers": {"reg.example": "../fake"}}, None),
    ],
)
def test_credential_helpers_are_asked(
    config: dict[str, Any], wanted: Credentials | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker/config.json").write_text(json.dumps(config))
    helper = tmp_path / "docker-credential-fake"
    helper.write_text(
        '#!/bin/sh\nread -r host\n[ "$1 $host" = "get reg.example" ] && '
        'echo \'{"Username":"helped","Secret":"secret"}\'\n'
    )
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert find_credentials("reg.example", "a") == wanted


def test_credentials_are_in_no_text() -> None:
    shown = repr(Credentials("someone", "p4ss", "t0ken"))
    assert not {w for w in ("someone", "p4ss", "t0ken") if w in shown}


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("localhost", True),
        ("localhost:5000", True),
        ("127.0.0.1:5000", True),
        ("127.8.8.8", True),
        ("[::1]:5000", True),
        ("localhost.example", False),
        ("127.0.0.1.example", False),
        ("10.0.0.1:5000", False),
    ],
)
def test_only_this_machine_is_asked_without_encryption(host: str, here: bool) -> None:
    assert is_loopback(host) is here


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("localhost:5000/a", ("localhost:5000", "a")),
        ("reg.example/team/a-b_c", ("reg.example", "team/a-b_c")),
        ("[::1]:5000/a", ("[::1]:5000", "a")),
    ],
)
def test_a_repository_has_a_host_and_a_path(name: str, parts: tuple[str, str]) -> None:
    assert split_repository(name) == parts


@pytest.mark.parametrize(
    "name", ["team/a", "a", "-x.y/a", "reg.example/A", "reg.example//a", "reg.example/a;b", "http://x.y/a"]
)
def test_what_can_be_no_repository_is_refused(name: str) -> None:
    with pytest.raises(ProjectError, match="is no registry"):
        split_repository(name)
