"""Terminal output as plain text."""

from __future__ import annotations

import re

__all__ = ["without_escapes", "without_rewritten"]

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)")
# Text that a carriage return has overwritten. Anchored at the start of the line: unanchored, it takes quadratic time.
_REWRITTEN = re.compile(r"^.*\r(?=[^\n])", re.MULTILINE)


def without_escapes(text: str) -> str:
    """The text without colours and other escape sequences."""
    return _ESCAPES.sub("", text)


def without_rewritten(text: str) -> str:
    """The text without the parts that a carriage return has overwritten, such as earlier states of a progress bar."""
    return _REWRITTEN.sub("", text)
