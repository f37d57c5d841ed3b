"""New outputs into notebooks, where they differ from what is stored; all else stays byte for byte."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kaleyard.errors import CellError, NotebookError, Place, StepTimeoutError
from kaleyard.project import Project
from kaleyard.runtime.executor_io import write_whole
from kaleyard.testing.comparing import align, sanitizers, tolerance_of
from kaleyard.testing.executing import Executed, Kernels

__all__ = ["Updated", "update_notebooks"]


@dataclass(frozen=True, slots=True)
class Updated:
    """A notebook, and the numbers of the cells whose outputs are new."""

    notebook: str
    cells: tuple[int, ...]


def update_notebooks(paths: Sequence[Path], project: Project, jobs: int, timeout: float | None) -> list[Updated]:
    """Run the notebooks and store what is new of their outputs. A notebook that fails stays as it was.

    Raises CellError for a cell that raised, StepTimeoutError or another StepError for one that did not end, and
    NotebookError for a file that is no notebook; those before it are written.
    """
    import nbformat

    from kaleyard.local.foresight import notebook_modules

    kernels = Kernels(jobs, warm=True)
    try:
        notebooks = {}
        for path in paths:
            try:
                notebooks[path] = nbformat.read(path, as_version=4)
            except (OSError, ValueError, nbformat.reader.NotJSONError) as error:
                raise NotebookError(f"it cannot be read: {error}", place=Place(project.relative(path))) from error
        kernels.expect(list(dict.fromkeys(m for p in paths for m in notebook_modules(p, project))), len(paths))
        skips = {path: _skipped(notebook) for path, notebook in notebooks.items()}
        runs = {p: kernels.submit(n, p.parent, skips[p], timeout) for p, n in notebooks.items()}
        return [_update(p, notebooks[p], runs[p].result(), skips[p], project) for p in paths]
    finally:
        kernels.close()


def _skipped(notebook: Any) -> frozenset[int]:
    code = (c for c in notebook.cells if c.cell_type == "code")
    return frozenset(n for n, c in enumerate(code) if _options(c).get("skip"))


def _options(cell: Any) -> dict[str, bool]:
    from nbval.plugin import find_comment_markers, find_metadata_tags

    return dict(find_metadata_tags(cell.metadata)) | dict(find_comment_markers(cell.source))


def _update(path: Path, notebook: Any, done: Executed, skipped: frozenset[int], project: Project) -> Updated:
    name = project.relative(path)
    numbers = [n for n, c in enumerate(notebook.cells, 1) if c.cell_type == "code"]
    if done.trouble is not None:
        place = Place(name, numbers[done.trouble.cell])
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
        if error is not None and not _options(cell).get("check_exception"):
            raise CellError(
                f"{error.ename}: {error.evalue}",
                place=Place(name, number),
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
        write_whole(path, _dumped(data, text))
    return Updated(name, tuple(changed))


def _same(cell: Any, notebook: Any, given: list[Any], project: Project) -> bool:
    """Whether what is stored would pass `kaleyard test`, pictures included: a picture that is another is stored."""
    from nbval.plugin import coalesce_streams

    patterns = sanitizers(project.root, project.sanitize)
    tolerance = tolerance_of(project.tolerance, notebook.metadata, cell.metadata)
    stored = coalesce_streams([*map(_copy, cell.outputs)])
    made = align(coalesce_streams([*map(_copy, given)]), stored, tolerance)
    return [_plain(o, patterns) for o in made] == [_plain(o, patterns) for o in stored]


def _copy(output: Any) -> Any:
    import nbformat

    return nbformat.from_dict(json.loads(json.dumps(output)))


def _plain(output: Any, patterns: dict[str, str]) -> Any:
    """An output without what is another each time."""
    if isinstance(output, str):
        for pattern, words in patterns.items():
            output = re.sub(pattern, words, output)
        return output
    if isinstance(output, dict):
        return {k: _plain(v, patterns) for k, v in output.items() if k not in ("execution_count", "metadata")}
    return [_plain(o, patterns) for o in output] if isinstance(output, list) else output


def _as_stored(outputs: list[Any]) -> Any:
    """Outputs as Jupyter writes them: texts as lists of lines, each stream in one."""
    import nbformat
    from nbformat.v4.rwbase import split_lines
    from nbval.plugin import coalesce_streams

    cell = nbformat.v4.new_code_cell(outputs=coalesce_streams([*map(_copy, outputs)]))
    return json.loads(json.dumps(split_lines(nbformat.v4.new_notebook(cells=[cell])).cells[0].outputs))


def _dumped(data: Any, before: str) -> str:
    """The notebook laid out as it was: its indent, its escapes, its last line's end."""
    indent = re.match(r"\{\r?\n( *)", before)
    text = json.dumps(
        data, indent=len(indent[1]) if indent else None, ensure_ascii=before.isascii() and "\\u" in before
    )
    return text + ("\n" if before.endswith("\n") else "")
