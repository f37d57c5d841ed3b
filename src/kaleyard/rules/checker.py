"""The checks: `check` reads a notebook and asks every rule. No kernel starts, nothing of the notebook is imported.

A rule is a class with a code, a title and its advice; the modules here hold one topic each.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from kaleyard.analysis.notebook_analysis import NotebookAnalysis, read
from kaleyard.config import Project
from kaleyard.errors import CheckError, Location, NotebookError
from kaleyard.notebook.composition import composed
from kaleyard.notebook.document import Notebook, read_notebook
from kaleyard.pipeline import Pipeline
from kaleyard.rules.checks import (
    cached_functions,
    composed_notebooks,
    declarations,
    document_hygiene,
    file_access,
    imports,
    process_globals,
    registries,
    shared_values,
    tag_usage,
    undefined_names,
    value_types,
)
from kaleyard.rules.error_recovery import marked, repaired
from kaleyard.rules.findings import Finding, Rule

__all__ = ["NOTEBOOK_RULES", "READING_RULES", "RULES", "check", "load_pipeline"]

# What needs no more than the cells, and what needs their reading as a pipeline.
NOTEBOOK_RULES: tuple[type[Rule[Notebook]], ...] = (
    *tag_usage.RULES,
    *document_hygiene.NOTEBOOK_RULES,
    *composed_notebooks.RULES,
)
READING_RULES: tuple[type[Rule[NotebookAnalysis]], ...] = (
    *undefined_names.RULES,
    *shared_values.RULES,
    *process_globals.RULES,
    *cached_functions.RULES,
    *registries.RULES,
    *declarations.RULES,
    *imports.RULES,
    *file_access.RULES,
    *value_types.RULES,
    *document_hygiene.READING_RULES,
)
_EVERY: tuple[type[Rule[Any]], ...] = (*NOTEBOOK_RULES, *READING_RULES)
# Every rule by its code, in order.
RULES = {rule.code: rule for rule in sorted(_EVERY, key=lambda r: r.code)}

_DISABLE = re.compile(r"(?m)^\s*#\s*kaleyard:\s*disable\s*=\s*([\w ,]+?)\s*$")


def check(path: Path, project: Project) -> tuple[list[Finding], NotebookAnalysis | None]:
    """Every finding in the notebook, in the order of its cells; and its reading, None where tags forbid one.

    Findings of rules that are switched off say so. Raises NotebookError if the file cannot be read at all.
    """
    notebook = read_notebook(path, project.relative(path))
    found: list[Finding] = []
    every: list[Notebook] = [notebook]
    reading = None
    try:
        # A notebook that is used twice is looked at once.
        every = list({n.path.resolve(): n for n in composed(notebook, project)}.values())
        switches = {n.name: _Switches(n, project) for n in every}
        for one in every:
            off = switches[one.name]
            found += [f for rule in NOTEBOOK_RULES for f in off.applied(rule().check(one))]
            found += off.applied(_unknown_codes(off, one))
        reading = _read(path, project, found)
        for part in reading.walk() if reading else ():
            off = switches[part.notebook.name]
            found += [f for rule in READING_RULES for f in off.applied(rule().check(part))]
    except NotebookError as error:
        if error.place.cell is None:
            raise
        found.append(tag_usage.UnreadableCell().found(error.place, error.what))
    order = {part.notebook.name: n for n, part in enumerate(reading.walk())} if reading else {}
    found.sort(key=lambda f: (order.get(f.place.notebook or "", 0), f.place.cell or 0, f.line or 0, f.code, f.what))
    # A notebook that was read with something taken out of it is no pipeline.
    whole = not any(_forbids_reading(f) for f in found)
    return marked(list(dict.fromkeys(found)), every), reading if whole else None


def _forbids_reading(finding: Finding) -> bool:
    return finding.is_error and finding.code < "KY2"


def _read(path: Path, project: Project, found: list[Finding]) -> NotebookAnalysis | None:
    """The notebook as a pipeline, without what stops it from being read; each such cell is added to `found`.

    None where something else stops it, of which a finding tells.
    """
    while True:
        broken = any(_forbids_reading(f) for f in found)
        repair = functools.partial(repaired, findings=list(found)) if broken else None
        try:
            return read(path, project, repair)
        except NotebookError as error:
            place = error.place
            again = any(f.code == tag_usage.UnreadableCell.code and f.place.cell == place.cell for f in found)
            if place.cell is not None and not again:
                found.append(tag_usage.UnreadableCell().found(Location(place.notebook, place.cell), error.what))
            elif broken:
                return None
            else:
                raise


def load_pipeline(path: Path, project: Project) -> Pipeline:
    """The notebook's pipeline, once no rule finds an error; else CheckError with every finding."""
    found, reading = check(path, project)
    errors = [f for f in found if f.is_error]
    if errors or reading is None:
        count = f"{len(errors)} finding{'s' if len(errors) != 1 else ''}"
        lines = "\n".join(str(f) for f in errors)
        raise CheckError(f"{count} in {project.relative(path)}; nothing was started\n{lines}")
    return reading.pipeline


class _Switches:
    """Which rules are switched off where: in the project's settings, and by comments in cells."""

    def __init__(self, notebook: Notebook, project: Project) -> None:
        self.project = frozenset(project.disable)
        self.cells = {
            c.number: frozenset(code for told in _DISABLE.findall(c.source) for code in re.findall(r"\w+", told))
            for c in notebook.code_cells
            if "kaleyard:" in c.source
        }

    def applied(self, found: Iterable[Finding]) -> list[Finding]:
        """The findings, those that are switched off marked with who did it."""
        return [self._applied(f) for f in found]

    def _applied(self, finding: Finding) -> Finding:
        if finding.code == tag_usage.UnreadableCell.code:
            return finding
        if finding.code in self.project:
            return replace(finding, disabled="[tool.kaleyard] disable")
        if finding.code in self.cells.get(finding.place.cell or 0, ()):
            return replace(finding, disabled=f"a comment in cell {finding.place.cell}")
        return finding


def _unknown_codes(off: _Switches, notebook: Notebook) -> Iterable[Finding]:
    told = [(None, code) for code in off.project] + [(n, code) for n, codes in off.cells.items() for code in codes]
    return document_hygiene.UnknownRule().among(notebook, sorted(told, key=str), RULES)
