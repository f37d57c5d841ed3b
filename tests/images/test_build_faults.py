"""`kaleyard build` when something is wrong: told with what to do, and nothing half-pushed is ever named."""

import base64
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

import kaleyard as verbs
from build_place import Place, needed, tiny
from container_engine import Engine, locked
from kaleyard.errors import CheckError, ExternalError, UsageError

pytest_plugins = ["engine", "build_fixtures", "small_disk"]
engines = pytest.mark.engine


@engines
def test_a_tag_with_other_content_is_an_error_and_names_nothing(place: Place, engine: Engine) -> None:
    name = tiny(place, time.time_ns())
    (plan,) = verbs.build(place.root / "notebooks/demo.ipynb", registry=place.registry, dry_run=True)
    engine.ask("tag", place.base, plan.steps[name].name)
    engine.ask("push", plan.steps[name].name)
    with pytest.raises(ExternalError, match=r"exists with other content.*\n.*Delete that tag"):
        place.build()
    assert not (place.root / "build").exists()


@engines
def test_a_registry_that_is_lost_half_way_through_a_push_is_told_and_nothing_is_named(place: Place) -> None:
    # Docker's engine would try for more than a minute.
    builder = needed("podman")
    name = tiny(place, time.time_ns())
    host, _, path = place.registry.partition("/")
    with failing(host) as (proxy, fail):
        place.registry = f"{proxy}/{path}"
        fail.set()
        with locked("podman"):
            with pytest.raises(ExternalError, match=rf"step {name}: pushing .*its last lines"):
                place.build(builder=builder)
            assert not (place.root / "build").exists()
            fail.clear()
            assert place.build(builder=builder).steps[name].state == "pushed"


# One of these is what `htpasswd -nbB` makes of the other.
USER, PASSWORD, HASHED = "kale", "kept-to-oneself", "$2b$04$Otlm.evInmK6M/4uPs1cHeNtLV8S.ZhikRrHrI.naqo1rAFcd9tXe"


