"""The rules about files, case by case."""

from __future__ import annotations

from pathlib import Path

import pytest

from kaleyard.config import Project
from kaleyard.rules.checker import check
from kaleyard.rules.findings import Finding
from notebook_builder import NotebookCells, notebook


def found(root: Path, *cells: NotebookCells, files: tuple[str, ...] = ()) -> list[Finding]:
    """What is found in a notebook in the folder `notebooks` of a project with some files."""
    tables = ("notebooks/near.csv", "notebooks/tables/of_a.csv", "notebooks/both/c.csv")
    for name in ("data/a.csv", "data/deep/b.csv", "top.csv", "both/c.csv", *tables):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("1")
    path = notebook(root / "notebooks" / "nb.ipynb", *cells)
    return check(path, Project(root.resolve(), files=files))[0]


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("open('{root}/top.csv')", "is an absolute path into the project, which other machines do not have"),
        ("open('{root}/data')", "is an absolute path into the project"),
        ("open('{root}/not_there.csv')", "is an absolute path into the project"),
        (
            "from pathlib import Path\nname = min('a')\nopen(Path('{root}') / name)",
            "is an absolute path into the project",
        ),
        ("import os\nname = min('a')\nopen(os.path.join('{root}/data', name))", "is an absolute path into the project"),
        ("name = min('a')\nopen('{root}/' + name)", "is an absolute path into the project"),
        ("name = min('a')\nopen(f'{root}/{{name}}')", "is an absolute path into the project"),
        ("name = min('a')\nopen('{root}/data/{{}}.csv'.format(name))", "is an absolute path into the project"),
        ("open('data/a.csv')", "`data/a.csv` is relative to the project's folder, not to the notebook's"),
        ("name = min('a')\nopen(f'tables/of_{{name}}.csv')", "a file in `tables` is named by a computed path"),
        (
            "name = min('b')\nopen(f'../data/deep/x{{name}}.csv')",
            "a file in `../data/deep` is named by a computed path",
        ),
        ("open('../data/a.csv')\nname = min('b')\nopen(f'tables/x{{name}}')", "a file in `tables` is named by"),
    ],
)
def test_a_path_that_leads_to_no_file_of_the_step_is_told(source: str, what: str, tmp_path: Path) -> None:
    (one,) = found(tmp_path, ("1", "step:first"), (source.format(root=tmp_path.resolve()), "step:a"))
    assert (one.code, one.place.cell, one.place.step, one.is_error) == ("KY403", 2, "a", False)
    assert one.line == source.count("\n") + 1
    assert what in one.what


@pytest.mark.parametrize(
    "source",
    [
        "open('near.csv')",
        "open('../data/a.csv')",
        "open('tables/of_a.csv')",
        "open('/etc/hosts')",
        "open('{root}elsewhere/top.csv')",
        "open('data/not_there.csv')",
        "open('data')",
        "open('data/deep')",
        "name = min('a')\nopen(f'{{name}}.csv')",
        "name = min('a')\nopen(f'/etc/{{name}}')",
        "name = min('a')\nopen(f'../{{name}}')",
        "name = min('a')\nopen(f'nowhere/{{name}}')",
        "name = min('a')\nopen(f'near.csv/{{name}}')",
        "name = min('a')\nopen(f'tables/of_a.csv')",
        "open(f'tables/nothing.csv')",
        "name = min('a')\nopen(f'../../x{{name}}')",
        "open('both/c.csv')",
        "open('top.csv')",
        "name = ''\nopen(f'data/a.csv{{name}}')",
        "open('tables/of_a.csv')\nname = min('a')\nopen(f'tables/of_{{name}}.csv')",
        "name = min('a')\nopen(f'tables/{{name}}')",
        "text = 'data/a.csv\\n'",
        "print('see data/a.csv or ' + 'x' * 3)",
        "name = min('a')\nprint(f'{{name}}/b')",
        "open('" + "data/" + "x" * 300 + "')",
        "text = '{root}/top.csv\\n'",
        "name = min('a')\nopen(f'near{{name}}.csv')",
        "open('../data/a.csv')\nprint('data/a.csv')",
    ],
)
def test_a_path_that_a_step_has_or_that_is_not_the_projects_is_let_through(source: str, tmp_path: Path) -> None:
    source = source.format(root=tmp_path.resolve())
    assert [f.code for f in found(tmp_path, (source, "step:a")) if f.code == "KY403"] == []


