"""Rules about the notebook as a document: cells no step gets, outputs that are old, secrets."""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Collection, Iterable

from kaleyard.analysis.notebook_analysis import NotebookAnalysis
from kaleyard.errors import Location
from kaleyard.notebook.cell_syntax import parse_cell
from kaleyard.notebook.composition import is_include, is_reference
from kaleyard.notebook.document import Notebook
from kaleyard.notebook.magics import NOWHERE, magic_calls
from kaleyard.rules.findings import Finding, Rule

__all__ = ["NOTEBOOK_RULES", "READING_RULES", "UnknownRule"]

# Texts that are secrets and nothing else, by what they are.
_SECRETS: dict[str, re.Pattern[str]] = {
    "an AWS access key": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "a GitHub token": re.compile(r"\b(?:gh[opsur]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,})"),
    "a GitLab token": re.compile(r"\bglpat-[A-Za-z0-9_-]{20,}"),
    "a Slack token": re.compile(r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}"),
    "a Google API key": re.compile(r"\bAIza[0-9A-Za-z_-]{35}\b"),
    "a Hugging Face token": re.compile(r"\bhf_[A-Za-z]{34,}\b"),
    "an API key": re.compile(r"\bsk-(?:ant-|proj-)?[A-Za-z0-9][A-Za-z0-9_-]{30,}"),
    "a private key": re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----"),
    "a password in an address": re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s/:@{}'\"<>]+:([^\s/:@{}'\"<>$*]{3,})@[\w.-]+"),
}
_SHOWN = 4


class UnusedCell(Rule[NotebookAnalysis]):
    """Tag it `imports`, `functions` or `pipeline-parameters`, make it part of a step, or tag it `skip`."""

    code = "KY601"
    title = "code before the first step that no step gets"
    severity = "warning"
    example = (("print('hello')", ""), ("print(1)", "step:show"))

    def check(self, subject: NotebookAnalysis) -> Iterable[Finding]:
        """Code cells without a role above the first step."""
        used = _used(subject)
        for cell in subject.notebook.code_cells:
            if cell.number in used or "skip" in cell.tags or not cell.source.strip():
                continue
            if _runs_more(cell.source) if is_reference(cell) else _runs(cell.source):
                yield self.found(Location(subject.notebook.name, cell.number), "no step gets this code")


class StaleOutputs(Rule[Notebook]):
    """Run the notebook from top to bottom in a fresh kernel, or clear its outputs, and save it."""

    code = "KY602"
    title = "outputs that are not of one run from top to bottom"
    severity = "warning"
    example = (("print(1)", "step:show run:2"), ("print(2)", "run:1"))

    def check(self, subject: Notebook) -> Iterable[Finding]:
        """Cells run out of order, outputs of cells that were changed or never run."""
        last = 0
        for cell in subject.code_cells:
            place = Location(subject.name, cell.number)
            if cell.execution_count is None:
                if cell.has_outputs:
                    yield self.found(place, "it has outputs, and no mark of having run")
                continue
            if cell.execution_count <= last:
                what = f"it ran as number {cell.execution_count}, before a cell above it (number {last})"
                yield self.found(place, what)
                return
            last = cell.execution_count


class Secret(Rule[Notebook]):
    """Revoke it, for it is in the file's history; read it from the environment, on a cluster by a `secret:` tag."""

    code = "KY603"
    title = "secret written into a cell"
    example = (("print(1)", "step:show"), ("key = 'AKIA" + "ABCDEFGHIJKLMNOP'", "skip"))

    def check(self, subject: Notebook) -> Iterable[Finding]:
        """Texts of a form that only secrets have, in cells of every kind."""
        for cell in subject.cells:
            for number, line in enumerate(cell.source.split("\n"), 1):
                for kind, pattern in _SECRETS.items():
                    match = pattern.search(line)
                    if match:
                        what = f"`{match[0][:_SHOWN]}...` looks like {kind}"
                        yield self.found(Location(subject.name, cell.number), what, line=number)


class UnknownRule(Rule[Notebook]):
    """Use a code of this list; what is switched off wrongly is not switched off."""

    code = "KY604"
    title = "rule that is switched off and does not exist"
    severity = "warning"
    example = (("# kaleyard: disable=KY999\nprint(1)", "step:show"),)

    def check(self, subject: Notebook) -> Iterable[Finding]:
        """Nothing by itself: `among` knows what is switched off."""
        del subject
        return ()

    def among(
        self, subject: Notebook, told: Iterable[tuple[int | None, str]], known: Collection[str]
    ) -> Iterable[Finding]:
        """Codes switched off (cell, or None for the project; code) that no rule has."""
        for cell, code in told:
            if code not in known:
                near = difflib.get_close_matches(code.upper(), sorted(known), n=1)
                advice = f"Did you mean {near[0]}? {self.advice()}" if near else ""
                yield self.found(Location(subject.name, cell), f"there is no rule {code}", advice=advice)


class CommandInStep(Rule[NotebookAnalysis]):
    """Tag the cell `skip`: it is for whoever writes the notebook, and a step has no Kaleyard to call."""

    code = "KY605"
    title = "`%kaleyard` in the code of a step"
    example = (("print(1)", "step:show"), ("%load_ext kaleyard\n%kaleyard check", ""))

    def check(self, subject: NotebookAnalysis) -> Iterable[Finding]:
        """Kaleyard's own magic, or its loading, in cells that some step gets."""
        used = _used(subject)
        for cell in subject.notebook.code_cells:
            if cell.number in used and "kaleyard" in cell.source:
                tree = parse_cell(cell.source, Location())
                told = [words for method, words in magic_calls(tree) if method == "run_line_magic"]
                first = next((words for words in told if _calls_kaleyard(*words)), None)
                if first:
                    what = f"a step gets the line `%{' '.join(first).strip()}`"
                    yield self.found(Location(subject.notebook.name, cell.number), what)


def _calls_kaleyard(name: str, line: str = "", *_: str) -> bool:
    return name == "kaleyard" or (name in ("load_ext", "reload_ext") and line.strip() == "kaleyard")


def _used(subject: NotebookAnalysis) -> set[int]:
    """The numbers of the cells that some step gets."""
    outline = subject.outline
    used = {n for s in outline.steps for n in s.cells}
    used.update(outline.shared, outline.parameters, outline.metrics)
    return used


def _runs(source: str) -> bool:
    """Whether the cell does more than hold comments and texts; what cannot be parsed counts."""
    if re.search(r"(?m)^\s*[%!]", source):
        return True
    return not all(_is_text(n) for n in parse_cell(source, Location()).body)


def _runs_more(source: str) -> bool:
    """Whether a `notebook:` cell does more than run the notebook that stands for it."""
    return not all(_is_text(n) or _is_include(n) for n in parse_cell(source, Location()).body)


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_include(node: ast.stmt) -> bool:
    """Whether it runs another notebook, or is what the reading of magics has put beside that."""
    if isinstance(node, (ast.FunctionDef, ast.ImportFrom)):
        return node.name == NOWHERE if isinstance(node, ast.FunctionDef) else not node.module
    return any(is_include(*words) for method, words in magic_calls(node) if method == "run_line_magic" and words)


NOTEBOOK_RULES: tuple[type[Rule[Notebook]], ...] = (StaleOutputs, Secret, UnknownRule)
READING_RULES: tuple[type[Rule[NotebookAnalysis]], ...] = (UnusedCell, CommandInStep)
