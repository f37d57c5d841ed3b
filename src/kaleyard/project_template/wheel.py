"""The Kaleyard that runs as a wheel, which a project carries so that it installs wherever it is cloned.

The same files give the same bytes. The hook that ends `cookiecutter` imports this file with whatever Python runs
cookiecutter, so it needs nothing but the standard library. The layout is the packaging specifications' "binary
distribution format".
"""

from __future__ import annotations

import base64
import hashlib
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

__all__ = ["write_wheel"]

_PACKAGE = Path(__file__).parents[1]
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first that a zip file can say
_WHEEL = "Wheel-Version: 1.0\nGenerator: kaleyard\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def write_wheel(folder: Path) -> Path:
    """A wheel of the running Kaleyard in `folder`, which is made; the wheel's path.

    From a checkout as its pyproject.toml says, else from what is installed. Raises OSError if it cannot be written,
    and importlib.metadata.PackageNotFoundError for a package folder that is neither.
    """
    checkout = _PACKAGE.parents[1] / "pyproject.toml"
    name, version, files = _from_checkout(checkout) if checkout.is_file() else _from_installed()
    files |= {f"{name}-{version}.dist-info/WHEEL": _WHEEL.encode()}
    record = f"{name}-{version}.dist-info/RECORD"
    lines = [f"{path},sha256={_digest(data)},{len(data)}" for path, data in sorted(files.items())]
    files |= {record: "\n".join([*lines, f"{record},,", ""]).encode()}
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    unfinished = wheel.with_suffix(".unfinished")
    try:
        with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(files):
                entry = zipfile.ZipInfo(path, _EPOCH)
                entry.compress_type = zipfile.ZIP_DEFLATED
                entry.external_attr = (0o755 if files[path].startswith(b"#!") else 0o644) << 16
                archive.writestr(entry, files[path])
        unfinished.replace(wheel)
    finally:
        unfinished.unlink(missing_ok=True)
    return wheel


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def _from_checkout(path: Path) -> tuple[str, str, dict[str, bytes]]:
    settings = tomllib.loads(path.read_text(encoding="utf-8"))
    project = settings["project"]
    files = {f"{_PACKAGE.name}/{inner}": data for inner, data in _files(_PACKAGE)}
    for source, target in settings["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"].items():
        files |= {f"{target}/{inner}": data for inner, data in _files(path.parent / source)}
    info = f"{project['name']}-{project['version']}.dist-info"
    files[f"{info}/METADATA"] = _metadata(project).encode()
    scripts = "".join(f"{name} = {target}\n" for name, target in project["scripts"].items())
    files[f"{info}/entry_points.txt"] = f"[console_scripts]\n{scripts}".encode()
    for name in project["license-files"]:
        files[f"{info}/licenses/{name}"] = (path.parent / name).read_bytes()
    return project["name"], project["version"], files


def _from_installed() -> tuple[str, str, dict[str, bytes]]:
    files = {f"{_PACKAGE.name}/{inner}": data for inner, data in _files(_PACKAGE)}
    installed = distribution(_PACKAGE.name)
    name, version = installed.metadata["Name"], installed.version
    info = f"{name}-{version}.dist-info"
    for file in installed.files or []:
        inner = file.as_posix().removeprefix(f"{info}/")
        if inner in {"METADATA", "entry_points.txt"} or inner.startswith("licenses/"):
            files[f"{info}/{inner}"] = file.read_binary()
    if f"{info}/METADATA" not in files:
        raise PackageNotFoundError(name)
    return name, version, files


def _files(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path.relative_to(folder).as_posix(), path.read_bytes()


def _metadata(project: dict[str, Any]) -> str:
    extras: dict[str, list[str]] = project.get("optional-dependencies", {})
    lines = [
        "Metadata-Version: 2.4",
        f"Name: {project['name']}",
        f"Version: {project['version']}",
        f"Summary: {project['description']}",
        f"License-Expression: {project['license']}",
        *(f"License-File: {name}" for name in project["license-files"]),
        f"Requires-Python: {project['requires-python']}",
        *(f"Requires-Dist: {needed}" for needed in project["dependencies"]),
    ]
    for extra, needs in extras.items():
        lines.append(f"Provides-Extra: {extra}")
        lines += [f"Requires-Dist: {needed} ; extra == '{extra}'" for needed in needs]
    return "\n".join([*lines, ""])
