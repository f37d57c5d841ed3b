"""Notebooks tested against their stored outputs."""

from __future__ import annotations

import io
import os
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from kaleyard.api.check import PathLike
from kaleyard.config import Project, find_project
from kaleyard.errors import NotebookError, UsageError

if TYPE_CHECKING:
    from kaleyard.testing.outcomes import Tested
    from kaleyard.testing.output_update import Updated

__all__ = ["test", "update_outputs"]

_NOTHING_COLLECTED = 5  # pytest's code


def test(
    *notebooks: PathLike,
    jobs: int | None = None,
    timeout: float | None = None,
    junit: PathLike | None = None,
    silent: bool = False,
) -> Tested:
    """Run these notebooks, or all of the project's, and compare their outputs; what became of each cell.

    Its exit code is 0 all as stored; 1 a cell differs, raised, or has nothing stored; 11 a cell took longer than
    `timeout` seconds; 12 out of memory; 13 a kernel died. `junit` is a file to write JUnit's XML to; `silent` prints
    nothing. Raises UsageError for no notebook.
    """
    import pytest

    from kaleyard.testing.outcomes import Outcomes, Tested

    project, paths = _chosen(notebooks)
    options = ["-p", "kaleyard.testing.pytest_plugin", "-p", "no:cacheprovider", "-p", "no:xdist", "-o", "addopts="]
    options += ["-q", "--no-header", "-rN", *(["--color=no"] if silent else [])]
    options += ["--rootdir", str(project.root), "--kaleyard-warm", "-o", "xfail_strict=true"]
    options += ["--kaleyard-jobs", str(jobs or os.cpu_count() or 1)]
    options += ["--kaleyard-timeout", str(timeout)] if timeout else []
    options += ["--junitxml", str(junit)] if junit else []
    outcomes = Outcomes()
    with redirect_stdout(io.StringIO()) if silent else nullcontext():
        code = int(pytest.main([*options, *map(str, paths)], plugins=[outcomes]))
    if code == _NOTHING_COLLECTED:
        raise UsageError("there is no notebook to test", fix=f"Put one under {project.notebooks}, or name one.")
    return Tested(code, outcomes.found)


# pytest would take it for a test of its own.
test.__test__ = False  # type: ignore[attr-defined]


def update_outputs(*notebooks: PathLike, jobs: int | None = None, timeout: float | None = None) -> list[Updated]:
    """Run these notebooks, or all of the project's, and store those outputs that are new; for each what changed.

    A notebook with new outputs runs twice: `unstable` of its result has the cells that gave another output each time.
    Raises CellError for a cell that raised, and StepTimeoutError or NotebookError for one that did not end: its
    notebook stays as it was.
    """
    from kaleyard.testing.output_update import update_notebooks

    project, paths = _chosen(notebooks)
    files = [f for p in paths for f in (sorted(p.rglob("*.ipynb")) if p.is_dir() else [p])]
    own = [f for f in files if ".ipynb_checkpoints" not in f.parts and _runs(f)]
    return update_notebooks(own, project, jobs or os.cpu_count() or 1, timeout)


def _chosen(notebooks: tuple[PathLike, ...]) -> tuple[Project, list[Path]]:
    paths = [Path(n).resolve() for n in notebooks]
    for path in paths:
        if not path.is_dir() and (path.suffix != ".ipynb" or not path.is_file()):
            raise UsageError(f"{path} is no notebook", fix="Name a notebook, or a folder of notebooks.")
    project = find_project(paths[0] if paths else None)
    return project, paths or [project.notebooks_folder]


def _runs(path: Path) -> bool:
    from kaleyard.notebook.composition import runs_itself
    from kaleyard.notebook.document import read_notebook

    try:
        return runs_itself(read_notebook(path))
    except NotebookError:
        return True  # who runs it says what is wrong
