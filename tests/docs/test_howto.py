"""The how-to pages do what they say: their files are written, their cells become a notebook, their commands run.

A block's first line says what it is: `# file: PATH`, or `# tag: TAGS` for a cell of notebooks/demo.ipynb. A `text`
block after commands holds lines that they print.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from test_tutorial import done

from kaleyard.config import Project
from notebook_builder import NotebookCells, notebook

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"```(\w+)([^\n]*)\n(.*?)```", re.DOTALL)
PAGES = ("add-a-step", "share-code", "use-a-gpu", "private-registry", "add-a-data-format")
# Blocks of these need a registry, a cluster or GitHub; others test what they say: test_pipeline_images.py,
# test_oci_registry.py, test_workflows.py and test_cluster_docs.py.
ELSEWHERE = {"console", "json"}


@pytest.mark.parametrize("page", PAGES)
def test_the_page_works_as_it_stands(page: str, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.kaleyard]\n", encoding="utf-8")
    (tmp_path / "requirements.lock").symlink_to(ROOT / "requirements.lock")
    (tmp_path / "images.lock").write_text(f'"{Project(tmp_path).base_image}" = "sha256:{"0" * 64}"\n', encoding="utf-8")
    cells: list[NotebookCells] = []
    printed, ran = "", 0
    for kind, more, text in BLOCK.findall((ROOT / "docs" / "how-to" / f"{page}.md").read_text(encoding="utf-8")):
        first, _, rest = text.partition("\n")
        if first.startswith("# file: "):
            path = tmp_path / first.removeprefix("# file: ")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(rest, encoding="utf-8")
        elif first.startswith("# tag: "):
            cells = placed(cells, first.removeprefix("# tag: "), rest.rstrip("\n"))
            notebook(tmp_path / "notebooks" / "demo.ipynb", *cells)
        elif kind == "sh":
            printed, ran = done(text, tmp_path), ran + 1
        elif kind == "text":
            missing = [line for line in text.splitlines() if line.strip() and line.strip() not in printed]
            assert not missing, printed
        else:
            assert kind in ELSEWHERE, (kind, more)
    assert ran or page == "private-registry"


def placed(cells: list[NotebookCells], told: str, source: str) -> list[NotebookCells]:
    """The cells with that one: last, `(below NAME)`, or, `(as it is now)`, in place of the step of its name."""
    tags, _, where = told.rstrip(")").partition(" (")
    cell: NotebookCells = (source, tags.split())
    starts = [next(iter(t)) for _, t in cells]
    if where == "as it is now":
        place = starts.index(tags)
        return [*cells[:place], cell, *cells[place + 1 :]]
    if where:
        place = starts.index(f"step:{where.removeprefix('below ')}") + 1
        return [*cells[:place], cell, *cells[place:]]
    return [*cells, cell]


def test_every_how_to_page_is_tested_here_or_by_name_elsewhere() -> None:
    elsewhere = {
        "github-actions": "test_workflows.py",
        "in-a-notebook": "test_jupyterlab.py",
        "notebook-server": "test_notebook_server.py",
        "what-fits": "test_cluster_docs.py",
    } | {path.stem: "test_cluster_docs.py" for path in (ROOT / "docs" / "how-to").glob("cluster-*.md")}
    found = {path.stem for path in (ROOT / "docs" / "how-to").glob("*.md")}
    assert found == {*PAGES, *elsewhere}
    assert {path.name for path in (ROOT / "tests").rglob("test_*.py")} >= set(elsewhere.values())
