"""The rule that a composed notebook also runs from top to bottom in Jupyter."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from kaleyard.errors import Location, NotebookError
from kaleyard.notebook.cell_syntax import parse_cell
from kaleyard.notebook.composition import (
    Include,
    Reference,
    as_line,
    includes,
    is_reference,
    reference,
    use_of,
    written,
)
from kaleyard.notebook.document import Notebook, NotebookCell
from kaleyard.notebook.magics import magic_calls
from kaleyard.rules.findings import Finding, Rule

__all__ = ["RULES", "NotFromTopToBottom"]


class NotFromTopToBottom(Rule[Notebook]):
    """Add the line that runs the notebook to a cell tagged `skip`, and `%load_ext kaleyard` to a cell at the top."""

    code = "KY606"
    title = "composed notebook that does not run from top to bottom in Jupyter"
    why = "Jupyter does not know `notebook:` tags: the cells below would lack what the other notebook defines."
    severity = "warning"
    example = (("# no cell loads it\n%kaleyard include other.ipynb", "skip"), ("print(1)", "step:show"))

    def check(self, subject: Notebook) -> Iterable[Finding]:
        """`notebook:` cells whose notebook no line runs in the same way, and lines above `%load_ext kaleyard`."""
        yield from self._unloaded(subject)
        waiting: tuple[Reference, Location] | None = None
        last: Include | None = None
        for cell in subject.code_cells:
            location = Location(subject.name, cell.number)
            if is_reference(cell) or any(t.startswith("step:") for t in cell.tags):
                yield from self._missing(waiting, last, subject)
                waiting, last = None, None
            if is_reference(cell):
                use = reference(cell, subject)
                waiting = None if includes(cell.source, location) else (use, location)
            for line in written(cell) if waiting else ():
                if waiting and (subject.path.resolve().parent / line.path).resolve() == waiting[0].path.resolve():
                    last = line
                    waiting = None if _is_same(line, waiting[0], subject) else waiting
        yield from self._missing(waiting, last, subject)

    def _missing(
        self, waiting: tuple[Reference, Location] | None, last: Include | None, subject: Notebook
    ) -> Iterator[Finding]:
        if waiting is None:
            return
        use, location = waiting
        path = Path(os.path.relpath(use.path, subject.path.resolve().parent)).as_posix()
        message = (
            f"`{last.line}` below runs {path} with other values or names" if last else f"no line runs {path} in Jupyter"
        )
        line = as_line(use, path)
        advice = f"Add `{line}` to a cell tagged `skip` below it, and `%load_ext kaleyard` to a cell at the top."
        yield self.finding(location, message, advice=advice)

    def _unloaded(self, subject: Notebook) -> Iterator[Finding]:
        loaded = False
        for cell in subject.code_cells:
            for name, line in _magics(cell):
                loaded = loaded or (name in ("load_ext", "reload_ext") and line.strip() == "kaleyard")
                if name == "kaleyard" and line.split()[:1] == ["include"] and not loaded:
                    message = "no cell above loads `%kaleyard`"
                    yield self.finding(
                        Location(subject.name, cell.number), message, advice="Add `%load_ext kaleyard` to a cell above."
                    )
                    return


def _magics(cell: NotebookCell) -> list[tuple[str, str]]:
    if "kaleyard" not in cell.source:
        return []
    try:
        tree = parse_cell(cell.source, Location())
    except NotebookError:
        return []
    return [
        (words[0], " ".join(words[1:])) for method, words in magic_calls(tree) if method == "run_line_magic" and words
    ]


def _is_same(line: Include, use: Reference, subject: Notebook) -> bool:
    """Whether a line runs the notebook of a reference with the same values and names."""
    try:
        line_use = use_of(line, subject, Location())
    except NotebookError:
        return False
    return (line_use.parameters, line_use.outputs) == (use.parameters, use.outputs)


RULES: tuple[type[Rule[Notebook]], ...] = (NotFromTopToBottom,)
