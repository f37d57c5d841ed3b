"""A notebook as a file of tests, and a test for each of its code cells: nbval's, but for who runs the cells."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nbval.plugin import IPyNbCell, IPyNbFile

from kaleyard.errors import NotebookError
from kaleyard.notebook.composition import runs_itself
from kaleyard.notebook.document import read_notebook
from kaleyard.testing.github_annotations import cell_lines
from kaleyard.testing.output_comparison import align, quiet, sanitizers, tolerance_of
from kaleyard.testing.pytest_session import PROPERTY, STATE

__all__ = ["CellItem", "FailedCellError", "NotebookFile", "Stored"]

_STORED = "stored outputs"
_UPDATE = "Store them: kaleyard test --update."


class NotebookFile(IPyNbFile):  # type: ignore[misc]
    """A notebook, which runs once for all its cells."""

    def collect(self) -> Iterator[pytest.Item]:
        """Its code cells, and a test that there is something to compare."""
        if not _runs(self.path):
            # A composition that no line runs has the values of its parts.
            return
        state = self.config.stash[STATE]
        found = list(super().collect())
        self.numbers = [n for n, c in enumerate(self.nb.cells, 1) if c.cell_type == "code"]
        items = [
            CellItem.from_parent(
                self, name=f"cell {self.numbers[i.cell_num]}", cell_num=i.cell_num, cell=i.cell, options=i.options
            )
            for i in found
        ]
        self.not_run = frozenset(i.cell_num for i in items if i.options["skip"])
        self.lines = cell_lines(self.path.read_text(encoding="utf-8"))
        self.sanitize_patterns.update(sanitizers(state.project.root, state.project.sanitize))
        state.files.append(self)
        yield Stored.from_parent(self, name=_STORED, cells=items)
        yield from items

    def setup(self) -> None:
        """Nothing: nbval would start a kernel here."""
        self.setup_sanitize_files()

    def teardown(self) -> None:
        """Nothing: the session ends the kernels."""


class Stored(pytest.Item):
    """That the notebook has outputs to be compared with: without, any notebook would pass."""

    def __init__(self, cells: list[Any], **more: Any) -> None:
        super().__init__(**more)
        self.cells = cells

    def runtest(self) -> None:
        """Fails if no cell that is compared was stored with what it gave."""
        if not any(c.options["check"] and not c.options["skip"] and c.cell.execution_count for c in self.cells):
            raise FailedCellError(self, 1, "nothing", "no cell has stored outputs to be compared with", _UPDATE)

    def repr_failure(self, excinfo: Any, style: Any = None) -> str:
        """The failure in our words."""
        del style
        return str(excinfo.value)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where it is."""
        return self.path, 0, f"{self.path.name}: {_STORED}"


class CellItem(IPyNbCell):  # type: ignore[misc]
    """A code cell: what it gave, against what is stored."""

    def setup(self) -> None:
        """Nothing: what came of cells before is known."""

    def runtest(self) -> None:
        """Fails if the cell did not run, raised, or gave something else."""
        if self.options["skip"]:
            pytest.skip("tagged nbval-skip")
        run = self.config.stash[STATE].run(self.parent)
        trouble = run.trouble
        if trouble is not None and trouble.cell == self.cell_num:
            raise FailedCellError(self, self.line, trouble.kind, trouble.words)
        if trouble is not None and trouble.cell < self.cell_num and trouble.kind != "memory":
            pytest.skip(f"cell {self.parent.numbers[trouble.cell]} did not come to its end")
        outputs = run.outputs[self.cell_num]
        error = next((o for o in outputs if o.output_type == "error"), None)
        if error is not None and not self.options["check_exception"]:
            raise FailedCellError(
                self, self.line, "raised", f"{error.ename}: {error.evalue}", "\n".join(error.traceback)
            )
        if self.options["check"]:
            self._compare(outputs)

    def _compare(self, outputs: list[Any]) -> None:
        code = [s for s in self.cell.source.splitlines() if s.strip() and not s.strip().startswith("#")]
        if code and self.cell.execution_count is None:
            raise FailedCellError(self, self.line, "stripped", "it was stored without having been run", _UPDATE)
        tolerance = tolerance_of(
            self.config.stash[STATE].project.tolerance, self.parent.nb.metadata, self.cell.metadata
        )
        stored = quiet(self.cell.outputs, self.parent.sanitize_patterns)
        if not self.compare_outputs(align(quiet(outputs, self.parent.sanitize_patterns), stored, tolerance), stored):
            raise FailedCellError(
                self,
                self.line,
                "differs",
                "it gives something else than what is stored",
                "\n".join(self.comparison_traceback),
                _UPDATE,
            )

    @property
    def line(self) -> int:
        """The line of the notebook's file that the cell begins in."""
        number = self.parent.numbers[self.cell_num] - 1
        return int(self.parent.lines[number]) if number < len(self.parent.lines) else 1

    def repr_failure(self, excinfo: Any, style: Any = None) -> str:
        """The failure in our words."""
        del style
        return str(excinfo.value) if isinstance(excinfo.value, FailedCellError) else super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where it is."""
        return self.path, self.line - 1, f"{self.path.name}: {self.name}"


class FailedCellError(Exception):
    """A cell that is not as it should be; what it says goes along with the report as well."""

    def __init__(self, item: Any, line: int, kind: str, what: str, *more: str) -> None:
        project = item.config.stash[STATE].project
        file = project.relative(item.path)
        place = f"{file}: {item.name}" if item.name != _STORED else file
        source = getattr(getattr(item, "cell", None), "source", "")
        parts = [f"{place}: {what}", *(f"  | {s}" for s in source.splitlines()[:10]), *more]
        super().__init__("\n".join(p for p in parts if p))
        item.user_properties.append((PROPERTY, f"{kind}\n{file}\n{line}\n{item.name}: {what}"))


def _runs(path: Path) -> bool:
    try:
        return runs_itself(read_notebook(path))
    except NotebookError as error:
        raise pytest.Collector.CollectError(f"{path} is no notebook: {error.what}") from error
