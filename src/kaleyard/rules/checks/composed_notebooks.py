"""Rules about notebooks composed of others: whether such a notebook also runs from top to bottom."""

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
    """Write the line that runs the notebook into a cell tagged `skip`, and `%load_ext kaleyard` into one at the top."""

    code = "KY606"
    title = "composed notebook that does not run from top to bottom in Jupyter"
    severity = "warning"
    example = (("# nothing loads it\n%kaleyard include other.ipynb", "skip"), ("print(1)", "step:show"))

    def check(self, subject: Notebook) -> Iterable[Finding]:
        """`notebook:` cells whose notebook no line runs as they use it, and lines that are not known yet."""
        yield from self._unloaded(subject)
        waiting: tuple[Reference, Location] | None = None
        last: Include | None = None
        for cell in subject.code_cells:
            place = Location(subject.name, cell.number)
            if is_reference(cell) or any(t.startswith("step:") for t in cell.tags):
                yield from self._missing(waiting, last, subject)
                waiting, last = None, None
            if is_reference(cell):
                use = reference(cell, subject)
                waiting = None if includes(cell.source, place) else (use, place)
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
        use, place = waiting
        path = Path(os.path.relpath(use.path, subject.path.resolve().parent)).as_posix()
        what = f"`{last.line}` below uses {path} otherwise" if last else f"nothing runs {path} in Jupyter"
        line = as_line(use, path)
        advice = f"Write `{line}` into a cell tagged `skip` below it, and `%load_ext kaleyard` into one at the top."
        yield self.found(place, what, advice=advice)

    def _unloaded(self, subject: Notebook) -> Iterator[Finding]:
        loaded = False
        for cell in subject.code_cells:
            for name, line in _magics(cell):
                loaded = loaded or (name in ("load_ext", "reload_ext") and line.strip() == "kaleyard")
                if name == "kaleyard" and line.split()[:1] == ["include"] and not loaded:
                    what = "`%kaleyard` is not known here: no cell above loads it"
                    yield self.found(
                        Location(subject.name, cell.number), what, advice="Write `%load_ext kaleyard` above."
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
    """Whether a line that runs the notebook of a use runs it with the same values and names."""
    try:
        said = use_of(line, subject, Location())
    except NotebookError:
        return False
    return (said.parameters, said.outputs) == (use.parameters, use.outputs)


RULES: tuple[type[Rule[Notebook]], ...] = (NotFromTopToBottom,)
