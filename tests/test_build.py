"""`kaleyard build` for real: a builder, a registry, and what becomes of an edit."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

import kaleyard.api as verbs
from container_engine import Engine, locked
from kaleyard.cluster.images import build_images, local_images
from kaleyard.cluster.options import Options
from kaleyard.cluster.record import Built
from kaleyard.errors import CheckError, OutsideError, UsageError
from kaleyard.project import find_project
from notebook_builder import notebook

pytest_plugins = ["engine"]
engines = pytest.mark.engine
ACCEPT = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json"
CELLS = (
    ("import numpy as np\nfrom sklearn.linear_model import LinearRegression\nimport helper", "imports"),
    ("N = 3", "pipeline-parameters"),
    ("x = np.arange(N)\nstart = helper.START", "step:make"),
    ("model = LinearRegression().fit(x[:, None], x)\nslope = float(model.coef_[0]) + start", "step:fit"),
    ("scaled = float(x.sum())", "step:scale"),
    ("print(slope)", "pipeline-metrics"),
)


@dataclass
class Place:
    """A project with a notebook and a module, and a registry folder of its own."""

    root: Path
    registry: str
    base: str
    secrets: dict[str, Path]

    def write(self, *cells: tuple[str, str], name: str = "demo") -> Path:
        return notebook(self.root / "notebooks" / f"{name}.ipynb", *(cells or CELLS))

    def build(self, **options: Any) -> Built:
        told = {"registry": self.registry, "secrets": self.secrets} | options
        (built,) = verbs.build(self.root / "notebooks/demo.ipynb", **told)
        return built

    def package(self) -> Any:
        return list(yaml.safe_load_all((self.root / "build/demo/pipeline.yaml").read_text()))

    def images(self) -> dict[str, str]:
        executors = self.package()[0]["deploymentSpec"]["executors"]
        return {name.removeprefix("exec-"): e["container"]["image"] for name, e in executors.items()}


@pytest.fixture
def bare(project: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A project whose registry does not answer, and whose images nobody can build."""
    shutil.copy(repository / "requirements.lock", project)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        registry = f"127.0.0.1:{free.getsockname()[1]}/team"
    (project / "notebooks/helper.py").write_text("START = 1\n")
    monkeypatch.chdir(project)
    place = Place(project, registry, "python:3.12-slim", {})
    place.write()
    return place


@pytest.fixture
def place(bare: Place, engine: Engine, registry: str, base_image: str, monkeypatch: pytest.MonkeyPatch) -> Place:
    """The same project where everything is there; nothing of it is in the registry yet."""
    monkeypatch.setenv("KALEYARD_BASE_IMAGE", base_image)
    certificates = os.environ.get("PIP_CERT") or os.environ.get("SSL_CERT_FILE") or ""
    told = {"ca": Path(certificates), "pipconf": Path("/etc/pip.conf")}
    secrets = {name: path for name, path in told.items() if path.is_file()}
    return Place(bare.root, f"{registry}/t{time.time_ns()}", base_image, secrets)


def get(image: str, kind: str, name: str) -> Any:
    host, _, path = image.partition("@")[0].partition("/")
    request = urllib.request.Request(f"http://{host}/v2/{path}/{kind}/{name}", headers={"Accept": ACCEPT})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def blobs(image: str) -> dict[str, int]:
    """An image's layers and configuration, as the registry has them: digests and sizes."""
    manifest = get(image, "manifests", image.partition("@")[2])
    return {part["digest"]: part["size"] for part in (*manifest["layers"], manifest["config"])}


