"""The environment that each peer runs in: made once from its pinned requirements, and used again."""

from __future__ import annotations

import compileall
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

__all__ = ["KALEYARD", "LIMITS", "NotMadeError", "prepare", "variables", "versions"]

KALEYARD, LIMITS = "kaleyard", "limits"
_HERE = Path(__file__).parent
_STAMP = ".requirements"
_COMMON = "common"  # what every environment has
_OWN = ("kaleyard", "papermill", "nbclient")  # what bears on the figures among the many packages of Kaleyard's own
# Settings of whoever runs the benchmark, by how they begin: no runner sees them. HOSTNAME makes Kale ask a cluster.
_NOT_PASSED = ("KALEYARD_", "PLOOMBER_", "JUPYTER_", "PYTHON", "VIRTUAL_ENV", "CONDA_PREFIX", "HOSTNAME")
_VERSIONS = """\
import json, sys
from importlib.metadata import version
print(json.dumps({name: version(name) for name in sys.argv[1:]}))"""
_QUIET = {"PLOOMBER_STATS_ENABLED": "false", "PLOOMBER_VERSION_CHECK_DISABLED": "true"}


class NotMadeError(Exception):
    """An environment that cannot be made, and why."""


def prepare(name: str, tell: Callable[[str], None]) -> Path:
    """The folder of the environment's programs. It is made if there is none, or if its requirements have changed.

    Raises NotMadeError.
    """
    if name == KALEYARD:
        return _own()
    folder = _HERE / ".environments" / name
    programs = folder / "bin"
    requirements = _requirements(name)
    wanted = requirements.read_bytes() + _requirements(_COMMON).read_bytes() + sys.version.encode()
    stamp = hashlib.sha256(wanted).hexdigest()
    made = folder / _STAMP
    if made.is_file() and made.read_text(encoding="ascii") == stamp:
        return programs
    tell(f"making the environment {name} from {requirements.name}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(exist_ok=True)
    for command in _making(folder, requirements):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr or done.stdout).strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
            raise NotMadeError(f"the environment {name} could not be made: {last[0]}")
    made.write_text(stamp, encoding="ascii")
    return programs


def variables(programs: Path, settings: Mapping[str, str]) -> dict[str, str]:
    """The environment variables of a command: the caller's without theirs, its environment's programs, its settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_PASSED)}
    path = os.pathsep.join([str(programs), kept.get("PATH", os.defpath)])
    return kept | _QUIET | {"PATH": path, "JUPYTER_PREFER_ENV_PATH": "1"} | dict(settings)


def versions(name: str, programs: Path) -> Mapping[str, str]:
    """The versions of the packages that an environment was made for, those that all have last."""
    names = [*(_OWN if name == KALEYARD else _pinned(name)), *_pinned(_COMMON)]
    done = subprocess.run([programs / "python", "-c", _VERSIONS, *names], capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


def _requirements(name: str) -> Path:
    return _HERE / "requirements" / f"{name}.txt"


def _pinned(name: str) -> list[str]:
    return re.findall(r"^([\w.-]+)==", _requirements(name).read_text(encoding="utf-8"), flags=re.MULTILINE)


def _own() -> Path:
    """Kaleyard's environment, the one that this runs in; its modules are compiled, as an installed package's are."""
    found = importlib.util.find_spec("kaleyard")
    programs = Path(sys.executable).parent
    if found is None or not (programs / "kaleyard").is_file():
        raise NotMadeError("kaleyard is not installed beside this Python: run `make bench`")
    for folder in found.submodule_search_locations or []:
        compileall.compile_dir(folder, quiet=2)
    return programs


def _making(folder: Path, requirements: Path) -> list[list[str | Path]]:
    """The commands that make an environment, with pip in it, which Kale's steps run."""
    python = folder / "bin" / "python"
    uv = shutil.which("uv")
    if uv:
        install: list[str | Path] = [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", python]
        return [[uv, "venv", "--quiet", "--seed", "--python", sys.executable, folder], [*install, "-r", requirements]]
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    return [[sys.executable, "-m", "venv", folder], [*install, "-r", requirements]]
