"""Who one is to a registry, from where `docker login` and `podman login` keep it. Nothing here is ever told."""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Credentials", "find_credentials"]

# Who has a token instead of a name and a password, in the words of credential helpers.
_TOKEN_USER = "<token>"  # noqa: S105 - no password
_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_HELPER_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Credentials:
    """A name and a password, or a token that a registry's own sign-in gave."""

    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)


def find_credentials(host: str, repository: str = "") -> Credentials | None:
    """The credentials for a repository of a registry, None if nobody logged in to it.

    The first file that knows it wins, and in it the entry that names most of `host/repository`.
    """
    for path in _files():
        data = _read(path)
        for name in _names(host, repository):
            found = _from_helper(data, name) or _from_entry(data, name)
            if found:
                return found
    return None


def _files() -> Iterator[Path]:
    told = os.environ.get("REGISTRY_AUTH_FILE")
    if told:
        yield Path(told)
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime:
        yield Path(runtime) / "containers" / "auth.json"
    yield Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "containers" / "auth.json"
    yield Path(os.environ.get("DOCKER_CONFIG") or "~/.docker").expanduser() / "config.json"


def _read(path: Path) -> Mapping[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # as good as not logged in
        return {}
    return data if isinstance(data, dict) else {}


def _names(host: str, repository: str) -> Iterator[str]:
    """What an entry for it may be called: Podman's name namespaces too, Docker's may have a scheme."""
    parts = [host, *repository.split("/")]
    yield from ("/".join(parts[:n]) for n in range(len(parts), 0, -1))
    yield from (f"{scheme}://{host}{end}" for scheme in ("https", "http") for end in ("", "/v1/", "/v2/"))
    if host in ("docker.io", "index.docker.io"):
        yield "https://index.docker.io/v1/"  # so `docker login` calls Docker Hub


def _from_entry(data: Mapping[str, Any], name: str) -> Credentials | None:
    entry = _mapping(data, "auths").get(name)
    if not isinstance(entry, dict):
        return None
    if isinstance(entry.get("identitytoken"), str) and entry["identitytoken"]:
        return Credentials(token=entry["identitytoken"])
    try:
        user, colon, password = base64.b64decode(str(entry.get("auth", "")), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return Credentials(user, password) if colon else None


def _from_helper(data: Mapping[str, Any], name: str) -> Credentials | None:
    helper = _mapping(data, "credHelpers").get(name)
    if helper is None and name in _mapping(data, "auths"):
        helper = data.get("credsStore")
    if not isinstance(helper, str) or not _HELPER.fullmatch(helper):
        return None
    command = shutil.which(f"docker-credential-{helper}")
    if command is None:
        return None
    try:
        done = subprocess.run(
            [command, "get"], input=name, capture_output=True, text=True, timeout=_HELPER_SECONDS, check=False
        )
        told = json.loads(done.stdout) if done.returncode == 0 else {}
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    user, secret = str(told.get("Username", "")), str(told.get("Secret", ""))
    if not secret:
        return None
    return Credentials(token=secret) if user == _TOKEN_USER else Credentials(user, secret)


def _mapping(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = data.get(key)
    return found if isinstance(found, dict) else {}
