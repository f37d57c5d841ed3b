"""`%kaleyard include`: another notebook run in this one, as the pipeline that is composed of it would run it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from kaleyard.config import find_project
from kaleyard.errors import Location, NotebookError, UsageError
from kaleyard.jupyter.current_notebook import this_notebook
from kaleyard.notebook.composition import (
    Include,
    Reference,
    declared_parameters,
    is_reference,
    parameter_cells,
    reference,
    use_of,
)
from kaleyard.notebook.document import Notebook, NotebookCell, read_notebook

__all__ = ["HELP", "CellFailedError", "include"]

HELP = """\
Usage: %kaleyard include NOTEBOOK [-p NAME=VALUE]... [-o NAME=OUTSIDE]...

  Run the code cells of NOTEBOOK here, in its own folder, but those tagged `skip`. Its path is relative to this
  notebook. A parameter that this notebook has too keeps the value it has here.

  -p NAME=VALUE    A parameter's value in this use of NOTEBOOK.
  -o NAME=OUTSIDE  Another name under which a value that NOTEBOOK makes is known afterwards.

  Example: %kaleyard include housing.ipynb -p KIND=linear -o rmse=linear_rmse
"""
_NOTHING = object()


class CellFailedError(Exception):
    """Carries what a cell of an included notebook raised out of the machinery, for it to be raised as it is."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass
class _State:
    """What a shell's includes know of one another.

    `above` are the notebooks under way. `left` are values that parameters of included notebooks have left behind, which
    are not this notebook's own; `masked` are those that a use of a notebook has set, as they are outside of it.
    """

    above: list[Path] = field(default_factory=list)
    left: dict[str, Any] = field(default_factory=dict)
    masked: dict[str, Any] = field(default_factory=dict)


_STATES: WeakKeyDictionary[Any, _State] = WeakKeyDictionary()


def include(line: Include, shell: Any) -> None:
    """Run the notebook that `line` names in the user's namespace, and give its values the names outside.

    Raises UsageError for what cannot be run, and CellFailedError with what a cell raised.
    """
    state = _STATES.setdefault(shell, _State())
    # Inside of an included notebook we stand in its folder.
    here = None if state.above else this_notebook(shell)
    use = use_of(line, _includer(line, here), Location())
    with ExitStack() as stack:
        if here is not None:
            stack.enter_context(_under_way(here.resolve(), state))
        _run(use, shell, state)


def _includer(line: Include, here: Path | None) -> Notebook:
    """The notebook that the line stands in, as far as it is known: what its paths are relative to."""
    folders = dict.fromkeys(([here.resolve().parent] if here else []) + [Path.cwd()])
    folder = next((f for f in folders if (f / line.path).is_file()), None)
    if folder is None:
        raise NotebookError(
            f"there is no notebook {line.path} in {' or '.join(map(str, folders))}",
            fix="A path is relative to the notebook, whose kernel starts in its folder (with papermill: --cwd FOLDER).",
        )
    return Notebook(folder / "notebook.ipynb", "", (), {})


def _run(use: Reference, shell: Any, state: _State) -> None:
    path = use.path.resolve()
    if path in state.above:
        way = " -> ".join(p.name for p in (*state.above, path))
        raise NotebookError(f"the notebooks are composed of each other: {way}", fix="Remove one of the lines.")
    notebook = read_notebook(path, find_project(path).relative(path))
    names = [p.name for p in declared_parameters(notebook)]
    with _under_way(path, state), _standing_in(path.parent), _set(use.parameters, names, shell, state) as values:
        _run_cells(notebook, values, shell, state)
    for name, outside in use.outputs.items():
        if name not in shell.user_ns:
            raise NotebookError(f"{notebook.name} makes no `{name}`", fix=f"Mend `-o {name}={outside}`.")
        shell.user_ns[outside] = shell.user_ns[name]


@contextmanager
def _under_way(path: Path, state: _State) -> Iterator[None]:
    state.above.append(path)
    try:
        yield
    finally:
        state.above.remove(path)


@contextmanager
def _standing_in(folder: Path) -> Iterator[None]:
    """Relative paths and imports mean this folder, as when the notebook in it runs on its own."""
    before = Path.cwd()
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        if str(folder) in sys.path:
            sys.path.remove(str(folder))
        os.chdir(before)


