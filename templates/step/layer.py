"""One layer of a step's image, made inside the build: the same bytes every time.

    layer.py base                                               nothing: it only looks at the base image
    layer.py packages [--environment] [--without PATTERN]...    what /tmp/requirements.txt names
    layer.py code                                               modules that lie under /layer already
    layer.py files                                              files that lie there

The layer lies under /layer as it will lie under / in the image. Plain Python 3.11 with nothing installed: this runs
in whatever base image the step has.
"""  # noqa: INP001 - a script that is copied into the build

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

LAYER = Path("/layer")
# What `python3 -m venv` made in the base image.
ENVIRONMENT = Path("/opt/venv")
REQUIREMENTS = Path("/tmp/requirements.txt")  # noqa: S108 - alone in a container
# The build's secrets, and the variable by which pip learns of each.
SECRETS = {Path("/run/secrets/ca"): "PIP_CERT", Path("/run/secrets/pipconf"): "PIP_CONFIG_FILE"}
# What containers call the processors that Python tells of.
PROCESSORS = {"x86_64": "amd64", "aarch64": "arm64", "ppc64le": "ppc64le", "s390x": "s390x", "riscv64": "riscv64"}
# Every file's time: the start of 1980, since zip files know none before it.
TIME = 315532800


def main() -> None:
    """Make the layer."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=("base", "packages", "code", "files"))
    parser.add_argument("--environment", action="store_true", help="the environment itself belongs to the layer")
    parser.add_argument("--without", action="append", default=[], help="what of the packages to leave out")
    told = parser.parse_args()
    if told.kind == "base":
        check_processor(os.environ.get("TARGETARCH", ""))
        return
    inside = LAYER / ENVIRONMENT.relative_to("/")
    LAYER.mkdir(exist_ok=True)
    if told.environment:
        shutil.copytree(ENVIRONMENT, inside, symlinks=True)
    if told.kind == "packages":
        install(inside)
        leave_out(inside, told.without)
    if told.kind != "files":
        compile_modules()
    level()


def check_processor(wanted: str) -> None:
    """That what runs here is for the processor that the image is built for, where the builder says which."""
    here = PROCESSORS.get(platform.machine())
    if here and wanted in PROCESSORS.values() and wanted != here:
        sys.exit(f"The base image is for {here}, not for {wanted}: name one that is for it.")


def install(inside: Path) -> None:
    """The packages, in the layer. A secret that is not given is no file, and pip must not be told of it."""
    secrets = {variable: str(path) for path, variable in SECRETS.items() if path.is_file()}
    command = [sys.executable, "-m", "pip", "--python", str(ENVIRONMENT / "bin/python"), "install", "--no-input"]
    command += ["--disable-pip-version-check", "--no-warn-script-location", "--root-user-action=ignore"]
    command += ["--require-hashes", "--no-deps", "--no-compile", "--ignore-installed"]
    command += ["--root", str(LAYER), "-r", str(REQUIREMENTS)]
    done = subprocess.run(command, check=False, env=os.environ | secrets)
    if done.returncode:
        sys.exit(done.returncode)
    # Some systems' Python installs to lib and lib64, of which an environment's second is a link to its first.
    other = inside / "lib64"
    if other.is_dir() and not other.is_symlink():
        shutil.copytree(other, inside / "lib", symlinks=True, dirs_exist_ok=True)
        shutil.rmtree(other)


def leave_out(inside: Path, patterns: Iterable[str]) -> None:
    """The packages without the folders that these patterns find among them."""
    for pattern in patterns:
        for path in sorted(inside.glob(f"lib/python3*/site-packages/{pattern}")):
            if path.is_dir():
                shutil.rmtree(path)


def compile_modules() -> None:
    """Bytecode beside every module, since nobody can write it when the step runs.

    It is trusted unseen: the image never changes. One process with one hash seed, in order, makes the same bytecode
    every time. Some packages ship files that are no Python 3; compileall fails for these, and that is theirs.
    """
    options = ["-q", "-q", "-f", "--invalidation-mode", "unchecked-hash", "-s", str(LAYER), "-p", "/"]
    command = [str(ENVIRONMENT / "bin/python"), "-m", "compileall", *options, str(LAYER)]
    subprocess.run(command, check=False, env=os.environ | {"PYTHONHASHSEED": "0"})
    if any(LAYER.rglob("*.py")) and not any(LAYER.rglob("*.pyc")):
        sys.exit("compileall made no bytecode")


def level() -> None:
    """Every file readable by any user, and all of one time."""
    for folder, _, _ in os.walk(LAYER, topdown=False):
        for path in (*Path(folder).iterdir(), Path(folder)):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
            os.utime(path, (TIME, TIME), follow_symlinks=False)


if __name__ == "__main__":
    main()
