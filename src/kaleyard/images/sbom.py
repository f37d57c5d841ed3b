"""What is in an image, as CycloneDX 1.5: made from the lock, and so the same for the same image."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from typing import Any

from kaleyard.compiler.image_recipe import ImageRecipe
from kaleyard.compiler.lockfile import Lock, Locked

__all__ = ["sbom"]

_PYTHON = re.compile(r"python[^:]*:(3\.\d+)")
_ALGORITHMS = {"md5": "MD5", "sha1": "SHA-1", "sha256": "SHA-256", "sha384": "SHA-384", "sha512": "SHA-512"}
_PINNED = re.compile(r"[^=\s;]+==(?P<version>[^\s;]+)(?:\s*;\s*(?P<marker>.+))?")


def sbom(recipe: ImageRecipe, lock: Lock, digest: str) -> bytes:
    """The image's bill of materials: its packages with versions and the hashes the lock allows, and its base image.

    It has neither serial number nor time, which would make every writing another. Of packages that the lock has for
    some systems only, those that Linux takes with the base image's Python, or this one's if its name tells none.
    """
    python = (_PYTHON.search(recipe.base_image) or [None, f"{sys.version_info.major}.{sys.version_info.minor}"])[1]
    names = sorted({line for layer in recipe.packages.values() for line in _names(layer)})
    locked = [entry for name in names for entry in lock.entries[name] if _applies(entry, str(python))]
    refs = {entry.name: _purl(entry) for entry in locked}
    image = f"{recipe.repository}@{digest}"
    whole = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {
                "type": "container",
                "bom-ref": image,
                "name": recipe.repository,
                "version": digest,
                "properties": [{"name": "kaleyard:key", "value": recipe.key}],
            }
        },
        "components": [_base(recipe.base_image), *map(_component, locked)],
        "dependencies": [
            {"ref": image, "dependsOn": [recipe.base_image, *refs.values()]},
            *(
                {"ref": refs[e.name], "dependsOn": sorted(refs[n] for n in lock.needs.get(e.name, ()) if n in refs)}
                for e in locked
            ),
        ],
    }
    return json.dumps(whole, indent=1).encode() + b"\n"


def _names(requirements: str) -> Iterator[str]:
    from kaleyard.installed_packages import normal_name

    for line in requirements.splitlines():
        name = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", line)
        if name:
            yield normal_name(name[0])


def _applies(entry: Locked, python: str) -> bool:
    from packaging.markers import Marker

    marker = _pinned(entry)["marker"]
    system = {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"}
    version = {"python_version": python, "python_full_version": f"{python}.0"}
    implementation = {"implementation_name": "cpython", "platform_python_implementation": "CPython"}
    return not marker or Marker(marker).evaluate(system | version | implementation)


def _pinned(entry: Locked) -> re.Match[str]:
    found = _PINNED.match(entry.requirement)
    assert found, entry.requirement
    return found


def _purl(entry: Locked) -> str:
    return f"pkg:pypi/{entry.name}@{_pinned(entry)['version']}"


def _component(entry: Locked) -> dict[str, Any]:
    hashes = (told.removeprefix("--hash=").partition(":") for told in entry.hashes)
    return {
        "type": "library",
        "bom-ref": _purl(entry),
        "name": entry.name,
        "version": _pinned(entry)["version"],
        "purl": _purl(entry),
        "hashes": [{"alg": _ALGORITHMS[kind], "content": value} for kind, _, value in hashes if kind in _ALGORITHMS],
    }


def _base(image: str) -> dict[str, Any]:
    name, at, digest = image.partition("@")
    place, colon, tag = name.rpartition(":")
    plain, version = (place, tag) if colon and "/" not in tag else (name, "")
    return {"type": "container", "bom-ref": image, "name": plain, "version": digest if at else version}
