from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kaleyard.errors import NotebookError
from kaleyard.notebook.document import read_notebook
from notebook_builder import markdown, notebook


def written(folder: Path, content: Any) -> Path:
    path = folder / "nb.ipynb"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def whole(**more: Any) -> dict[str, Any]:
    return {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5} | more


def cell(**more: Any) -> dict[str, Any]:
    return {"cell_type": "code", "metadata": {}, "source": "", "outputs": [], "execution_count": None} | more


def test_cells_are_counted_from_one_prose_included(tmp_path: Path) -> None:
    read = read_notebook(notebook(tmp_path / "nb.ipynb", markdown("# Title"), ("x = 1", "step:a")), "nb.ipynb")
    assert [(c.number, c.kind, c.source, c.tags) for c in read.cells] == [
        (1, "markdown", "# Title", ()),
        (2, "code", "x = 1", ("step:a",)),
    ]
    assert [c.number for c in read.code_cells] == [2]


@pytest.mark.parametrize("source", ["a\nb", ["a\n", "b"], "a\r\nb", ["a\r\n", "b"], "a\rb"])
def test_lines_end_alike_however_they_are_kept(source: str | list[str], tmp_path: Path) -> None:
    (one,) = read_notebook(written(tmp_path, whole(cells=[cell(source=source)]))).cells
    assert one.source == "a\nb"


def test_a_mark_at_the_start_of_the_file_is_no_part_of_it(tmp_path: Path) -> None:
    assert read_notebook(written(tmp_path, b"\xef\xbb\xbf" + json.dumps(whole()).encode())).cells == ()


def test_outputs_and_counts_are_told(tmp_path: Path) -> None:
    (one,) = read_notebook(written(tmp_path, whole(cells=[cell(outputs=[{}], execution_count=3)]))).cells
    assert (one.has_outputs, one.execution_count) == (True, 3)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "not a notebook"),
        (b"{", "not a notebook"),
        (b"\xff\xfe", "not a notebook"),
        (b"[" * 100_000, "not a notebook"),
        ([], "not a notebook"),
        ({"worksheets": [], "nbformat": 3}, "nbconvert"),
        (whole(nbformat=5), "format 5"),
        (whole(metadata={"kernelspec": {"language": "R"}}), "language is R, not Python"),
        (whole(metadata={"language_info": {"name": "julia"}}), "language is julia, not Python"),
        (whole(cells=[cell(), {"cell_type": "heading"}]), "cell 2: not a code, Markdown or raw cell"),
        (whole(cells=[7]), "cell 1: not a code, Markdown or raw cell"),
        (whole(cells=[cell(source=7)]), "source must be a string"),
        (whole(cells=[cell(metadata={"tags": "step:a"})]), "tags must be a list of strings"),
        (whole(cells=[cell(metadata={"tags": [1]})]), "tags must be a list of strings"),
    ],
)
def test_what_is_no_python_notebook_is_refused_by_name(content: Any, told: str, tmp_path: Path) -> None:
    with pytest.raises(NotebookError) as caught:
        read_notebook(written(tmp_path, content), "nb.ipynb")
    assert told in str(caught.value)
    assert str(caught.value).startswith("nb.ipynb")


def test_a_path_that_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotebookError, match="no such file"):
        read_notebook(tmp_path / "missing.ipynb")
    with pytest.raises(NotebookError, match="cannot be read"):
        read_notebook(tmp_path)


@pytest.mark.parametrize("metadata", [None, [], "x"])
def test_metadata_of_another_shape_counts_as_none(metadata: object, tmp_path: Path) -> None:
    read = read_notebook(written(tmp_path, whole(metadata=metadata, cells=[cell(metadata=metadata)])))
    assert (read.settings, read.cells[0].tags) == ({}, ())
