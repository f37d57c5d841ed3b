"""What a session of pytest has for all notebooks: the project, the kernels, and what became of whom."""

from __future__ import annotations

import os
from collections.abc import Generator
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kaleyard.config import Project, find_project
from kaleyard.testing.github_annotations import annotation

if TYPE_CHECKING:
    from kaleyard.testing.notebook_execution import Executed, Kernels

__all__ = ["EXIT_CODES", "PROPERTY", "STATE", "State"]

# What kept a notebook from its end, worst last; pytest's own codes end at 5.
EXIT_CODES = {"timeout": 11, "memory": 12, "died": 13}
# The name under which a failed cell's report says more.
PROPERTY = "kaleyard"


class State:
    """What a session has for all notebooks: the project, the kernels, and what stopped notebooks."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.project: Project = find_project(config.rootpath)
        self.files: list[Any] = []
        self.kinds: set[str] = set()
        self.failures: list[tuple[str, int, str]] = []
        self._kernels: Kernels | None = None
        self._runs: dict[Path, Future[Executed]] = {}

    def run(self, file: Any) -> Executed:
        """What came of a notebook. The first asked for starts all, if this process runs them all."""
        if not self._runs and not hasattr(self.config, "workerinput"):
            for other in self.files:
                self._start(other)
        self._start(file)
        return self._runs[file.path].result()

    def _start(self, file: Any) -> None:
        if file.path in self._runs:
            return
        if self._kernels is None:
            from kaleyard.testing.notebook_execution import Kernels

            jobs = self.config.option.kaleyard_jobs or os.cpu_count() or 1
            self._kernels = Kernels(jobs, warm=self.config.option.kaleyard_warm)
            if self.config.option.kaleyard_warm:
                self._kernels.expect(self._modules(), len(self.files))
        timeout = self.config.option.kaleyard_timeout
        self._runs[file.path] = self._kernels.submit(file.nb, file.path.parent, file.not_run, timeout)

    def _modules(self) -> list[str]:
        """The installed modules that the notebooks import."""
        from kaleyard.execution.prediction import notebook_modules

        return list(dict.fromkeys(m for f in self.files for m in notebook_modules(f.path, self.project)))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note what a failed cell says of its notebook, in whichever process it ran."""
        for name, value in report.user_properties:
            if name == PROPERTY and report.failed:
                kind, file, line, words = str(value).split("\n", 3)
                self.kinds.add(kind)
                self.failures.append((file, int(line), words))

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """In GitHub's workflows, an annotation for each failed cell: a pull request shows it at its line."""
        if os.environ.get("GITHUB_ACTIONS") == "true":
            for file, line, words in self.failures:
                terminalreporter.write_line(annotation(file, line, words))

    @pytest.hookimpl(wrapper=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, None, None]:
        """End the kernels; a notebook that could not run to its end has an exit code of its own."""
        if self._kernels is not None:
            self._kernels.close()
        if session.exitstatus == pytest.ExitCode.TESTS_FAILED:
            codes = [code for kind, code in EXIT_CODES.items() if kind in self.kinds]
            session.exitstatus = codes[-1] if codes else session.exitstatus
        yield


STATE = pytest.StashKey[State]()
