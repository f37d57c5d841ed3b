"""Failed cells as GitHub's annotations, at the line of the notebook's file that the cell begins in."""

from __future__ import annotations

import re

__all__ = ["annotation", "cell_lines"]

# In a string of the file the quotes would be escaped.
_CELL = re.compile(r'^\s*"cell_type":')


def annotation(file: str, line: int, words: str) -> str:
    """The workflow command that shows an error at that line of a pull request.

    Source: https://docs.github.com/actions/reference/workflow-commands-for-github-actions#setting-an-error-message
    """
    title, _, message = words.partition(": ")
    place = f"file={_property(file)},line={line},title={_property(title)}"
    return f"::error {place}::{_data(message or words)}"


def cell_lines(text: str) -> list[int]:
    """The line of each cell of a notebook's file, counted from 1; none for a file that is not laid out in lines."""
    return [number for number, line in enumerate(text.splitlines(), 1) if _CELL.match(line)]


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
