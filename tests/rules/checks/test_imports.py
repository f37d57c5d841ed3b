"""The rules about what a step imports, case by case."""

from __future__ import annotations

from pathlib import Path

import pytest

from notebook_builder import NotebookCells
from rule_findings import found


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    """A folder with modules and packages of a project, some of which cannot be read."""
    for name, text in {
        "mine/__init__.py": "",
        "mine/part.py": "",
        "mine/inner/__init__.py": "",
        "mine/bare/leaf.py": "",
        "mine/fast.cpython-311-x86_64-linux-gnu.so": "",
        "broken.py": "x = 1\ndef = 1",
        "plain.py": "",
        "bare/leaf.py": "",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "odd.py").write_bytes(b"x = '\xff'")
    return tmp_path


@pytest.mark.parametrize(
    ("source", "code", "what"),
    [
        ("1\nimport nosuchpackage", "KY401", "no installed package provides `nosuchpackage`"),
        ("1\nimport nosuchpackage.inner as x", "KY401", "no installed package provides `nosuchpackage`"),
        ("1\nfrom nosuchpackage.inner import x", "KY401", "no installed package provides `nosuchpackage`"),
        ("def f():\n    import nosuchpackage", "KY401", "no installed package provides `nosuchpackage`"),
        ("1\nfrom . import x", "KY402", "a notebook is not in a package"),
        ("1\nfrom .x import y", "KY402", "a notebook is not in a package"),
        ("1\nimport mine.missing", "KY402", "the project has no module `mine.missing`"),
        ("1\nfrom mine.missing import x", "KY402", "the project has no module `mine.missing`"),
        ("1\nimport broken", "KY402", "invalid Python syntax in broken.py (line 2)"),
        ("1\nimport odd", "KY402", "the module odd.py cannot be read"),
        ("1\n%pip install somepackage", "KY405", "installs when the step runs"),
        ("1\n!pip install somepackage", "KY405", "`pip install somepackage` installs when the step runs"),
        ("1\n!uv pip install somepackage", "KY405", "`uv pip install somepackage` installs"),
        ("1\n!conda install -y somepackage", "KY405", "installs when"),
        ("1\n!/usr/bin/python3 -m pip install somepackage", "KY405", "installs when"),
        ("1\n!apt-get -q install something", "KY405", "installs when"),
    ],
)
def test_what_a_step_could_not_import_or_would_install_is_told(
    source: str, code: str, what: str, modules: Path
) -> None:
    (one,) = found(modules, ("print(1)", "step:first"), (source, "step:a"))
    assert (one.code, one.place.cell, one.place.step, one.line) == (code, 2, "a", 2)
    assert what in one.what


@pytest.mark.parametrize(
    "source",
    [
        "import json, os.path, numpy.linalg",
        "import plain, mine, mine.part, mine.inner, mine.bare, mine.bare.leaf, mine.fast",
        "import bare.leaf",
        "import kaleyard, kaleyard.errors, kaleyard.nothing_like_it",
        "import xml.nothing_like_it",
        "import numpy.nothing_like_it",
        "try:\n    import nosuchpackage\nexcept ImportError:\n    pass",
        "try:\n    import nosuchpackage\nexcept (ValueError, ModuleNotFoundError):\n    pass",
        "try:\n    import nosuchpackage\nexcept Exception:\n    pass",
        "try:\n    import nosuchpackage\nexcept:\n    pass",
        "try:\n    from . import x\nexcept ImportError:\n    pass",
        "import sys\nif sys.platform == 'none':\n    import nosuchpackage",
        "!pip list",
        "!echo pip install",
        "!pip freeze > installed.txt",
        "%pip list",
        "print('pip install somepackage')",
    ],
)
def test_what_a_step_can_import_or_may_do_without_is_let_through(source: str, modules: Path) -> None:
    assert [str(f) for f in found(modules, (source, "step:a"))] == []


@pytest.mark.parametrize(
    "source",
    [
        "try:\n    import json\nexcept ImportError:\n    pass\nelse:\n    import nosuchpackage",
        "try:\n    import json\nexcept ImportError:\n    pass\nfinally:\n    import nosuchpackage",
        "try:\n    import nosuchpackage\nexcept KeyError:\n    pass",
        "try:\n    import nosuchpackage\nfinally:\n    pass",
        "for x in [1]:\n    import nosuchpackage",
    ],
)
def test_an_import_that_nothing_catches_is_told(source: str, modules: Path) -> None:
    assert [f.code for f in found(modules, (source, "step:a"))] == ["KY401"]


def test_a_missing_package_is_told_once_for_each_cell_with_the_likely_one(modules: Path) -> None:
    cells: list[NotebookCells] = [
        ("import numpyy\nimport nosuchpackage, nosuchpackage.inner", "imports"),
        ("print(numpyy, nosuchpackage)", "step:a"),
        ("print(numpyy, nosuchpackage)\nimport numpyy, jsonn", "step:b"),
    ]
    told = found(modules, *cells)
    assert [(f.code, f.place.cell, f.what.split()[-1]) for f in told] == [
        ("KY401", 1, "`numpyy`"),
        ("KY401", 1, "`nosuchpackage`"),
        ("KY401", 3, "`jsonn`"),
        ("KY401", 3, "`numpyy`"),
    ]
    assert told[0].advice.startswith("Did you mean `numpy`? Add the package")
    assert told[1].advice.startswith("Add the package")
    assert told[2].advice.startswith("Did you mean `json`?")


def test_a_module_that_cannot_be_read_is_told_once_for_each_cell(modules: Path) -> None:
    cells: list[NotebookCells] = [
        ("import broken", "imports"),
        ("print(broken)", "step:a"),
        ("print(broken)", "step:b"),
        ("import broken", "step:c"),
    ]
    assert [(f.code, f.place.cell) for f in found(modules, *cells)] == [("KY402", 1), ("KY402", 4)]


def test_what_installs_is_told_once_for_each_cell(modules: Path) -> None:
    cells: list[NotebookCells] = [
        ("%pip install x\n%pip install y", "imports"),
        ("print(1)", "step:a"),
        ("!pip install z", "step:b"),
        ("print(1)", "step:c"),
    ]
    assert [(f.code, f.place.cell) for f in found(modules, *cells)] == [("KY405", 1), ("KY405", 3)]


def test_what_no_step_uses_is_not_missed(modules: Path) -> None:
    cells: list[NotebookCells] = [
        ("def f():\n    import nosuchpackage\n    return nosuchpackage", "functions"),
        ("print(1)", "step:a"),
    ]
    assert found(modules, *cells) == []
