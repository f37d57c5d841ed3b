"""The pytest plugin: notebooks as files of tests, a test for each code cell, compared by nbval.

With `-p kaleyard.testing.pytest_plugin` in a project's pytest configuration, `pytest` does what `kaleyard test` does.
Each notebook runs once, whole, in a kernel of its own, beside others; its cells only look at what came of it. So no
order or distribution of tests can mix notebooks up.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from kaleyard.testing.pytest_session import STATE, State


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of `kaleyard test`."""
    group = parser.getgroup("kaleyard", "notebooks of a Kaleyard project")
    group.addoption("--kaleyard-jobs", type=int, default=0, help="notebooks at once (default: one per processor)")
    group.addoption("--kaleyard-timeout", type=float, default=None, help="seconds that a cell may take (default: any)")
    group.addoption("--kaleyard-warm", action="store_true", help="fork kernels from one that has imported everything")


def pytest_configure(config: pytest.Config) -> None:
    """One state for the session."""
    config.stash[STATE] = State(config)
    config.pluginmanager.register(config.stash[STATE], "kaleyard-state")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """A notebook of the project's notebooks folder, or one that was asked for by name, if it has code of its own."""
    if file_path.suffix != ".ipynb" or ".ipynb_checkpoints" in file_path.parts or parent.config.option.nbval:
        return None
    state: State = parent.config.stash[STATE]
    asked = any(Path(str(a).partition("::")[0]).resolve() == file_path for a in parent.config.args)
    if not asked and not file_path.is_relative_to(state.project.notebooks_folder):
        return None
    # nbval and nbformat take a second to import: nobody pays who has no notebook.
    from kaleyard.testing.pytest_items import NotebookFile

    found: pytest.Collector = NotebookFile.from_parent(parent, path=file_path)
    return found
