"""Rules about the notebook as a document: unused cells, stale outputs, secrets."""

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

# Patterns that match secrets and nothing else, by the kind of secret.
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
    title = "code that belongs to no step"
    why = "Code above the first step runs in the notebook, but not in the pipeline."
    severity = "warning"
    example = (("print('hello')", ""), ("print(1)", "step:show"))

    def check(self, subject: NotebookAnalysis) -> Iterable[Finding]:
        """Code cells above the first step that have no role."""
        step_cells = _step_cells(subject)
        for cell in subject.notebook.code_cells:
            if cell.number in step_cells or "skip" in cell.tags or not cell.source.strip():
                continue
            if _runs_more(cell.source) if is_reference(cell) else _runs(cell.source):
                yield self.finding(Location(subject.notebook.name, cell.number), "this code belongs to no step")


class StaleOutputs(Rule[Notebook]):
    """Restart the kernel and run all cells, or clear the outputs; then save the notebook."""

    code = "KY602"
    title = "outputs that are not from one run from top to bottom"
    why = "Readers see results that the code may no longer give."
    severity = "warning"
    example = (("print(1)", "step:show run:2"), ("print(2)", "run:1"))

    def check(self, subject: Notebook) -> Iterable[Finding]:
        """Cells that ran out of order, and outputs of cells that never ran."""
        last = 0
        for cell in subject.code_cells:
            location = Location(subject.name, cell.number)
            if cell.execution_count is None:
                if cell.has_outputs:
                    yield self.finding(location, "this cell has outputs but no execution count")
                continue
            if cell.execution_count <= last:
                message = f"this cell ran as number {cell.execution_count}, before a cell above it (number {last})"
                yield self.finding(location, message)
                return
            last = cell.execution_count


class Secret(Rule[Notebook]):
    """Revoke it, as it stays in the file's history; read it from the environment, on a cluster with a `secret:` tag."""

    code = "KY603"
    title = "secret in a cell"
    why = "Everyone who can read the notebook, its history or the images built from it can use the secret."
    example = (("print(1)", "step:show"), ("key = 'AKIA" + "ABCDEFGHIJKLMNOP'", "skip"))

    def check(self, subject: Notebook) -> Iterable[Finding]:
        """Strings that look like secrets, in cells of every kind."""
        for cell in subject.cells:
            for number, line in enumerate(cell.source.split("\n"), 1):
                for kind, pattern in _SECRETS.items():
                    match = pattern.search(line)
                    if match:
                        message = f"`{match[0][:_SHOWN]}...` looks like {kind}"
                        yield self.finding(Location(subject.name, cell.number), message, line=number)


class UnknownRule(Rule[Notebook]):
    """Use a code of an existing rule."""

    code = "KY604"
    title = "disabled rule that does not exist"
    why = "A comment or setting with a misspelled code disables nothing."
    severity = "warning"
    example = (("# kaleyard: disable=KY999\nprint(1)", "step:show"),)

    def check(self, subject: Notebook) -> Iterable[Finding]:
        """Nothing: `among` is called with the codes that are disabled."""
        del subject
        return ()

    def among(
        self, subject: Notebook, disabled: Iterable[tuple[int | None, str]], known: Collection[str]
    ) -> Iterable[Finding]:
        """Disabled codes that no rule has; `disabled` holds pairs of cell (None for the project) and code."""
        for cell, code in disabled:
            if code not in known:
                near = difflib.get_close_matches(code.upper(), sorted(known), n=1)
                advice = f"Did you mean {near[0]}? {self.advice()}" if near else ""
                yield self.finding(Location(subject.name, cell), f"there is no rule {code}", advice=advice)


class CommandInStep(Rule[NotebookAnalysis]):
    """Tag the cell `skip`."""

    code = "KY605"
    title = "`%kaleyard` in the code of a step"
    why = "Kaleyard's commands are for the author of the notebook; the image of a step does not contain them."
    example = (("print(1)", "step:show"), ("%load_ext kaleyard\n%kaleyard check", ""))

    def check(self, subject: NotebookAnalysis) -> Iterable[Finding]:
        """`%kaleyard` and `%load_ext kaleyard` in cells that belong to a step."""
        step_cells = _step_cells(subject)
        for cell in subject.notebook.code_cells:
            if cell.number in step_cells and "kaleyard" in cell.source:
                tree = parse_cell(cell.source, Location())
                magics = [words for method, words in magic_calls(tree) if method == "run_line_magic"]
                first = next((words for words in magics if _calls_kaleyard(*words)), None)
                if first:
                    message = f"`%{' '.join(first).strip()}` would run in a step"
                    yield self.finding(Location(subject.notebook.name, cell.number), message)


def _calls_kaleyard(name: str, line: str = "", *_: str) -> bool:
    return name == "kaleyard" or (name in ("load_ext", "reload_ext") and line.strip() == "kaleyard")


def _step_cells(subject: NotebookAnalysis) -> set[int]:
    """The numbers of the cells that belong to a step or are shared."""
    outline = subject.outline
    numbers = {n for s in outline.steps for n in s.cells}
    numbers.update(outline.shared, outline.parameters, outline.metrics)
    return numbers


def _runs(source: str) -> bool:
    """Whether the cell has code other than comments and strings; magics and shell lines count as code."""
    if re.search(r"(?m)^\s*[%!]", source):
        return True
    return not all(_is_text(n) for n in parse_cell(source, Location()).body)


def _runs_more(source: str) -> bool:
    """Whether a `notebook:` cell has code other than the line that runs its notebook."""
    return not all(_is_text(n) or _is_include(n) for n in parse_cell(source, Location()).body)


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_include(node: ast.stmt) -> bool:
    """Whether it runs another notebook, or is a statement that `with_magics` added to such a line."""
    if isinstance(node, (ast.FunctionDef, ast.ImportFrom)):
        return node.name == NOWHERE if isinstance(node, ast.FunctionDef) else not node.module
    return any(is_include(*words) for method, words in magic_calls(node) if method == "run_line_magic" and words)


NOTEBOOK_RULES: tuple[type[Rule[Notebook]], ...] = (StaleOutputs, Secret, UnknownRule)
READING_RULES: tuple[type[Rule[NotebookAnalysis]], ...] = (UnusedCell, CommandInStep)
