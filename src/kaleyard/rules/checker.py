"""`check` reads a notebook and applies every rule, without starting a kernel or importing anything of the notebook.

Each rule is a class in the module of its topic under `checks`.
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
from kaleyard.rules.error_recovery import mark_following, repaired
from kaleyard.rules.findings import Finding, Rule

__all__ = ["NOTEBOOK_RULES", "READING_RULES", "RULES", "check", "load_pipeline"]

# Rules that need only the cells, and rules that need the analysis of the notebook as a pipeline.
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
_ALL_RULES: tuple[type[Rule[Any]], ...] = (*NOTEBOOK_RULES, *READING_RULES)
# All rules by code, sorted.
RULES = {rule.code: rule for rule in sorted(_ALL_RULES, key=lambda r: r.code)}

_DISABLE = re.compile(r"(?m)^\s*#\s*kaleyard:\s*disable\s*=\s*([\w ,]+?)\s*$")


def check(path: Path, project: Project) -> tuple[list[Finding], NotebookAnalysis | None]:
    """All findings, in the order of the cells, and the analysis, which is None if errors prevent it.

    Findings of disabled rules are marked. Raises NotebookError if the file cannot be read at all.
    """
    notebook = read_notebook(path, project.relative(path))
    findings: list[Finding] = []
    notebooks: list[Notebook] = [notebook]
    analysis = None
    try:
        # A notebook that is used twice is checked once.
        notebooks = list({n.path.resolve(): n for n in composed(notebook, project)}.values())
        disabled = {n.name: _DisabledRules(n, project) for n in notebooks}
        for part in notebooks:
            findings += disabled[part.name].mark(f for rule in NOTEBOOK_RULES for f in rule().check(part))
            findings += disabled[part.name].mark(_unknown_codes(disabled[part.name], part))
        analysis = _analyze(path, project, findings)
        for part_analysis in analysis.walk() if analysis else ():
            reported = (f for rule in READING_RULES for f in rule().check(part_analysis))
            findings += disabled[part_analysis.notebook.name].mark(reported)
    except NotebookError as error:
        if error.place.cell is None:
            raise
        findings.append(tag_usage.UnreadableCell().finding(error.place, error.what))
    order = {part.notebook.name: n for n, part in enumerate(analysis.walk())} if analysis else {}
    findings.sort(key=lambda f: (order.get(f.place.notebook or "", 0), f.place.cell or 0, f.line or 0, f.code, f.what))
    # An analysis of a notebook with cells removed is not the user's pipeline.
    is_complete = not any(_prevents_analysis(f) for f in findings)
    return mark_following(list(dict.fromkeys(findings)), notebooks), analysis if is_complete else None


def _prevents_analysis(finding: Finding) -> bool:
    return finding.is_error and finding.code < "KY2"


def _analyze(path: Path, project: Project, findings: list[Finding]) -> NotebookAnalysis | None:
    """The analysis of the notebook without its unreadable cells, each of which is added to `findings`.

    Returns None if something else prevents it, which a finding reports.
    """
    while True:
        broken = any(_prevents_analysis(f) for f in findings)
        repair = functools.partial(repaired, findings=list(findings)) if broken else None
        try:
            return read(path, project, repair)
        except NotebookError as error:
            location = Location(error.place.notebook, error.place.cell)
            reported = {f.place.cell for f in findings if f.code == tag_usage.UnreadableCell.code}
            if location.cell is not None and location.cell not in reported:
                findings.append(tag_usage.UnreadableCell().finding(location, error.what))
            elif broken:
                return None
            else:
                raise


def load_pipeline(path: Path, project: Project) -> Pipeline:
    """The notebook's pipeline. Raises CheckError, with all findings that are errors, if there are any."""
    findings, analysis = check(path, project)
    errors = [f for f in findings if f.is_error]
    if errors or analysis is None:
        count = f"{len(errors)} finding{'s' if len(errors) != 1 else ''}"
        lines = "\n".join(str(f) for f in errors)
        raise CheckError(f"{count} in {project.relative(path)}; nothing was started\n{lines}")
    return analysis.pipeline


class _DisabledRules:
    """The rules that the project's settings and comments in the cells of a notebook disable."""

    def __init__(self, notebook: Notebook, project: Project) -> None:
        self.project = frozenset(project.disable)
        self.cells = {
            c.number: frozenset(code for codes in _DISABLE.findall(c.source) for code in re.findall(r"\w+", codes))
            for c in notebook.code_cells
            if "kaleyard:" in c.source
        }

    def mark(self, findings: Iterable[Finding]) -> list[Finding]:
        """The findings; those of disabled rules say what disabled them."""
        return [self._mark(f) for f in findings]

    def _mark(self, finding: Finding) -> Finding:
        if finding.code == tag_usage.UnreadableCell.code:
            return finding
        if finding.code in self.project:
            return replace(finding, disabled="[tool.kaleyard] disable")
        if finding.code in self.cells.get(finding.place.cell or 0, ()):
            return replace(finding, disabled=f"a comment in cell {finding.place.cell}")
        return finding


def _unknown_codes(disabled: _DisabledRules, notebook: Notebook) -> Iterable[Finding]:
    codes: list[tuple[int | None, str]] = [(None, code) for code in disabled.project]
    codes += [(cell, code) for cell, in_cell in disabled.cells.items() for code in in_cell]
    return document_hygiene.UnknownRule().among(notebook, sorted(codes, key=str), RULES)
