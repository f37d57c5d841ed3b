"""The examples of the page about reading: they give in steps what they give whole, or are refused as the page says."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

from cutting import differences, run_steps, run_whole
from notebook_builder import NotebookCells, notebook_bytes

PAGE = Path(__file__).parents[2] / "docs" / "how-it-reads-your-notebook.md"
BLOCK = re.compile(r"```python\n(.*?)```(?:\n\n`check` says (KY\d+))?", re.DOTALL)
EXAMPLES = BLOCK.findall(PAGE.read_text(encoding="utf-8"))


def cells(block: str) -> list[NotebookCells]:
    parts = re.split(r"(?m)^# ((?:step:|imports|functions)[^\n]*)\n", block)
    return [(source.rstrip("\n"), tags) for tags, source in zip(parts[1::2], parts[2::2], strict=True)]


def test_the_page_has_examples_of_both_kinds() -> None:
    assert len(EXAMPLES) >= 10
    assert {bool(code) for _, code in EXAMPLES} == {True, False}
    assert all(len(cells(block)) > 1 for block, _ in EXAMPLES)


@pytest.mark.parametrize(("block", "code"), EXAMPLES, ids=lambda text: text.split("\n")[1] if "\n" in text else text)
def test_an_example_gives_what_the_page_says(block: str, code: str, tmp_path: Path) -> None:
    made = nbformat.reads(notebook_bytes(*cells(block)).decode(), 4)
    done = run_steps(made, tmp_path / "steps")
    if code:
        assert code in done.error
        return
    assert done.error == ""
    whole = run_whole(made, tmp_path / "whole")
    assert any(whole.texts.values())
    assert differences(whole, done) == []
