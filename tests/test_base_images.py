"""Base images by digest: locked, used, told where they are not, and what a base that moves does."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import container_engine
import kaleyard as verbs
from build_place import Place, get, needed
from container_engine import Engine
from kaleyard.base_images import locked_digests, pinned, write_digests
from kaleyard.cli import cli
from kaleyard.compiler.image_recipe import ImageRecipe, pipeline_recipes
from kaleyard.config import Project, find_project
from kaleyard.errors import ExternalError, ProjectError, StaleError
from kaleyard.execution.environment_key import environment_key
from kaleyard.images import image_origin
from kaleyard.images.oci_registry import Registry
from kaleyard.kubeflow.submission import read_submission
from notebook_builder import notebook

pytest_plugins = ["engine", "build_fixtures"]
engines = pytest.mark.engine

BASE = "python:3.12-slim"
OLD, NEW = f"sha256:{'0' * 64}", f"sha256:{'1' * 64}"


@pytest.fixture
def two(project: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project with a step on its own base image, and one on an image of that step's."""
    (project / "requirements.lock").write_bytes((repository / "requirements.lock").read_bytes())
    (project / "pyproject.toml").write_text(
        f'[tool.kaleyard]\nregistry = "registry.example.org/team"\nbase-image = "{BASE}"\n', encoding="utf-8"
    )
    notebook(project / "notebooks/demo.ipynb", ("a = 1", "step:make"), ("print(a)", "step:show image:example.org/b:1"))
    monkeypatch.chdir(project)
    return find_project(project)


def recipes(project: Project) -> dict[str, ImageRecipe]:
    return pipeline_recipes(verbs.read(project.root / "notebooks/demo.ipynb"), project)


def unlocked() -> list[str]:
    return [f"{f.place}: {f.what}" for f in verbs.check() if f.code == "KY406"]


def test_the_digest_is_part_of_the_key_and_of_what_the_image_is_built_from(two: Project) -> None:
    by_name = recipes(two)
    write_digests({BASE: OLD}, two)
    before = recipes(two)
    write_digests({BASE: NEW}, two)
    after = recipes(two)
    assert len({r["make"].key for r in (by_name, before, after)}) == 3
    assert len({r["show"].key for r in (by_name, before, after)}) == 1, "it stands on another image"
    text = after["make"].dockerfile.decode()
    assert f"{BASE}@{NEW}" in text
    assert f'base.name="{BASE}"' in text
    assert f'base.digest="{NEW}"' in text
    assert not [line for line in text.splitlines() if re.search(rf"(FROM|=){BASE}\s*$", line)]


def test_what_runs_here_does_not_depend_on_the_base_image(two: Project) -> None:
    step = verbs.read(two.root / "notebooks/demo.ipynb").steps[0]
    before = environment_key(step, two)
    first = verbs.run("notebooks/demo.ipynb")
    write_digests({BASE: NEW}, two)
    assert environment_key(step, two) == before
    again = verbs.run("notebooks/demo.ipynb")
    assert {s.state for s in first.steps.values()} == {"done"}
    assert {s.state for s in again.steps.values()} == {"cached"}


def test_each_base_image_that_is_not_locked_is_told_once(two: Project) -> None:
    assert unlocked() == [
        "notebooks/demo.ipynb: step show: `images.lock` has no digest of example.org/b:1",
        f"notebooks/demo.ipynb: `images.lock` has no digest of {BASE}",
    ]
    write_digests({BASE: NEW, "example.org/b:1": NEW}, two)
    assert unlocked() == []


