"""A disk that is full for real: told with what to do, nothing half-written, and the next run is sound."""

from __future__ import annotations

from pathlib import Path

import pytest

import kaleyard
from kaleyard.errors import ExternalError
from kaleyard.records.run_record import Run
from kaleyard.reporting.console import SilentReporter
from notebook_builder import notebook

pytest_plugins = ["small_disk"]

CELLS = (("big = bytes(3_000_000) * 3", "step:big"), ("n = len(big)\nn", "step:uses"))


def run(path: Path) -> Run:
    return kaleyard.run(path, reporter=SilentReporter())


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


def test_a_value_that_finds_no_room_among_the_runs_is_told(
    project: Path, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = notebook(project / "notebooks" / "full.ipynb", *CELLS)
    with monkeypatch.context() as settings:
        settings.setenv("KALEYARD_RUNS", str(small / "runs"))
        done = run(path)
    error = done.steps["big"].error
    assert error is not None
    assert "`big`" in error["what"] or "artifacts/big/big" in error["what"]
    assert "No space left" in error["what"]
    assert "space" in error["fix"]
    assert done.report.is_file()
    # The value is not there in part, and neither run nor cache says that it is.
    assert files(small) >= {"index.html", "run.json", "step.executed.ipynb", "page.html", "failure.json"}
    assert sum(p.stat().st_size for p in small.rglob("*") if p.is_file()) < 1_000_000
    again = run(path)
    assert {n: s.state for n, s in again.steps.items()} == {"big": "done", "uses": "done"}


def test_a_cache_without_room_costs_only_the_cache_and_holds_nothing_in_part(
    project: Path, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = notebook(project / "notebooks" / "full.ipynb", *CELLS)
    with monkeypatch.context() as settings:
        settings.setenv("KALEYARD_CACHE", str(small / "cache"))
        done = run(path)
        assert done.state == "done"
        assert any("step big was not cached" in note and "No space left" in note for note in done.notes)
        assert sum(p.stat().st_size for p in small.rglob("*") if p.is_file()) < 1_000_000
        again = run(path)
        assert {n: s.state for n, s in again.steps.items()} == {"big": "done", "uses": "cached"}


def test_a_disk_without_any_room_stops_the_run_before_it_starts(
    project: Path, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = notebook(project / "notebooks" / "full.ipynb", *CELLS)
    (small / "runs").mkdir()
    (small / "filler").write_bytes(bytes(4 * 1024 * 1024 - 8192))
    monkeypatch.setenv("KALEYARD_RUNS", str(small / "runs"))
    with pytest.raises(ExternalError, match="No space left on device") as refusal:
        run(path)
    assert refusal.value.exit_code == 4
    assert not [name for name in files(small) if name.endswith(".part")]


def test_a_temporary_folder_without_room_fails_the_step_with_what_to_do(
    project: Path, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(small))
    path = notebook(project / "notebooks" / "loud.ipynb", ("for i in range(80): print('x' * 100_000)", "step:loud"))
    error = run(path).steps["loud"].error
    assert error is not None
    assert "No space left" in error["what"]
    assert "TMPDIR" in error["fix"]
    assert not [p for p in small.rglob("*") if p.is_file()]
