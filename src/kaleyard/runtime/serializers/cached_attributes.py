"""Cached properties of a library's objects: filling them does not count as a change."""

from __future__ import annotations

import functools
from typing import Any

__all__ = ["without_cached"]

_PROTOCOL = 5


def without_cached(obj: Any) -> Any:
    """The reduced object without its cached properties, NotImplemented if there are none.

    Cached properties of the notebook's own classes are kept: an outdated value there is visible to the user.
    """
    kind = type(obj)
    cached = {name for name in getattr(obj, "__dict__", ()) if _is_cached(kind, name)} if _may_cache(kind) else set()  # type: ignore[arg-type]
    if not cached:
        return NotImplemented
    reduced = obj.__reduce_ex__(_PROTOCOL)
    if not isinstance(reduced, tuple) or len(reduced) < 3 or not isinstance(reduced[2], dict):  # noqa: PLR2004
        return NotImplemented
    return (*reduced[:2], {n: v for n, v in reduced[2].items() if n not in cached}, *reduced[3:])


@functools.lru_cache(maxsize=4096)
def _may_cache(kind: type) -> bool:
    return any(type(value) is functools.cached_property for cls in kind.__mro__ for value in vars(cls).values())


def _is_cached(kind: type, name: str) -> bool:
    owner = next((cls for cls in kind.__mro__ if name in vars(cls)), None)
    if owner is None or owner.__module__ == "__main__":
        return False
    return type(vars(owner)[name]) is functools.cached_property
