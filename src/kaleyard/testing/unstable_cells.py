"""Cells that give another output each time they run: two runs of a notebook, compared as `kaleyard test` compares."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kaleyard.config import Project
from kaleyard.runtime.terminal_text import without_escapes
from kaleyard.testing.notebook_execution import Executed
from kaleyard.testing.output_comparison import align, by_kind, options_of, quiet, sanitizers, tolerance_of

__all__ = ["Unstable", "difference", "unstable_cells"]

_TAG = "nbval-ignore-output"
_BEFORE = 15  # characters shown before the first that differs
_WIDEST = 40


@dataclass(frozen=True, slots=True)
class Unstable:
    """A cell whose output differs between two runs, or that failed in the second: then no `tag` is proposed."""

    cell: int
    difference: str
    tag: str = _TAG

    def __str__(self) -> str:
        """The cell, what differs, and what to do."""
        if not self.tag:
            return f"cell {self.cell} fails when it runs again ({self.difference}): kaleyard test would fail there"
        text = f"cell {self.cell} gives another output each time ({self.difference})"
        return f"{text}: make it give the same, or tag it {self.tag}"


def unstable_cells(
    notebook: Any, runs: tuple[Executed, Executed], cells: Collection[int], project: Project
) -> tuple[Unstable, ...]:
    """Those of the `cells` that the second run gave another output for, up to a cell that failed in it.

    Cells are counted from 1, as in the notebook.
    """
    first, second = runs
    patterns = sanitizers(project.root, project.sanitize)
    found: list[Unstable] = []
    code = [(n, c) for n, c in enumerate(notebook.cells, 1) if c.cell_type == "code"]
    for at, (number, cell) in enumerate(code):
        failure = _failure(cell, at, second)
        if failure:
            # What comes after it lacks what it would have made.
            return (*found, Unstable(number, failure, tag=""))
        if number in cells and options_of(cell).get("check", True):
            tolerance = tolerance_of(project.tolerance, notebook.metadata, cell.metadata)
            one = quiet(first.outputs[at], patterns)
            other = align(quiet(second.outputs[at], patterns), one, tolerance)
            if change := difference(by_kind(one), by_kind(other)):
                found.append(Unstable(number, change))
    return tuple(found)


def _failure(cell: Any, at: int, done: Executed) -> str:
    """Why the cell did not come to its end; empty if it did."""
    if done.trouble is not None and done.trouble.cell == at:
        return done.trouble.words
    error = next((o for o in done.outputs[at] if o.output_type == "error"), None)
    if error is None or options_of(cell).get("check_exception"):
        return ""
    return _short(f"{error.ename}: {error.evalue}".partition("\n")[0], 0)


def difference(one: Mapping[str, list[Any]], other: Mapping[str, list[Any]]) -> str:
    """What differs first between two runs' outputs by kind, in a few words; empty if nothing does."""
    for kind in dict.fromkeys([*one, *other]):
        before, after = one.get(kind, []), other.get(kind, [])
        if before and after and len(before) != len(after):
            return f"{kind}: {len(before)} outputs, then {len(after)}"
        if not before or not after:
            return f"{kind}: only the {'first' if before else 'second'} time"
        for a, b in zip(before, after, strict=True):
            if a != b:
                return f"{kind} {_lines(_text(a), _text(b))}"
    return ""


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _lines(one: str, other: str) -> str:
    """The first line that differs, in both."""
    before, after = one.split("\n"), other.split("\n")
    number = _first_different(before, after)
    a, b = (lines[number] if number < len(lines) else None for lines in (before, after))
    plain = tuple(None if line is None else without_escapes(line) for line in (a, b))
    if plain[0] != plain[1]:
        # Else they differ in colours alone, which the escapes show.
        a, b = plain
    start = max(0, _first_different(a or "", b or "") - _BEFORE)
    told = ("nothing" if text is None else f"'{_short(text, start)}'" for text in (a, b))
    return f"line {number + 1}: " + ", then ".join(told)


def _first_different(one: Sequence[str], other: Sequence[str]) -> int:
    """Where the two begin to differ: at the end of the shorter one if it is the beginning of the longer."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


def _short(text: str, start: int) -> str:
    """A part of the text from `start`, with dots where it goes on."""
    end = start + _WIDEST
    return ("..." if start else "") + text[start:end] + ("..." if len(text) > end else "")