@pytest.fixture
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry that lets in only who knows the password."""
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "htpasswd").write_text(f"{USER}:{HASHED}\n")
    auth = f"auth: {{htpasswd: {{realm: kaleyard, path: {folder}/htpasswd}}}}\n"
    from engine import serving_registry

    with serving_registry(folder, auth) as address:
        yield address


@engines
@pytest.mark.parametrize("builder", ["docker", "podman"])
def test_who_is_logged_in_pushes_and_the_password_is_nowhere(
    place: Place, guarded: str, builder: str, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    needed(builder)
    home = tmp_path_factory.mktemp("login")
    place.registry = f"{guarded}/team"
    monkeypatch.setenv("DOCKER_CONFIG", str(home))
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(home / "config.json"))
    name = tiny(place, time.time_ns())
    for password in (None, "another"):
        log_in(home, guarded, password)
        if password:
            with pytest.raises(ExternalError, match=f"cannot sign in to {guarded} as {USER}"):
                verbs.login(USER, password, registry=place.registry, builder=builder)
        with locked(builder), pytest.raises(ExternalError, match=r"(?s)docker login|log in") as refusal:
            place.build(builder=builder)
        assert refusal.value.exit_code == 4
        assert not (place.root / "build").exists()
    log_in(home, guarded, None)
    verbs.login(USER, PASSWORD, registry=place.registry, builder=builder)
    with locked(builder):
        assert place.build(builder=builder).steps[name].state == "pushed"
    secret = base64.b64encode(f"{USER}:{PASSWORD}".encode())
    for path in (p for p in place.root.rglob("*") if p.is_file()):
        content = path.read_bytes()
        assert PASSWORD.encode() not in content, path
        assert secret not in content, path


def log_in(home: Path, registry: str, password: str | None) -> None:
    auth = base64.b64encode(f"{USER}:{password}".encode()).decode()
    (home / "config.json").write_text(json.dumps({"auths": {registry: {"auth": auth}} if password else {}}))


class failing:  # noqa: N801 - used as a function
    """A proxy to a registry that, while told to, hangs up whenever much is sent."""

    def __init__(self, host: str) -> None:
        self._target = host.rpartition(":")
        self._fail = threading.Event()
        self._server = socket.create_server(("127.0.0.1", 0))

    def __enter__(self) -> tuple[str, threading.Event]:
        threading.Thread(target=self._accept, daemon=True).start()
        return f"127.0.0.1:{self._server.getsockname()[1]}", self._fail

    def __exit__(self, *_: object) -> None:
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            other = socket.create_connection((self._target[0], int(self._target[2])))
            threading.Thread(target=self._carry, args=(client, other, True), daemon=True).start()
            threading.Thread(target=self._carry, args=(other, client, False), daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket, upwards: bool) -> None:
        try:
            while data := one.recv(65536):
                if upwards and self._fail.is_set() and data.startswith((b"POST", b"PATCH", b"PUT")):
                    break
                other.sendall(data)
        except OSError:
            pass
        for end in (one, other):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@engines
def test_ctrl_c_ends_the_builder_too(place: Place) -> None:
    place.write((f"a = {time.time_ns()}", "step:only"))
    command = [sys.executable, "-m", "kaleyard", "build", "--registry", place.registry]
    process = subprocess.Popen(command, cwd=place.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout
    for line in process.stdout:
        if "building" in line:
            break
    family: list[psutil.Process] = []
    deadline = time.monotonic() + 20
    while not family and process.poll() is None and time.monotonic() < deadline:
        family = psutil.Process(process.pid).children(recursive=True)
    assert family
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert "Traceback" not in told
    assert not psutil.wait_procs(family, timeout=15)[1]


def test_a_registry_that_is_down_is_told_before_any_builder_starts(bare: Place) -> None:
    with pytest.raises(ExternalError, match="does not answer") as caught:
        bare.build(builder="none-is-asked-for")
    assert caught.value.exit_code == 4
    assert not (bare.root / "build").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"registry": "team"}, "is no registry"),
        ({"platform": "linux/amd64,linux/arm64"}, "is not one platform"),
        ({"secrets": {"token": "/x"}}, "a build has no secret 'token'"),
        ({"secrets": {"ca": "/no/such/file"}}, "is no file"),
        ({"push": False, "builder": "kaniko"}, "there is no builder kaniko"),
    ],
)
def test_wrong_options_are_told(bare: Place, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        bare.build(**options)


def test_a_lock_without_an_imported_package_stops_the_build(bare: Place) -> None:
    lock = bare.root / "requirements.lock"
    lock.write_text(re.sub(r"(?ms)^numpy==.*?(?=^[a-z])", "", lock.read_text()))
    with pytest.raises(
        UsageError, match=r"step make: it imports numpy from numpy, which requirements.lock does not have"
    ):
        bare.build()


def test_a_notebook_with_findings_is_not_built(bare: Place) -> None:
    bare.write(("a = undefined_thing", "step:only"))
    with pytest.raises(CheckError):
        bare.build()


@pytest.mark.parametrize("name", ["$(touch evil)", "a;b&c", "ünï cödé", "--help", 'it\'s "so"'])
def test_a_hostile_notebook_name_is_only_a_name(bare: Place, name: str) -> None:
    path = bare.write(("a = 1", "step:only"), name=name)
    with pytest.raises(ExternalError, match="does not answer"):
        verbs.build(path, registry=bare.registry)
    assert not list(bare.root.rglob("evil*.txt"))


@engines
def test_a_registry_whose_disk_is_full_is_told_and_nothing_is_named(place: Place, small: Path) -> None:
    builder = needed("podman")
    name = tiny(place, time.time_ns())
    from engine import serving_registry

    with serving_registry(small) as address, locked(builder):
        place.registry = f"{address}/team"
        with pytest.raises(ExternalError, match=rf"step {name}: pushing") as refusal:
            place.build(builder=builder)
    assert refusal.value.exit_code == 4
    assert not (place.root / "build").exists()


@engines
def test_a_project_on_a_full_disk_gets_no_half_written_package(
    place: Place, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = tiny(place, time.time_ns())
    place.build()
    before = place.package()
    moved = small / "project"
    shutil.copytree(place.root, moved, ignore=shutil.ignore_patterns(".kaleyard", "runs"))
    monkeypatch.chdir(moved)
    place.root = moved
    tiny(place, time.time_ns())
    filler = small / "filler"
    with suppress(OSError):
        filler.write_bytes(bytes(4_000_000))
    with pytest.raises(ExternalError, match="No space left"):
        place.build()
    assert place.package() == before
    assert not list((moved / "build").rglob("*.part"))
    filler.unlink()
    assert place.build().steps[name].state == "there"
    assert place.package() != before
