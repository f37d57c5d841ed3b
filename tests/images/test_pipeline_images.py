"""`kaleyard build` for real: a builder, a registry, and what becomes of an edit."""

import json
import subprocess
import sys
import time

import pytest

import kaleyard as verbs
from build_place import CELLS, Place, blobs, get, needed, tiny
from container_engine import Engine, locked
from kaleyard.config import find_project
from kaleyard.errors import ExternalError
from kaleyard.images.build_options import BuildOptions
from kaleyard.images.pipeline_images import build_images, local_images

pytest_plugins = ["engine", "build_fixtures"]
engines = pytest.mark.engine


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
        "base": place.base,
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
    image = local_images(pipeline, project, BuildOptions(secrets=place.secrets))["fit"]
    assert int(engine.ask("image", "inspect", "--format", "{{.Size}}", image)) <= 500_000_000
    confined = ["--network", "none", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--user", "12345"]
    code = (
        "import importlib.util as u, os, sklearn.ensemble, papermill, kaleyard.runtime.step;"
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
    options = BuildOptions(push=False, secrets=place.secrets)
    assert build_images(pipeline, project, options).steps["only"].state == "built"
    assert build_images(pipeline, project, options).steps["only"].state == "there"
    assert not (place.root / "build").exists()


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
            pytest.raises(ExternalError, match=r"(?s)the build failed.*base image is for .*, not for s390x"),
        ):
            place.build(platform="linux/s390x", builder=needed(builder))


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