def test_a_text_longer_than_a_name_may_be_is_no_path(tmp_path: Path) -> None:
    told = [found(tmp_path, (f"text = '{f'{tmp_path}/':x<{size}}'", "step:a")) for size in (254, 255)]
    assert [[f.code for f in each] for each in told] == [["KY403"], []]


def test_in_a_project_that_is_the_whole_disk_no_path_leads_into_it(tmp_path: Path) -> None:
    path = notebook(tmp_path / "nb.ipynb", ("open('/etc/hosts')", "step:a"))
    assert check(path, Project(Path("/")))[0] == []


def test_a_declared_file_may_be_named_by_a_computed_path(tmp_path: Path) -> None:
    source = "name = min('a')\nopen(f'tables/of_{name}.csv')"
    assert found(tmp_path, (source, "step:a"), files=("notebooks/tables/*",)) == []
    assert [f.code for f in found(tmp_path, (source, "step:a"), files=("data/*",))] == ["KY403"]


def test_a_declared_file_meant_from_the_projects_folder_is_still_named_from_the_notebooks(tmp_path: Path) -> None:
    told = found(tmp_path, ("open('data/a.csv')", "step:a"), files=("top.csv",))
    assert [f.code for f in told] == ["KY403"]


@pytest.mark.parametrize(
    ("sources", "told"),
    [
        (["open('/tmp/o.txt', 'w')", "1\nopen('/tmp/o.txt')"], [(2, "s1", 2, "step s0 writes `/tmp/o.txt`")]),
        (["open('/tmp/o.txt', 'w')", "print(1)", "open('/tmp/o.txt')"], [(3, "s2", 1, "step s0 writes `/tmp/o.txt`")]),
        (
            ["open('/tmp/o.txt', 'w')", "open('/tmp/o.txt')", "open('/tmp/o.txt')"],
            [(2, "s1", 1, "s0"), (3, "s2", 1, "s0")],
        ),
        (["open('/tmp/o.txt', 'w')", "open('/tmp/o.txt')\nopen('/tmp/o.txt')"], [(2, "s1", 1, "step s0")]),
        (
            ["open('/tmp/o.txt', 'w')", "open('/tmp/o.txt', 'w')", "open('/tmp/o.txt')"],
            [(3, "s2", 1, "step s0 writes")],
        ),
        (["open('/tmp/out/o', 'w')", "open('/tmp/out/o')"], [(2, "s1", 1, "step s0 writes `/tmp/out/o`")]),
        (["open('/tmp/o.txt', 'w')", "open('/tmp/o.txt')"], [(2, "s1", 1, "step s0 writes `/tmp/o.txt`")]),
        (["open('o.txt', 'w')", "open('o.txt')"], []),
        (["open('word', 'w')", "print('word')"], []),
        (["open('o.txt')", "open('o.txt')"], []),
        (["open('o.txt', 'w')\nopen('o.txt')", "open('p.txt')"], []),
        (["open('o.txt', 'w')", "open('o.txt', 'w')\nopen('o.txt')"], []),
        (["open('o.txt')", "open('o.txt', 'w')"], []),
    ],
)
def test_a_file_written_by_an_earlier_step_is_told_where_it_is_read(
    sources: list[str], told: list[tuple[int, str, int, str]], tmp_path: Path
) -> None:
    late = [f for f in found(tmp_path, *((s, f"step:s{n}") for n, s in enumerate(sources))) if f.code == "KY404"]
    assert [(f.place.cell, f.place.step, f.line) for f in late] == [t[:3] for t in told]
    assert all(t[3] in f.what for f, t in zip(late, told, strict=True))
