"""A project that nobody may write to: told with the fix; with other folders for what a run leaves, it runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from notebook_builder import notebook


@pytest.fixture
def confined() -> Iterator[Path]:
    """A project on a disk that is mounted to be read alone."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("a disk to be read alone is mounted by root: run the tests as root to have this one")
    folder = Path(tempfile.mkdtemp(prefix="ky-read-only-"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], check=True)
    try:
        (folder / "pyproject.toml").write_text("[tool.kaleyard]\n", encoding="utf-8")
        (folder / "notebooks").mkdir()
        (folder / "notebooks" / "helper.py").write_text("N = 3\n", encoding="utf-8")
        (folder / "notebooks" / "rows.txt").write_text("rows", encoding="utf-8")
        notebook(
            folder / "notebooks" / "plain.ipynb",
            ("import helper", "imports"),
            ("text = open('rows.txt').read() * helper.N\nopen('own.txt', 'w').write(text)", "step:make"),
            ("size = len(text)", "step:use"),
            ("print(size)", "pipeline-metrics"),
        )
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        folder.rmdir()


def run(project: Path, **places: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kaleyard", "run", "notebooks/plain.ipynb", "--json"]
    environment = {n: v for n, v in os.environ.items() if n not in ("KALEYARD_RUNS", "KALEYARD_CACHE")} | places
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)


def test_a_project_that_cannot_be_written_is_told_and_runs_with_folders_elsewhere(
    confined: Path, tmp_path: Path
) -> None:
    done = run(confined)
    assert done.returncode == 4, (done.stdout, done.stderr)
    assert "cannot be written" in done.stderr
    assert "KALEYARD_RUNS" in done.stderr
    assert "Traceback" not in done.stderr
    # Without a cache of its own, a run costs only the cache.
    done = run(confined, KALEYARD_RUNS=str(tmp_path / "runs"))
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert '"size": 12' in done.stdout
    done = run(confined, KALEYARD_RUNS=str(tmp_path / "runs"), KALEYARD_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert sorted(p.name for p in (confined / "notebooks").iterdir()) == ["helper.py", "plain.ipynb", "rows.txt"]
