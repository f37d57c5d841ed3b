"""Sign the builder in to a registry."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SignedIn", "login"]


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Which builder is signed in to which registry, and as whom."""

    builder: str
    host: str
    user: str


def login(user: str, token: str, *, registry: str | None = None, builder: str | None = None) -> SignedIn:
    """Sign the builder in to a registry, the project's by default, so that `build` may push there.

    The builder keeps the token where its own `login` does. Raises UsageError without a user or a token, ProjectError
    for a registry that is none, ExternalError if there is no builder or the registry refuses.
    """
    from kaleyard.config import find_project
    from kaleyard.errors import UsageError
    from kaleyard.images.build_commands import Commands
    from kaleyard.images.builders import find_builder
    from kaleyard.images.oci_registry import split_repository

    for value, what in ((user, "REGISTRY_USER"), (token, "REGISTRY_TOKEN")):
        if not value:
            raise UsageError(f"{what} is not set", fix="Set it, or give --username and --password-stdin.")
    folder = (registry or find_project().registry).rstrip("/")
    host, _ = split_repository(f"{folder}/image")
    found = find_builder(builder, Commands())
    found.login(host, user, token)
    return SignedIn(found.name, host, user)
