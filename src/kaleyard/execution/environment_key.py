"""The environment of a step on this machine: the interpreter and the versions of the packages it uses."""

from __future__ import annotations

import platform
import sys
from functools import cache

from kaleyard import installed_packages as installed
from kaleyard.compiler.content_key import key_of
from kaleyard.compiler.lockfile import Lock, step_distributions
from kaleyard.config import Project
from kaleyard.errors import ProjectError
from kaleyard.pipeline import Step

__all__ = ["environment_key"]


def environment_key(step: Step, project: Project) -> str:
    """The key of the interpreter and of the installed packages the step uses, by name and version.

    With a lock file, these are the step's packages and their dependencies; without one, all installed packages.
    """
    lock = _lock(project)
    versions = installed.versions()
    names = sorted(versions)
    if lock is not None:
        try:
            names = sorted(step_distributions(step, lock))
        except ProjectError:
            # A package is not locked. The step can still run here, so the key covers all installed packages.
            names = sorted(versions)
    requirements = [f"{n}=={versions[n]}" for n in names if n in versions and n != "kaleyard"]
    return key_of(platform.python_version(), sys.platform, platform.machine(), *requirements)


@cache
def _lock(project: Project) -> Lock | None:
    path = project.root / project.lock
    return Lock.read(path) if path.is_file() else None
