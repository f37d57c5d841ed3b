"""A project to build images of, and what a registry has of them."""

import json
import shutil
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

import kaleyard as verbs
from kaleyard.records.image_record import BuiltPipeline
from notebook_builder import notebook

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

    def build(self, **options: Any) -> BuiltPipeline:
        told = {"registry": self.registry, "secrets": self.secrets} | options
        (built,) = verbs.build(self.root / "notebooks/demo.ipynb", **told)
        return built

    def package(self) -> Any:
        return list(yaml.safe_load_all((self.root / "build/demo/pipeline.yaml").read_text()))

    def images(self) -> dict[str, str]:
        executors = self.package()[0]["deploymentSpec"]["executors"]
        return {name.removeprefix("exec-"): e["container"]["image"] for name, e in executors.items()}


def get(image: str, kind: str, name: str) -> Any:
    host, _, path = image.partition("@")[0].partition("/")
    request = urllib.request.Request(f"http://{host}/v2/{path}/{kind}/{name}", headers={"Accept": ACCEPT})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def blobs(image: str) -> dict[str, int]:
    """An image's layers and configuration, as the registry has them: digests and sizes."""
    manifest = get(image, "manifests", image.partition("@")[2])
    return {part["digest"]: part["size"] for part in (*manifest["layers"], manifest["config"])}


def tiny(place: Place, value: object) -> str:
    place.write((f"a = {value!r}", "step:only"))
    return "only"


def needed(name: str) -> str:
    """The name of a builder that is here; where it is not, the test is skipped, or fails in CI."""
    if shutil.which(name) is None:
        from engine import lacking

        lacking(name, f"install {name} to build with it too")
    return name
