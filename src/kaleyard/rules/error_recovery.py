"""A notebook without its unreadable cells, so that the rules can check the others."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from kaleyard.notebook.document import Notebook
from kaleyard.notebook.tags import problem
from kaleyard.rules.findings import Finding

__all__ = ["mark_following", "repaired"]

# The names that a cell defines, as far as its source shows without being parsed.
_DEFINED_NAMES = re.compile(
    r"(?m)^\s*(?:def|class)\s+(\w+)|^\s*(\w+)\s*(?::[^=\n]+)?=(?!=)|\bimport\s+(\w+)|\bas\s+(\w+)"
)
_NAME = re.compile(r"`(\w+)`")
# Findings that may cause those of the rules in _FOLLOWING.
_CAUSES = frozenset({"KY100", "KY101", "KY103", "KY301"})
_FOLLOWING = frozenset({"KY201", "KY202", "KY302"})


def repaired(notebook: Notebook, findings: Iterable[Finding]) -> Notebook:
    """The notebook with unreadable cells emptied and misspelled tags corrected."""
    errors = {(f.code, f.place.cell) for f in findings if f.place.notebook == notebook.name and f.is_error}
    cells = []
    for cell in notebook.cells:
        tags = [_corrected(tag) for tag in cell.tags]
        tags = [t for t in tags if t and not (("KY102", cell.number) in errors and t.startswith("prev:"))]
        if ("KY103", cell.number) in errors:
            tags = [t for t in tags if t.startswith("step:")][:1] or tags[:1]
        source = "" if ("KY100", cell.number) in errors else cell.source
        cells.append(replace(cell, tags=tuple(tags), source=source))
    return replace(notebook, cells=tuple(cells))


def _corrected(tag: str) -> str:
    """The tag with its spelling corrected; "" if there is no such tag."""
    tag_problem = problem(tag)
    if tag_problem is None:
        return tag
    return tag_problem.meant if re.fullmatch(r"[a-z-]+(?::\S+)?", tag_problem.meant) else ""


def mark_following(findings: Sequence[Finding], notebooks: Iterable[Notebook]) -> list[Finding]:
    """The findings; those about a name that a cell with another finding defines say so."""
    sources = {(n.name, c.number): c.source for n in notebooks for c in n.cells}
    causes: dict[str, str] = {}
    for finding in findings:
        if finding.code in _CAUSES and finding.is_error:
            source = sources.get((finding.place.notebook or "", finding.place.cell or 0), "")
            if finding.code == "KY301" and finding.line:
                source = source.split("\n")[finding.line - 1]
            for groups in _DEFINED_NAMES.findall(source):
                for name in filter(None, groups):
                    causes.setdefault(name, f"{finding.code} in cell {finding.place.cell}")
    return [_with_cause(finding, causes) for finding in findings]


def _with_cause(finding: Finding, causes: dict[str, str]) -> Finding:
    name = _NAME.search(finding.what) if finding.code in _FOLLOWING else None
    return replace(finding, follows=causes[name[1]]) if name and name[1] in causes else finding
