"""New outputs into notebooks, where they differ from what is stored; all else stays byte for byte."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from kaleyard.config import Project
from kaleyard.errors import CellError, Location, NotebookError, StepTimeoutError
from kaleyard.runtime.executor_io import atomic_write
from kaleyard.testing.notebook_execution import Executed, Kernels
from kaleyard.testing.output_comparison import align, options_of, quiet, sanitizers, tolerance_of
from kaleyard.testing.unstable_cells import Unstable, unstable_cells

__all__ = ["Updated", "update_notebooks"]


@dataclass(frozen=True, slots=True)
class Updated:
    """A notebook, the numbers of the cells whose outputs are new, and those of them that never give the same."""

    notebook: str
    cells: tuple[int, ...]
    unstable: tuple[Unstable, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """It as JSON values."""
        return asdict(self)


def update_notebooks(paths: Sequence[Path], project: Project, jobs: int, timeout: float | None) -> list[Updated]:
    """Run the notebooks and store what is new of their outputs. A notebook that fails stays as it was.

    One with new outputs runs a second time, to find the cells that `kaleyard test` could never pass.

    Raises CellError for a cell that raised, StepTimeoutError or another StepError for one that did not end, and
    NotebookError for a file that is no notebook; those before it are written.
    """
    import nbformat

    from kaleyard.execution.prediction import notebook_modules

    kernels = Kernels(jobs, warm=True)
    try:
        notebooks = {}
        for path in paths:
            try:
                notebooks[path] = nbformat.read(path, as_version=4)
            except (OSError, ValueError, nbformat.reader.NotJSONError) as error:
                raise NotebookError(f"it cannot be read: {error}", place=Location(project.relative(path))) from error
        kernels.expect(list(dict.fromkeys(m for p in paths for m in notebook_modules(p, project))), len(paths))
        skips = {path: _skipped(notebook) for path, notebook in notebooks.items()}
        runs = {p: kernels.submit(n, p.parent, skips[p], timeout) for p, n in notebooks.items()}
        found, again = [], {}
        for path, notebook in notebooks.items():
            updated = _update(path, notebook, runs[path].result(), skips[path], project)
            found.append(updated)
            if any(options_of(notebook.cells[number - 1]).get("check", True) for number in updated.cells):
                again[path] = kernels.submit(notebook, path.parent, skips[path], timeout)
        for at, (path, notebook) in enumerate(notebooks.items()):
            if path in again:
                both = (runs[path].result(), again[path].result())
                unstable = unstable_cells(notebook, both, found[at].cells, project)
                found[at] = replace(found[at], unstable=unstable)
        return found
    finally:
        kernels.close()


def _skipped(notebook: Any) -> frozenset[int]:
    code = (c for c in notebook.cells if c.cell_type == "code")
    return frozenset(n for n, c in enumerate(code) if options_of(c).get("skip"))


def _update(path: Path, notebook: Any, done: Executed, skipped: frozenset[int], project: Project) -> Updated:
    name = project.relative(path)
    numbers = [n for n, c in enumerate(notebook.cells, 1) if c.cell_type == "code"]
    if done.trouble is not None:
        place = Location(name, numbers[done.trouble.cell])
        kind = StepTimeoutError if done.trouble.kind == "timeout" else NotebookError
        raise kind(done.trouble.words, place=place, fix="The notebook is as it was.")
    text = path.read_text(encoding="utf-8")
    data = json.loads(text)
    changed = []
    for at, number in enumerate(numbers):
        if at in skipped:
            continue
        cell, given = notebook.cells[number - 1], done.outputs[at]
        error = next((o for o in given if o.output_type == "error"), None)
        if error is not None and not options_of(cell).get("check_exception"):
            raise CellError(
                f"{error.ename}: {error.evalue}",
                place=Location(name, number),
                fix="Mend the cell; the notebook is as it was.",
                ename=error.ename,
                evalue=error.evalue,
                traceback="\n".join(error.traceback),
            )
        if not cell.source.strip() or (cell.execution_count is not None and _same(cell, notebook, given, project)):
            continue
        data["cells"][number - 1] |= {"outputs": _as_stored(given), "execution_count": done.counts[at]}
        changed.append(number)
    if changed:
        atomic_write(path, _dumped(data, text))
    return Updated(name, tuple(changed))


def _same(cell: Any, notebook: Any, outputs: list[Any], project: Project) -> bool:
    """Whether what is stored would pass `kaleyard test`, pictures included: a picture that is another is stored."""
    patterns = sanitizers(project.root, project.sanitize)
    tolerance = tolerance_of(project.tolerance, notebook.metadata, cell.metadata)
    stored = quiet(cell.outputs, patterns)
    made = align(quiet(outputs, patterns), stored, tolerance)
    return [_plain(o) for o in made] == [_plain(o) for o in stored]


def _plain(output: Any) -> dict[str, Any]:
    return {k: v for k, v in output.items() if k not in ("execution_count", "metadata")}


def _as_stored(outputs: list[Any]) -> Any:
    """Outputs as Jupyter writes them: texts as lists of lines, each stream in one."""
    import nbformat
    from nbformat.v4.rwbase import split_lines
    from nbval.plugin import coalesce_streams

    copies = [nbformat.from_dict(json.loads(json.dumps(o))) for o in outputs]
    cell = nbformat.v4.new_code_cell(outputs=coalesce_streams(copies))
    return json.loads(json.dumps(split_lines(nbformat.v4.new_notebook(cells=[cell])).cells[0].outputs))


def _dumped(data: Any, before: str) -> str:
    """The notebook laid out as it was: its indent, its escapes, its last line's end."""
    indent = re.match(r"\{\r?\n( *)", before)
    text = json.dumps(
        data, indent=len(indent[1]) if indent else None, ensure_ascii=before.isascii() and "\\u" in before
    )
    return text + ("\n" if before.endswith("\n") else "")
