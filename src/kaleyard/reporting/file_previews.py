"""Previews of the files that a run's steps wrote, for the report: links, pictures, tables, first lines.

The report links to pictures in the run's folder; of other files only the beginning is read.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from kaleyard.records.run_record import Run, StepRun
from kaleyard.runtime.contract import FILES
from kaleyard.runtime.result_files import WrittenFile, stored_path

__all__ = ["Previews", "link_to", "size_of"]

_PICTURES = frozenset({".png", ".jpg", ".jpeg", ".svg", ".gif", ".webp"})
_TABLES = {".csv": ",", ".tsv": "\t"}
_TEXTS = frozenset({".txt", ".json", ".jsonl", ".md", ".log", ".yaml", ".yml", ".toml"})
_MOST_FILES = 40  # of one step
_MOST_ROWS = 12  # of the overview
_MOST_READ, _MOST_READ_STEP = 120, 8  # files whose beginning is read: of the run, of one step
_MOST_BYTES = 64_000  # of one file
_MOST_PICTURE = 25_000_000  # bytes of a picture that the page shows
_ROWS, _COLUMNS, _CELL = 10, 12, 60
_LINES, _LINE = 20, 300


@dataclass(slots=True)
class Previews:
    """The previews of a run's files, step by step; reads only as much as fits one page."""

    run: Run
    _read: int = field(default=0, init=False)
    _last: dict[str, str] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        # If two steps wrote the same path, the run's `files` folder has the later step's file.
        self._last = {file.path: step.name for step in self.run.steps.values() for file in step.files}

    def of(self, step: StepRun) -> dict[str, Any] | None:
        """A step's files by kind of preview; None if it wrote none."""
        if not step.files:
            return None
        most = min(_MOST_READ, self._read + _MOST_READ_STEP)
        shown = [self._file(step, file, most) for file in step.files[:_MOST_FILES]]
        kinds = ("picture", "table", "text", "")
        by_kind = {kind or "other": [file for file in shown if file["kind"] == kind] for kind in kinds}
        return {"list": shown, "more": len(step.files) - len(shown), **by_kind}

    def overview(self, anchors: Mapping[str, str]) -> dict[str, Any] | None:
        """All files of the run, each with the step that wrote it; None if there are none."""
        files = {file.path: (step, file) for step in self.run.steps.values() for file in step.files}
        rows = [
            self._details(step, file) | {"step": step.name, "anchor": anchors[step.name]}
            for step, file in list(files.values())[:_MOST_ROWS]
        ]
        if not rows:
            return None
        size = sum(file.size for _, file in files.values())
        return {"rows": rows, "count": len(files), "more": len(files) - len(rows), "size": size_of(size)}

    def _details(self, step: StepRun, file: WrittenFile) -> dict[str, Any]:
        name = PurePosixPath(file.path).name
        return {
            "path": file.path,
            "name": name,
            "folder": file.path.removesuffix(name),
            "size": size_of(file.size),
            "link": link_to(self.run.folder, self._location(step, file)),
        }

    def _location(self, step: StepRun, file: WrittenFile) -> str:
        """The file's path, relative to the run's folder."""
        stored = stored_path(file.path)
        if stored.is_absolute() or ".." in stored.parts:
            return ""  # run.json was edited
        latest = self._last[file.path] == step.name
        folder = PurePosixPath("files") if latest else PurePosixPath("artifacts", step.name, FILES, "files")
        return str(folder / stored)

    def _file(self, step: StepRun, file: WrittenFile, most: int) -> dict[str, Any]:
        shown = self._details(step, file) | {"kind": ""}
        ending = PurePosixPath(file.path).suffix.lower()
        if not shown["link"] or not file.size:
            return shown
        if ending in _PICTURES:
            return shown | ({"kind": "picture"} if file.size <= _MOST_PICTURE else {})
        if (ending not in _TABLES and ending not in _TEXTS) or self._read >= most:
            return shown
        self._read += 1
        text, whole = _beginning(self.run.folder / self._location(step, file))
        if ending in _TABLES:
            table = _table(text, whole, _TABLES[ending])
            return shown | ({"kind": "table", "table": table} if table else {})
        return shown | ({"kind": "text", **_first_lines(text, whole)} if text else {})


def _beginning(path: Path) -> tuple[str, bool]:
    """The beginning of a text file, and whether that is all; empty for a binary file."""
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError:
        # The file is still listed; its link shows the problem.
        return "", True
    if b"\0" in data:
        return "", True
    whole = len(data) <= _MOST_BYTES
    return data[:_MOST_BYTES].decode("utf-8-sig", errors="replace"), whole


def _table(text: str, whole: bool, delimiter: str) -> dict[str, Any] | None:
    """The head and first rows of a table; None if it cannot be parsed as one."""
    if not whole:
        text = text[: text.rfind("\n") + 1]
    head = text.partition("\n")[0]
    if delimiter == "," and head.count(";") > head.count(","):
        delimiter = ";"  # spreadsheets write this where numbers have decimal commas
    try:
        rows = list(_rows(text, delimiter))
    except csv.Error:
        return None
    if not rows:
        return None
    columns = max(map(len, rows))
    cut = [[_cut(cell, _CELL) for cell in row[:_COLUMNS]] for row in rows[: _ROWS + 1]]
    width = max(map(len, cut))
    body = [row + [""] * (width - len(row)) for row in cut[1:]]
    return {
        "head": cut[0] + [""] * (width - len(cut[0])),
        "body": body,
        "numbers": [bool(body) and all(_is_number(row[n]) for row in body) for n in range(width)],
        "more_rows": len(rows) > _ROWS + 1 or not whole,
        "more_columns": columns - width,
    }


def _rows(text: str, delimiter: str) -> Iterator[list[str]]:
    for number, row in enumerate(row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if row):
        if number > _ROWS + 1:
            return
        yield row


def _first_lines(text: str, whole: bool) -> dict[str, Any]:
    lines = text.splitlines()
    shown = [_cut(line, _LINE) for line in lines[:_LINES]]
    more = len(lines) > len(shown) or not whole
    return {"text": "\n".join(shown), "more": more, "lines": len(shown)}


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", ".") or 0)
    except ValueError:
        return False
    return True


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def link_to(folder: Path, path: str | None) -> str:
    """A link to a file of the run; empty if the file does not exist."""
    try:
        exists = bool(path) and (folder / (path or "")).exists()
    except OSError:  # a name longer than the file system allows
        return ""
    # File names are bytes, and not always UTF-8.
    return quote(os.fsencode(path)) if path and exists else ""


def size_of(size: float) -> str:
    """A number of bytes in a readable unit."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:  # noqa: PLR2004
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"
