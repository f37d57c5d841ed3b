"""Packages, modules and files that a step needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from kaleyard.pipeline import Step
from notebook_builder import NotebookCells, load


def files(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")


def only(folder: Path, *cells: NotebookCells) -> Step:
    return load(folder, *cells).steps[-1]


def test_installed_packages_are_told_by_their_top_module(tmp_path: Path) -> None:
    step = only(tmp_path, ("import numpy.linalg as la, json\nfrom pandas.api import types", "step:a"))
    assert step.packages == ("numpy", "pandas")


def test_a_module_beside_the_notebook_travels_with_all_it_imports(tmp_path: Path) -> None:
    files(tmp_path, "mine.py", "other.py", "unused.py")
    (tmp_path / "mine.py").write_text("import other, numpy")
    step = only(tmp_path, ("import mine", "step:a"))
    assert (step.modules, step.packages) == (("mine.py", "other.py"), ("numpy",))


def test_a_package_travels_whole_with_its_data(tmp_path: Path) -> None:
    files(tmp_path, "src/pack/__init__.py", "src/pack/part.py", "src/pack/data.csv", "src/pack/__pycache__/x.pyc")
    step = only(tmp_path, ("from pack.part import x", "step:a"))
    assert step.modules == ("src/pack/__init__.py", "src/pack/data.csv", "src/pack/part.py")


def test_a_module_of_the_project_hides_an_installed_one_and_no_standard_one(tmp_path: Path) -> None:
    files(tmp_path, "pandas.py", "json.py")
    step = only(tmp_path, ("import pandas, json", "step:a"))
    assert (step.modules, step.packages) == (("pandas.py",), ())


@pytest.mark.parametrize(
    "source",
    [
        "open('data/a.csv')",
        "open('./data/a.csv')",
        "from pathlib import Path\nPath('data') / 'a.csv'",
        "from pathlib import Path\nPath('data').joinpath('a.csv')",
        "import os\nos.path.join('data', 'a.csv')",
        "import glob\nglob.glob('data/*.csv')",
        "!head data/a.csv",
        "%run 'data/a.csv'",
    ],
)
def test_a_file_that_code_names_travels(source: str, tmp_path: Path) -> None:
    files(tmp_path, "data/a.csv", "data/b.txt")
    assert only(tmp_path, (source, "step:a")).files == ("data/a.csv",)


def test_a_file_that_a_parameter_names_travels_with_the_steps_that_use_it(tmp_path: Path) -> None:
    files(tmp_path, "data/a.csv")
    pipeline = load(
        tmp_path, ("DATA = 'data/a.csv'", "pipeline-parameters"), ("open(DATA)", "step:a"), ("print(1)", "step:b")
    )
    assert [s.files for s in pipeline.steps] == [("data/a.csv",), ()]


@pytest.mark.parametrize(
    "source",
    [
        "open('out.csv', 'w')",
        "import pandas as pd\npd.DataFrame().to_csv('out.csv')",
        "from pathlib import Path\np = Path('out.csv')\np.write_text('')",
        "print('nothing.csv')",
        "x = 'a'",
    ],
)
def test_what_is_written_or_not_there_does_not_travel(source: str, tmp_path: Path) -> None:
    files(tmp_path, "out.csv", "a/b.txt")
    assert only(tmp_path, (source, "step:a")).files == ()


@pytest.mark.parametrize(
    "text", ["../outside.txt", "/etc/hosts", "~/x", "a" * 300, "data\\n", "**", "[", "", "nb.ipynb"]
)
def test_files_elsewhere_and_odd_texts_do_not_travel(text: str, tmp_path: Path) -> None:
    (tmp_path / "outside.txt").write_text("")
    assert only(tmp_path / "project", (f"x = {text!r}", "step:a")).files == ()


def test_a_step_that_only_takes_a_value_has_the_packages_it_was_made_with(tmp_path: Path) -> None:
    step = only(
        tmp_path,
        ("import numpy as np\nimport pandas as pd", "imports"),
        ("frame = pd.DataFrame()\nother = np.zeros(2)", "step:a"),
        ("small = frame.head()", "step:b"),
        ("print(small)", "step:c"),
    )
    assert step.packages == ("pandas",)


def test_recursion_across_steps_has_an_end(tmp_path: Path) -> None:
    cells = [("def even(n): return n == 0 or odd(n - 1)", "step:a"), ("def odd(n): return even(n)", "step:b")]
    assert only(tmp_path, *cells, ("x = odd(3)", "step:c"), ("print(x)", "step:d")).packages == ()