@engines
def test_only_what_changed_is_built_and_pushed_and_named(place: Place) -> None:
    first = place.build()
    assert {i.state for i in first.steps.values()} == {"pushed"}
    images = place.images()
    assert images == {name: image.pinned for name, image in first.steps.items()}
    config = get(
        images["fit"], "blobs", get(images["fit"], "manifests", images["fit"].partition("@")[2])["config"]["digest"]
    )
    assert config["config"]["Labels"]["kaleyard.key"] == first.steps["fit"].key
    assert not config["config"].get("Entrypoint")
    assert config["config"]["User"] == "1000:0"
    told = json.loads((place.root / "build/demo/images.json").read_text())
    assert told["fit"] == {
        "image": first.steps["fit"].name,
        "digest": first.steps["fit"].digest,
        "key": first.steps["fit"].key,
    }
    assert sorted(p.name for p in (place.root / "build/demo/sbom").iterdir()) == [
        "fit.cdx.json",
        "make.cdx.json",
        "scale.cdx.json",
    ]

    every = {name: blobs(image) for name, image in images.items()}
    distinct: dict[str, int] = {}
    for parts in every.values():
        distinct |= parts
    assert sum(distinct.values()) <= 1.3 * max(sum(parts.values()) for parts in every.values())

    before = {p: p.read_bytes() for p in (place.root / "build").rglob("*") if p.is_file()}
    again = place.build(builder="none-is-asked-for")
    assert {i.state for i in again.steps.values()} == {"there"}
    assert {p: p.read_bytes() for p in before} == before

    # One cell: one image, and next to nothing of it is new.
    place.write(*(("scaled = float(x.sum()) * 2", tags) if tags == "step:scale" else (s, tags) for s, tags in CELLS))
    edited = place.build()
    assert {n: i.state for n, i in edited.steps.items()} == {"make": "there", "fit": "there", "scale": "pushed"}
    assert sum(size for digest, size in blobs(place.images()["scale"]).items() if digest not in distinct) < 1_000_000
    assert {n for n in images if images[n] != place.images()[n]} == {"scale"}

    # A module of the project: exactly the steps that use it, or take a value that it may have made.
    (place.root / "notebooks/helper.py").write_text("START = 2\n")
    shared = place.build()
    assert {n for n, i in shared.steps.items() if i.state == "pushed"} == {"make", "fit"}


