"""Which distributions are installed, and which modules they provide."""

from __future__ import annotations

import sys
from importlib.metadata import packages_distributions, version
from pathlib import Path

import pytest

from kaleyard import installed_packages as installed


def test_providers_are_those_that_importlib_finds() -> None:
    theirs = {m: {installed.normal_name(d) for d in found} for m, found in packages_distributions().items()}
    theirs = {m: found for m, found in theirs.items() if m.isidentifier() and not m[0].isdigit() and m != "kaleyard"}
    ours = {m: set(found) for m, found in installed.providers().items() if m in theirs}
    assert "sklearn" in ours
    assert "yaml" in ours
    assert ours == {m: found for m, found in theirs.items() if m in ours}
    # What ours leaves out can only be stubs and the like: nothing that a notebook imports.
    assert {m for m in theirs if m not in ours} <= {m for m in theirs if "mypyc" in m}


@pytest.mark.parametrize("name", ["numpy", "scikit-learn", "kfp", "papermill"])
def test_versions_are_those_of_the_metadata(name: str) -> None:
    assert installed.versions()[name] == version(name)


def test_distributions_of_every_make_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = {
        "Some.Thing-1.0.dist-info/RECORD": "thing/__init__.py,,\nthing/a.py,,\n../../bin/thing,,\nsix.py,sha256=x,3\n",
        "c_ext-2.1.dist-info/RECORD": "_c_ext.cpython-311-x86_64-linux-gnu.so,,\nc_ext-2.1.dist-info/METADATA,,\n",
        "old-3-py3.11.egg-info/top_level.txt": "old\nolder\n",
        "broken-4.dist-info/METADATA": "Name: broken\n",
    }
    for path, text in made.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    monkeypatch.setattr(sys, "path", [str(tmp_path), str(tmp_path / "missing")])
    monkeypatch.setattr(installed, "providers", installed.providers.__wrapped__)
    monkeypatch.setattr(installed, "versions", installed.versions.__wrapped__)
    assert installed.versions() == {"some-thing": "1.0", "c-ext": "2.1", "old": "3", "broken": "4"}
    assert installed.providers() == {
        "thing": ("some-thing",),
        "six": ("some-thing",),
        "_c_ext": ("c-ext",),
        "old": ("old",),
        "older": ("old",),
    }
