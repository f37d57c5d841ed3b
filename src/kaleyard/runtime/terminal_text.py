"""What programs print for a terminal, as plain text."""

from __future__ import annotations

import re

__all__ = ["without_escapes", "without_rewritten"]

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)")
# What a carriage return has overwritten. From the start of the line: from anywhere takes the square of its length.
_REWRITTEN = re.compile(r"^.*\r(?=[^\n])", re.MULTILINE)


def without_escapes(text: str) -> str:
    """The text without colours and the terminal's other orders."""
    return _ESCAPES.sub("", text)


def without_rewritten(text: str) -> str:
    """The text without what a carriage return has overwritten, such as a progress bar's earlier states."""
    return _REWRITTEN.sub("", text)