def test_a_base_image_named_by_digest_and_a_project_without_a_lock_need_none(
    two: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_digests({"example.org/b:1": NEW}, two)
    monkeypatch.setenv("KALEYARD_BASE_IMAGE", f"{BASE}@{OLD}")
    assert unlocked() == []
    assert pinned(f"{BASE}@{OLD}", {f"{BASE}@{OLD}": NEW}) == f"{BASE}@{OLD}"
    monkeypatch.delenv("KALEYARD_BASE_IMAGE")
    assert unlocked()
    (two.root / "requirements.lock").unlink()
    assert unlocked() == []


@pytest.mark.parametrize("text", ["nonsense", f'"{BASE}" = "latest"', f'"{BASE}" = 1', '"a" = "sha256:0"'])
def test_a_lock_that_says_no_digests_is_refused(two: Project, text: str) -> None:
    (two.root / "images.lock").write_text(text, encoding="utf-8")
    with pytest.raises(ProjectError, match=r"images\.lock.*\n.*kaleyard lock"):
        recipes(two)


def answers(known: dict[str, str]) -> Callable[[str], str]:
    def ask(image: str) -> str:
        if image not in known:
            raise ExternalError(f"the registry of {image} does not answer")
        return known[image]

    return ask


def locked() -> Result:
    done = CliRunner().invoke(cli, ["lock"])
    assert done.exit_code == 0, done.output
    return done


def test_lock_writes_what_the_registries_say_and_leaves_what_they_do_not(
    two: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_origin, "registry_digest", answers({}))
    silent = f"{BASE}: the registry of {BASE} does not answer; it is not locked\n"
    assert silent in locked().stderr
    assert not (two.root / "images.lock").exists()
    write_digests({"example.org/b:1": OLD, "of-nobody:1": OLD}, two)
    monkeypatch.setattr(image_origin, "registry_digest", answers({BASE: NEW}))
    told = locked()
    assert told.stdout == f"{BASE}: {NEW} (new)\n"
    assert (
        told.stderr == "example.org/b:1: the registry of example.org/b:1 does not answer; its digest stays as it was\n"
    )
    assert locked_digests(two) == {BASE: NEW, "example.org/b:1": OLD}
    monkeypatch.setattr(image_origin, "registry_digest", answers({BASE: OLD, "example.org/b:1": OLD}))
    assert locked().stdout == f"example.org/b:1: {OLD} (as before)\n{BASE}: {OLD} (moved)\n"


def test_lock_drops_nothing_while_a_notebook_cannot_be_read(two: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    write_digests({"example.org/b:1": OLD}, two)
    (two.root / "notebooks/demo.ipynb").write_text("{", encoding="utf-8")
    monkeypatch.setattr(image_origin, "registry_digest", answers({BASE: NEW}))
    locked()
    assert locked_digests(two) == {BASE: NEW, "example.org/b:1": OLD}


@pytest.mark.parametrize(
    ("image", "asked"),
    [
        (BASE, ("docker.io", "library/python", "3.12-slim")),
        ("python", ("docker.io", "library/python", "latest")),
        ("team/python:3", ("docker.io", "team/python", "3")),
        ("localhost/python:3", ("localhost", "python", "3")),
        ("localhost:5000/python", ("localhost:5000", "python", "latest")),
        ("example.org/a/b:1", ("example.org", "a/b", "1")),
    ],
)
def test_the_registry_that_the_name_means_is_asked(
    image: str, asked: tuple[str, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[tuple[str, str, str]] = []

    def digest(registry: Registry, repository: str, reference: str) -> str:
        found.append((registry.host, repository, reference))
        return NEW

    monkeypatch.setattr(Registry, "digest", digest)
    assert image_origin.registry_digest(image) == NEW
    assert found == [asked]


@engines
@pytest.mark.parametrize("name", ["docker", "podman", "buildah"])
def test_every_builder_takes_a_name_with_tag_and_digest(
    place: Place, engine: Engine, base_image: str, name: str
) -> None:
    needed(name)
    image = f"{place.registry}/base:1"
    move(engine, image, base_image, "one")
    write_digests({image: image_origin.registry_digest(image)}, find_project(place.root))
    move(engine, image, base_image, "two")
    place.write((f"a = '{name}'", f"step:only image:{image}"))
    with container_engine.locked(name):
        built = place.build(builder=name).steps["only"]
    config = get(built.pinned, "manifests", built.digest)["config"]["digest"]
    assert get(built.pinned, "blobs", config)["config"]["Labels"]["mark"] == "one"


def move(engine: Engine, image: str, base: str, mark: str) -> None:
    """Push another image under the name: the base with a label more."""
    made = engine.ask("create", base, "true")
    engine.ask("commit", "--change", f"LABEL mark={mark}", made, image)
    engine.ask("rm", made)
    engine.ask("push", image)


@engines
def test_a_base_that_moved_rebuilds_exactly_the_images_on_it_once_it_is_locked_again(
    place: Place, engine: Engine, base_image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    moving = f"{place.registry}/base:1"
    move(engine, moving, base_image, "one")
    place.write(("a = 1", f"step:moves image:{moving}"), ("b = 1", "step:stays"))

    seen = place.build()
    assert len(unlocked()) == 1, "the project's own is named by digest"
    pipeline, project = verbs.read(place.root / "notebooks/demo.ipynb"), find_project(place.root)
    told = json.loads((place.root / "build/demo/images.json").read_text())
    assert told["moves"]["base"] == f"{moving}@{image_origin.registry_digest(moving)}"
    monkeypatch.setenv("KALEYARD_REGISTRY", place.registry)
    read_submission(pipeline, find_project(place.root))

    locked()
    assert locked_digests(project) == {moving: image_origin.registry_digest(moving)}
    assert unlocked() == []
    assert {n: i.state for n, i in place.build().steps.items()} == {"moves": "there", "stays": "there"}

    move(engine, moving, base_image, "two")
    assert {i.state for i in place.build().steps.values()} == {"there"}, "what is locked does not move"
    assert " (moved)" in locked().stdout
    with pytest.raises(StaleError, match="moves changed"):
        read_submission(pipeline, find_project(place.root))
    again = place.build()
    assert {n: i.state for n, i in again.steps.items()} == {"moves": "pushed", "stays": "there"}
    assert again.steps["moves"].key != seen.steps["moves"].key
    pinned_image = again.steps["moves"].pinned
    manifest = get(pinned_image, "manifests", pinned_image.partition("@")[2])
    labels = get(pinned_image, "blobs", manifest["config"]["digest"])["config"]["Labels"]
    assert labels["mark"] == "two"
    assert labels["org.opencontainers.image.base.name"] == moving
    assert labels["org.opencontainers.image.base.digest"] == image_origin.registry_digest(moving)

    # Without a lock the digest that `build` sees is in the key as well.
    (place.root / "images.lock").unlink()
    move(engine, moving, base_image, "three")
    assert {n: i.state for n, i in place.build().steps.items()} == {"moves": "pushed", "stays": "there"}


def test_a_lock_that_cannot_be_written_leaves_the_one_before(two: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    write_digests({BASE: OLD}, two)

    def full(self: Path, target: object) -> Path:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(ExternalError, match="No space left"):
            write_digests({BASE: NEW}, two)
    assert locked_digests(two) == {BASE: OLD}
    assert sorted(p.name for p in two.root.glob("*images*")) == ["images.lock"]
