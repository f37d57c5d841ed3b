"""Kale's reader without the rest of Kale: it reads the same, and leaves nothing of itself behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kaleyard.notebook import kale_loader as lean

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").rglob("*.ipynb"))

READ = """
import sys
{first}
from pathlib import Path
from kaleyard.notebook.kale_adapter import read_outline
from kaleyard.analysis.notebook_parts import kale_tags
from kaleyard.notebook.document import read_notebook
for path in sys.argv[1:]:
    notebook = read_notebook(Path(path))
    tags = {{c.number: kale_tags(c) for c in notebook.code_cells}}
    print(read_outline(notebook, tags, "name"))
print(sorted({{n.partition(".")[0] for n in sys.modules}} & {{"kfp", "kubernetes", "nbformat", "kale"}}))
{last}
"""


def read(first: str = "", last: str = "") -> list[str]:
    code = READ.format(first=first, last=last)
    paths = [str(p) for p in NOTEBOOKS]
    done = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_the_outline_is_what_kale_gives_when_it_is_imported_whole() -> None:
    short, whole = read(), read(first="import kale")
    assert len(short) == len(NOTEBOOKS) + 1
    assert short[:-1] == whole[:-1]
    assert short[-1] == "[]"
    assert whole[-1] == "['kale', 'kfp', 'kubernetes', 'nbformat']"


def test_kale_and_kfp_are_whole_for_whoever_imports_them_later() -> None:
    last = "import kale, kfp, nbformat; print(kale.Compiler.__module__, kfp.__version__[:2], nbformat.v4.nbformat)"
    assert read(last=last)[-1] == "kale.compiler 2. 4"


def test_another_kale_that_needs_more_is_imported_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lean, "_LEFT_OUT", ("kale.config", "kale.pipeline"))
    monkeypatch.setattr(lean, "_LEAN", {})
    for name in [n for n in sys.modules if n.partition(".")[0] == "kale"]:
        monkeypatch.delitem(sys.modules, name)
    with lean.kale_reader() as (reader, step):
        assert reader.NotebookProcessor.__module__ == "kale.processors.nbprocessor"
        assert step.Step.__module__ == "kale.step"
        assert sys.modules["kale.config"].Config.__module__ == "kale.config.config"
    assert "kale.config" not in sys.modules