@engines
def test_a_step_image_is_small_and_runs_for_anybody_without_network_on_a_read_only_root(
    place: Place, engine: Engine
) -> None:
    pipeline, project = verbs.read(place.root / "notebooks/demo.ipynb"), find_project(place.root)
    image = local_images(pipeline, project, Options(secrets=place.secrets))["fit"]
    assert int(engine.ask("image", "inspect", "--format", "{{.Size}}", image)) <= 500_000_000
    confined = ["--network", "none", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--user", "12345"]
    code = (
        "import importlib.util as u, os, sklearn.ensemble, papermill, kaleyard.runtime.step_run;"
        "print([n for n in ('kfp', 'kale', 'click', 'rich', 'kaleyard.cli') if n != 'click' and u.find_spec(n)]);"
        "print(sklearn.__cached__.endswith('.pyc') and os.path.exists(sklearn.__cached__));"
        "print(os.path.exists('/run/secrets/ca'), os.path.exists('/root/.config/pip'))"
    )
    told = engine.ask("run", "--rm", *confined, image, "python", "-c", code).splitlines()
    assert told == ["[]", "True", "False False"]
    assert "--executor-input" in engine.ask(
        "run", "--rm", *confined, image, "python", "-m", "kaleyard.runtime", "--help"
    )


@engines
def test_local_images_are_built_once(place: Place, engine: Engine) -> None:
    place.write(("a = 1", "step:only"), (f"b = {time.time_ns()}", ""))
    pipeline, project = verbs.read(place.root / "notebooks/demo.ipynb"), find_project(place.root)
    options = Options(push=False, secrets=place.secrets)
    assert build_images(pipeline, project, options).steps["only"].state == "built"
    assert build_images(pipeline, project, options).steps["only"].state == "there"
    assert not (place.root / "build").exists()


def tiny(place: Place, value: object) -> str:
    place.write((f"a = {value!r}", "step:only"))
    return "only"


@engines
def test_two_builds_at_once_both_succeed_and_make_one_image(place: Place) -> None:
    name = tiny(place, time.time_ns())
    options = [o for n, p in place.secrets.items() for o in ("--secret", f"id={n},src={p}")]
    command = [sys.executable, "-m", "kaleyard", "build", "--registry", place.registry, "--json", *options]
    running = [subprocess.Popen(command, cwd=place.root, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    told = [json.loads(p.communicate(timeout=300)[0])[0]["images"][name] for p in running]
    assert [p.returncode for p in running] == [0, 0]
    assert sorted(t["state"] for t in told) == ["pushed", "there"]
    assert told[0]["digest"] == told[1]["digest"]


@engines
def test_a_tag_with_other_content_is_an_error_and_names_nothing(place: Place, engine: Engine) -> None:
    name = tiny(place, time.time_ns())
    (plan,) = verbs.build(place.root / "notebooks/demo.ipynb", registry=place.registry, dry_run=True)
    engine.ask("tag", place.base, plan.steps[name].name)
    engine.ask("push", plan.steps[name].name)
    with pytest.raises(OutsideError, match=r"exists with other content.*\n.*Delete that tag"):
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
            with pytest.raises(OutsideError, match=rf"step {name}: pushing .*its last lines"):
                place.build(builder=builder)
            assert not (place.root / "build").exists()
            fail.clear()
            assert place.build(builder=builder).steps[name].state == "pushed"


def needed(name: str) -> str:
    """The name of a builder that is here; where it is not, the test is skipped, or fails in CI."""
    if shutil.which(name) is None:
        from engine import lacking

        lacking(name, f"install {name} to build with it too")
    return name


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
        with locked(builder), pytest.raises(OutsideError, match=r"(?s)docker login|log in") as refusal:
            place.build(builder=builder)
        assert refusal.value.exit_code == 4
        assert not (place.root / "build").exists()
    log_in(home, guarded, PASSWORD)
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


@engines
def test_a_platform_is_built_for_and_one_that_cannot_be_is_told(place: Place, engine: Engine) -> None:
    own = engine.ask("version", "--format", "{{.Server.Os}}/{{.Server.Arch}}")
    name = tiny(place, time.time_ns())
    first = place.build(platform=own)
    assert first.steps[name].state == "pushed"
    digest = first.steps[name].pinned.partition("@")[2]
    image = get(
        first.steps[name].pinned, "blobs", get(first.steps[name].pinned, "manifests", digest)["config"]["digest"]
    )
    assert f"{image['os']}/{image['architecture']}" == own
    # The base image is named by its digest, and is for this machine alone.
    for builder in ("docker", "podman", "buildah"):
        with (
            locked(builder),
            pytest.raises(OutsideError, match=r"(?s)the build failed.*base image is for .*, not for s390x"),
        ):
            place.build(platform="linux/s390x", builder=needed(builder))


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


@engines
@pytest.mark.parametrize("name", ["podman", "buildah"])
def test_other_builders_build_and_push_too(place: Place, name: str) -> None:
    needed(name)
    place.write(("a = 1", "step:only"), ("print(a)", "step:told"))
    with locked(name):
        built = place.build(builder=name)
    assert {image.state for image in built.steps.values()} == {"pushed"}
    for image in built.steps.values():
        _, _, digest = image.pinned.partition("@")
        config = get(image.pinned, "blobs", get(image.pinned, "manifests", digest)["config"]["digest"])
        assert config["config"]["Labels"]["kaleyard.key"] == image.key
        assert config["config"]["User"] == "1000:0"
    # Whoever built it, it is there for the others.
    assert {image.state for image in place.build().steps.values()} == {"there"}


def test_a_registry_that_is_down_is_told_before_any_builder_starts(bare: Place) -> None:
    with pytest.raises(OutsideError, match="does not answer") as caught:
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
    with pytest.raises(OutsideError, match="does not answer"):
        verbs.build(path, registry=bare.registry)
    assert not list(bare.root.rglob("evil*.txt"))