@contextmanager
def _set(values_given: Mapping[str, Any], names: list[str], shell: Any, state: _State) -> Iterator[dict[str, Any]]:
    """The values that parameters of these names have in this use, where it is not their default.

    Told ones are for this use alone; others are what the notebooks above have made of the name before.
    """
    before = {n: shell.user_ns.get(n, _NOTHING) for n in names}
    own = {n: _NOTHING if v is state.left.get(n, _NOTHING) else v for n, v in before.items()}
    outside, apart = state.masked, {n for n in names if n in values_given or n in state.masked}
    values = {n: values_given.get(n, outside.get(n, own[n])) for n in names}
    # A notebook below this one has parameters of the pipeline, which know nothing of what is told here.
    state.masked = {n: own[n] for n in values_given if n in own} | outside
    try:
        yield {n: v for n, v in values.items() if v is not _NOTHING}
    finally:
        state.masked = outside
        for name in apart:
            if own[name] is not _NOTHING:
                shell.user_ns[name] = own[name]
            elif name in shell.user_ns:
                # It stays for functions that read it; the next use begins with its default.
                state.left[name] = shell.user_ns[name]


def _run_cells(notebook: Notebook, values: Mapping[str, Any], shell: Any, state: _State) -> None:
    declaring = set(parameter_cells(notebook))
    for cell in notebook.code_cells:
        if "skip" in cell.tags or not cell.source.strip():
            continue
        try:
            if is_reference(cell):
                _run(reference(cell, notebook), shell, state)
                continue
            _run_cell(cell, shell)
        except CellFailedError as failed:
            failed.error.add_note(f"in {notebook.name}: cell {cell.number}")
            raise
        except UsageError as error:
            place = error.place if error.place.notebook else Location(notebook.name, cell.number)
            raise NotebookError(error.what, place=place, fix=error.fix) from error
        if cell.number in declaring:
            _settle(notebook, values, shell, state)


def _settle(notebook: Notebook, values: Mapping[str, Any], shell: Any, state: _State) -> None:
    """Put values in the place of the defaults that a cell has just set; note which defaults have stayed."""
    for name in (p.name for p in declared_parameters(notebook)):
        if name in values:
            shell.user_ns[name] = values[name]
        elif name in shell.user_ns:
            state.left[name] = shell.user_ns[name]


def _run_cell(cell: NotebookCell, shell: Any) -> None:
    """Run a cell as the shell runs any: what it displays is shown. Raises CellFailedError with what it raised."""
    expected = "raises-exception" in cell.tags
    with ExitStack() as stack:
        stack.enter_context(_own_loop(shell))
        if not expected:
            # What is raised here is shown by the cell that includes this one.
            stack.enter_context(_instead(shell, "_showtraceback", lambda *_told: None))
        if shell.displayhook.semicolon_at_end_of_expression(cell.source):
            # The shell would look for the semicolon in the cell of the line.
            stack.enter_context(_instead(shell, "ast_node_interactivity", "none"))
        result = shell.run_cell(cell.source, store_history=False)
    error = result.error_before_exec or result.error_in_exec
    if error is not None and not expected:
        # The first frame is IPython's, and all of them are where the cell did not even begin.
        frames = None if result.error_before_exec or not error.__traceback__ else error.__traceback__.tb_next
        raise CellFailedError(error.with_traceback(frames))


@contextmanager
def _own_loop(shell: Any) -> Iterator[None]:
    """Cells that await get an event loop of their own: the kernel's is busy with the cell of the line."""
    try:
        running = asyncio.get_running_loop()
    except RuntimeError:  # none runs, and the shell's own runner will do
        yield
        return

    def run(coroutine: Any) -> Any:
        loop = asyncio.new_event_loop()
        asyncio._set_running_loop(None)  # noqa: SLF001 - asyncio has no public way to run a loop within another
        try:
            return loop.run_until_complete(coroutine)
        finally:
            loop.close()
            asyncio._set_running_loop(running)  # noqa: SLF001

    with _instead(shell, "loop_runner", run):
        yield


@contextmanager
def _instead(shell: Any, name: str, value: Any) -> Iterator[None]:
    before = vars(shell).get(name, _NOTHING) if name == "_showtraceback" else getattr(shell, name)
    setattr(shell, name, value)
    try:
        yield
    finally:
        if before is _NOTHING:
            delattr(shell, name)
        else:
            setattr(shell, name, before)
