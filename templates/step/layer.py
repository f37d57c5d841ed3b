"""Layers of a step's image, made inside the build: the same bytes every time.

    layer.py base        nothing: it only looks at the base image
    layer.py runner      the environment, and in it the packages that /tmp/packages/runner.txt names
    layer.py packages    a layer for each file of requirements in /tmp/packages
    layer.py code        modules that lie in layers already
    layer.py files       files that lie there

A layer lies in a folder of its name in /layers as it will lie under / in the image. Plain Python 3.11 with nothing
installed: this runs in whatever base image the step has.
"""  # noqa: INP001 - a script that is copied into the build

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

LAYERS = Path("/layers")
# What `python3 -m venv` made in the base image.
ENVIRONMENT = Path("/opt/venv")
PACKAGES = Path("/tmp/packages")  # noqa: S108 - alone in a container
# The build's secrets, and the variable by which pip learns of each.
SECRETS = {Path("/run/secrets/ca"): "PIP_CERT", Path("/run/secrets/pipconf"): "PIP_CONFIG_FILE"}
# What containers call the processors that Python tells of.
PROCESSORS = {"x86_64": "amd64", "aarch64": "arm64", "ppc64le": "ppc64le", "s390x": "s390x", "riscv64": "riscv64"}
# Folders below site-packages that no step can need: 80 MB of scikit-learn's image. Only tests that the package itself
# imports nowhere (tests/test_dockerfile.py looks), never whatever is called so: the `tests` of astropy and others are
# part of what they do. Of jedi, the stubs that tab completion reads.
LEFT_OUT = ("jedi/third_party", "numpy/**/tests", "pandas/tests", "pyarrow/tests", "scipy/**/tests", "sklearn/**/tests")
# Every file's time: the start of 1980, since zip files know none before it.
TIME = 315532800


def main() -> None:
    """Make the layers."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=("base", "runner", "packages", "code", "files"))
    kind = parser.parse_args().kind
    if kind == "base":
        check_processor(os.environ.get("TARGETARCH", ""))
        return
    for requirements in sorted(PACKAGES.glob("*.txt")):
        layer = LAYERS / requirements.stem
        layer.mkdir(parents=True)
        if kind == "runner":
            shutil.copytree(ENVIRONMENT, inside(layer), symlinks=True)
        install(requirements, layer)
        leave_out(inside(layer))
    if kind != "files":
        for layer in sorted(LAYERS.iterdir()):
            compile_modules(layer)
    level()


def inside(layer: Path) -> Path:
    """The environment's folder in a layer."""
    return layer / ENVIRONMENT.relative_to("/")


def check_processor(wanted: str) -> None:
    """That what runs here is for the processor that the image is built for, where the builder says which."""
    here = PROCESSORS.get(platform.machine())
    if here and wanted in PROCESSORS.values() and wanted != here:
        sys.exit(f"The base image is for {here}, not for {wanted}: name one that is for it.")


def install(requirements: Path, layer: Path) -> None:
    """What a file names, in the layer. A secret that is not given is no file, and pip must not be told of it."""
    secrets = {variable: str(path) for path, variable in SECRETS.items() if path.is_file()}
    command = [sys.executable, "-m", "pip", "--python", str(ENVIRONMENT / "bin/python"), "install", "--no-input"]
    command += ["--disable-pip-version-check", "--no-warn-script-location", "--root-user-action=ignore"]
    command += ["--require-hashes", "--no-deps", "--no-compile", "--ignore-installed"]
    command += ["--root", str(layer), "-r", str(requirements)]
    done = subprocess.run(command, check=False, env=os.environ | secrets)
    if done.returncode:
        sys.exit(done.returncode)
    # Some systems' Python installs to lib and lib64, of which an environment's second is a link to its first.
    other = inside(layer) / "lib64"
    if other.is_dir() and not other.is_symlink():
        shutil.copytree(other, inside(layer) / "lib", symlinks=True, dirs_exist_ok=True)
        shutil.rmtree(other)


def leave_out(environment: Path) -> None:
    """The packages without the folders that no step can need."""
    for pattern in LEFT_OUT:
        for path in sorted(environment.glob(f"lib/python3*/site-packages/{pattern}")):
            if path.is_dir():
                shutil.rmtree(path)


def compile_modules(layer: Path) -> None:
    """Bytecode beside every module, since nobody can write it when the step runs.

    It is trusted unseen: the image never changes. One process with one hash seed, in order, makes the same bytecode
    every time. Some packages ship files that are no Python 3; compileall fails for these, and that is theirs.
    """
    options = ["-q", "-q", "-f", "--invalidation-mode", "unchecked-hash", "-s", str(layer), "-p", "/"]
    command = [str(ENVIRONMENT / "bin/python"), "-m", "compileall", *options, str(layer)]
    subprocess.run(command, check=False, env=os.environ | {"PYTHONHASHSEED": "0"})
    if any(layer.rglob("*.py")) and not any(layer.rglob("*.pyc")):
        sys.exit("compileall made no bytecode")


def level() -> None:
    """Every file readable by any user, and all of one time."""
    for folder, _, _ in os.walk(LAYERS, topdown=False):
        for path in (*Path(folder).iterdir(), Path(folder)):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
            os.utime(path, (TIME, TIME), follow_symlinks=False)


if __name__ == "__main__":
    main()
