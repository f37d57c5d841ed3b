from __future__ import annotations

import json
from pathlib import Path

from kaleyard.compiler.image_recipe import pipeline_recipes
from kaleyard.compiler.lockfile import Lock
from kaleyard.config import Project
from kaleyard.images.sbom import sbom
from kaleyard.pipeline import Pipeline, Step

DIGEST = f"sha256:{'0' * 64}"


def made(repository: Path, base: str = "python:3.12-slim") -> bytes:
    pipeline = Pipeline("demo", "demo.ipynb", (Step("train", (), packages=("numpy",)),))
    project = Project(repository, base_image=base)
    return sbom(pipeline_recipes(pipeline, project)["train"], Lock.read(repository / project.lock), DIGEST)


def test_a_bill_of_materials_has_every_package_of_the_image_with_its_version_and_hashes(repository: Path) -> None:
    data = json.loads(made(repository))
    assert (data["bomFormat"], data["specVersion"]) == ("CycloneDX", "1.5")
    assert data["metadata"]["component"]["version"] == DIGEST
    base, *packages = data["components"]
    assert (base["type"], base["name"], base["version"]) == ("container", "python", "3.12-slim")
    numpy = next(c for c in packages if c["name"] == "numpy")
    assert numpy["purl"] == f"pkg:pypi/numpy@{numpy['version']}"
    lock = (repository / "requirements.lock").read_text()
    assert f"numpy=={numpy['version']}" in lock
    assert all(f"sha256:{h['content']}" in lock and h["alg"] == "SHA-256" for h in numpy["hashes"])
    names = {c["name"] for c in packages}
    assert {"papermill", "ipykernel"} <= names
    assert not {"appnope", "pandas", "kfp"} & names, "for other systems, or of other steps"


def test_a_bill_of_materials_is_valid_by_cyclonedxs_own_schema(repository: Path) -> None:
    from jsonschema import Draft7Validator
    from referencing import Registry
    from referencing.jsonschema import DRAFT7

    folder = Path(__file__).parents[1] / "schemas" / "cyclonedx"
    schemas = {
        name: json.loads((folder / f"{name}.schema.json").read_text()) for name in ("bom-1.5", "spdx", "jsf-0.82")
    }
    # They refer to each other by the names of snapshots.
    known = Registry().with_resources(
        (f"http://cyclonedx.org/schema/{name}.SNAPSHOT.schema.json", DRAFT7.create_resource(schema))
        for name, schema in schemas.items()
    )
    validator = Draft7Validator(schemas["bom-1.5"], registry=known)
    whole = json.loads(made(repository))
    assert not [error.message for error in validator.iter_errors(whole)]
    for broken in ({"bomFormat": "other"}, {"components": [{"name": "no type"}]}, {"unknown": 1}):
        assert not validator.is_valid(whole | broken)


def test_who_needs_whom_is_told_and_every_reference_is_there(repository: Path) -> None:
    data = json.loads(made(repository))
    refs = {c["bom-ref"] for c in data["components"]} | {data["metadata"]["component"]["bom-ref"]}
    assert len(refs) == len(data["components"]) + 1
    assert {d["ref"] for d in data["dependencies"]} <= refs
    assert {r for d in data["dependencies"] for r in d["dependsOn"]} <= refs


def test_a_bill_of_materials_is_the_same_every_time_and_holds_no_time(repository: Path) -> None:
    one = made(repository)
    assert one == made(repository)
    assert not {"serialNumber", "timestamp"} & {*json.loads(one), *json.loads(one)["metadata"]}


def test_versions_are_those_for_the_python_of_the_base_image(repository: Path) -> None:
    found = [
        {c["bom-ref"] for c in json.loads(made(repository, f"python:{version}-slim"))["components"]}
        for version in ("3.11", "3.13")
    ]
    assert found[0] != found[1]
