"""A git repository of this repository's files as they are now, to make projects from and to change."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

__all__ = ["PROJECT", "commit_all", "copy_repository", "git"]

PROJECT = Path("templates") / "project" / "{{ cookiecutter.project_slug }}"

_WHO = ["-c", "user.name=Somebody", "-c", "user.email=somebody@example.com", "-c", "commit.gpgsign=false"]


def git(folder: Path, *arguments: str) -> str:
    """What git says there; the test fails if it refuses."""
    command = ["git", "-C", str(folder), *_WHO, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def commit_all(folder: Path, message: str = "change") -> str:
    """Everything there in a commit of the folder's own repository; its name."""
    if not (folder / ".git").exists():
        git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "add", "--all", ".")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", message)
    return git(folder, "rev-parse", "HEAD").strip()


def copy_repository(repository: Path, target: Path) -> Path:
    """The files of `repository` that a commit of now would hold, as a repository with one commit at `target`."""
    listed = git(repository, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    for name in filter(None, listed):
        source, place = repository / name, target / name
        if source.is_file():
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, place)
    commit_all(target, "the template")
    assert os.access(target / "cookiecutter.json", os.R_OK)
    return target
