"""A notebook with what stops it from being read taken out, so that what else there is to find is found as well."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from kaleyard.notebook.document import Notebook
from kaleyard.notebook.tags import problem
from kaleyard.rules.findings import Finding

__all__ = ["marked", "repaired"]

# What a cell gives names, as far as its text tells without being parsed.
_GIVEN = re.compile(r"(?m)^\s*(?:def|class)\s+(\w+)|^\s*(\w+)\s*(?::[^=\n]+)?=(?!=)|\bimport\s+(\w+)|\bas\s+(\w+)")
_NAME = re.compile(r"`(\w+)`")
# Findings that other findings may follow from.
_CAUSES = frozenset({"KY100", "KY101", "KY103", "KY301"})
_FOLLOWING = frozenset({"KY201", "KY202", "KY302"})


def repaired(notebook: Notebook, findings: Iterable[Finding]) -> Notebook:
    """The notebook with cells that cannot be read emptied, and its tags as they were probably meant."""
    here = [f for f in findings if f.place.notebook == notebook.name and f.is_error]
    unreadable = {f.place.cell for f in here if f.code == "KY100"}
    several = {f.place.cell for f in here if f.code == "KY103"}
    unknown = {f.place.cell for f in here if f.code == "KY102"}
    cells = []
    for cell in notebook.cells:
        tags = [_meant(tag) for tag in cell.tags]
        tags = [t for t in tags if t and not (cell.number in unknown and t.startswith("prev:"))]
        if cell.number in several:
            own = [t for t in tags if t.startswith("step:")][:1] or tags[:1]
            tags = own
        source = "" if cell.number in unreadable else cell.source
        cells.append(replace(cell, tags=tuple(tags), source=source))
    return replace(notebook, cells=tuple(cells))


def _meant(tag: str) -> str:
    """The tag that was probably meant; "" if that is none."""
    wrong = problem(tag)
    if wrong is None:
        return tag
    return wrong.meant if re.fullmatch(r"[a-z-]+(?::\S+)?", wrong.meant) else ""


def marked(findings: Sequence[Finding], notebooks: Iterable[Notebook]) -> list[Finding]:
    """The findings, those about a name marked that a cell with another finding would make."""
    sources = {(n.name, c.number): c.source for n in notebooks for c in n.cells}
    causes: dict[str, str] = {}
    for finding in findings:
        if finding.code in _CAUSES and finding.is_error:
            source = sources.get((finding.place.notebook or "", finding.place.cell or 0), "")
            if finding.code == "KY301" and finding.line:
                source = source.split("\n")[finding.line - 1]
            for groups in _GIVEN.findall(source):
                for name in filter(None, groups):
                    causes.setdefault(name, f"{finding.code} in cell {finding.place.cell}")
    return [_marked(finding, causes) for finding in findings]


def _marked(finding: Finding, causes: dict[str, str]) -> Finding:
    name = _NAME.search(finding.what) if finding.code in _FOLLOWING else None
    return replace(finding, follows=causes[name[1]]) if name and name[1] in causes else finding
