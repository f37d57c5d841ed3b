"""What Kale reads in the tags."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kaleyard.errors import NotebookError
from kaleyard.notebook.document import read_notebook
from kaleyard.notebook.kale_adapter import Outline, read_outline
from kaleyard.pipeline import Volume
from notebook_builder import NotebookCells, markdown, notebook


def outline(folder: Path, *cells: NotebookCells, **settings: Any) -> Outline:
    path = notebook(folder / "nb.ipynb", *cells, metadata={"kubeflow_notebook": settings})
    read = read_notebook(path, "nb.ipynb")
    return read_outline(read, {c.number: c.tags for c in read.code_cells}, "nb")


def test_cells_have_the_parts_their_tags_say(tmp_path: Path) -> None:
    found = outline(
        tmp_path,
        ("import a", "imports"),
        markdown("prose"),
        ("def f(): ...", "functions"),
        ("N = 1", "pipeline-parameters"),
        ("x = 1", "step:one"),
        ("x = 2", ""),
        ("x = 3", "skip"),
        ("y = 1", "step:two prev:one"),
        ("print(y)", "pipeline-metrics"),
    )
    assert (sorted(found.shared), found.parameters, found.metrics) == ([1, 3], [4], [9])
    assert [(s.name, s.cells, s.prev) for s in found.steps] == [("one", (5, 6), ()), ("two", (8,), ("one",))]


@pytest.mark.parametrize("source", ["#5", "'''", "x = 1  # 7", "{{ x }}", "\\", "raise SystemExit"])
def test_what_a_cell_says_is_nothing_to_kale(source: str, tmp_path: Path) -> None:
    assert outline(tmp_path, (source, "step:one")).steps[0].cells == (1,)


def test_a_step_that_comes_back_has_the_cells_of_both_places(tmp_path: Path) -> None:
    found = outline(tmp_path, ("a", "step:one"), ("b", "step:two"), ("c", "step:one"))
    assert [(s.name, s.cells) for s in found.steps] == [("one", (1, 3)), ("two", (2,))]


def test_a_volume_is_read_from_the_metadata(tmp_path: Path) -> None:
    told = {"name": "data", "type": "pvc", "mount_point": "/data", "size": 1, "size_type": "Gi", "snapshot": False}
    found = outline(tmp_path, ("a", "step:one"), volumes=[told])
    assert found.volumes == [Volume("data", "/data", "pvc", "1Gi", found.volumes[0].access_mode)]


def test_an_unknown_setting_is_refused_with_the_notebook(tmp_path: Path) -> None:
    with pytest.raises(NotebookError, match=r"nb\.ipynb: Kale rejects"):
        outline(tmp_path, ("a", "step:one"), nosuchsetting=1)
