"""What all tests share: a home and a project of their own, and nothing of the caller's settings."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """One test with an engine at a time: Docker's engine before version 23 may panic if two builds share stages."""
    if item.get_closest_marker("engine") is None:
        return (yield)
    from container_engine import locked

    with locked("engine"):
        return (yield)


@pytest.fixture(autouse=True)
def own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the settings of whoever runs it, but for the one that says how kernels start."""
    for name in [n for n in os.environ if n.startswith("KALEYARD_") and n != "KALEYARD_COLD"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """An empty project with a notebooks folder."""
    (tmp_path / "pyproject.toml").write_text("[tool.kaleyard]\n", encoding="utf-8")
    (tmp_path / "notebooks").mkdir()
    return tmp_path


@pytest.fixture(scope="session")
def repository() -> Path:
    """This repository's root."""
    return Path(__file__).parents[1]
