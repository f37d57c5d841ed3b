"""What a library's object notes in itself when it is read: no change of it."""

from __future__ import annotations

import functools
from typing import Any

__all__ = ["without_noted"]

_PROTOCOL = 5


def without_noted(obj: Any) -> Any:
    """How to write an object without what its `cached_property`s keep, NotImplemented if they keep nothing.

    Those of the notebook's own classes count: what they keep may be out of date, and would be seen.
    """
    kind = type(obj)
    noted = {name for name in getattr(obj, "__dict__", ()) if _is_cached(kind, name)} if _may_note(kind) else set()  # type: ignore[arg-type]
    if not noted:
        return NotImplemented
    reduced = obj.__reduce_ex__(_PROTOCOL)
    if not isinstance(reduced, tuple) or len(reduced) < 3 or not isinstance(reduced[2], dict):  # noqa: PLR2004
        return NotImplemented
    return (*reduced[:2], {n: v for n, v in reduced[2].items() if n not in noted}, *reduced[3:])


@functools.lru_cache(maxsize=4096)
def _may_note(kind: type) -> bool:
    return any(type(value) is functools.cached_property for cls in kind.__mro__ for value in vars(cls).values())


def _is_cached(kind: type, name: str) -> bool:
    owner = next((cls for cls in kind.__mro__ if name in vars(cls)), None)
    if owner is None or owner.__module__ == "__main__":
        return False
    return type(vars(owner)[name]) is functools.cached_property
