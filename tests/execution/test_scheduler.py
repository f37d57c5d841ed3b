"""Running pipelines here: real kernels, real processes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import kaleyard
from kaleyard.errors import CheckError, ExternalError, NotebookError, ParameterError, UsageError
from kaleyard.records.run_record import Run
from kaleyard.reporting.console import SilentReporter
from notebook_builder import notebook

IMPORTS = ("import math\nimport json", "imports")
PARAMETERS = ("N = 3\nWORD = 'a \"b\" {c} \\\\ é'", "pipeline-parameters")
FUNCTIONS = ("def square(x):\n    return x * x", "functions")
ONE = ("numbers = [square(i) for i in range(N)]", "step:one")
TWO = ("total = sum(numbers)", "step:two")
THREE = ("text = WORD * 2", "step:three")
FOUR = ("root = math.sqrt(total)\nlength = len(text)", "step:four")
METRICS = ("print(root)\nprint(length)", "pipeline-metrics")
CELLS = (IMPORTS, PARAMETERS, FUNCTIONS, ONE, TWO, THREE, FOUR, METRICS)


def run(path: Path, **options: object) -> Run:
    return kaleyard.run(path, reporter=SilentReporter(), **options)  # type: ignore[arg-type]


def states(done: Run) -> dict[str, str]:
    return {name: step.state for name, step in done.steps.items()}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Run]:
    """A small pipeline that has run once, for tests that only look or run it again."""
    root = tmp_path_factory.mktemp("shared")
    (root / "pyproject.toml").write_text("[tool.kaleyard]\n", encoding="utf-8")
    path = notebook(root / "notebooks" / "small.ipynb", *CELLS)
    return path, run(path)


def test_a_run_gives_metrics_and_every_value_in_an_open_format(shared: tuple[Path, Run]) -> None:
    _, done = shared
    assert done.state == "done"
    assert states(done) == dict.fromkeys(("one", "two", "three", "four"), "done")
    assert done.metrics == {"root": pytest.approx(5**0.5), "length": 26}
    assert json.loads(done.artifact("one", "numbers").read_text()) == [0, 1, 4]
    assert json.loads(done.artifact("three", "text").read_text()) == 'a "b" {c} \\ é' * 2


def test_a_run_leaves_notebook_page_and_report(shared: tuple[Path, Run]) -> None:
    _, done = shared
    assert kaleyard.load_run(done.folder).to_dict() == json.loads(json.dumps(done.to_dict()))
    assert "small" in done.report.read_text()
    for step in done.steps.values():
        assert step.notebook
        assert step.page
        executed = json.loads((done.folder / step.notebook).read_text())
        assert all(c["execution_count"] for c in executed["cells"] if c["cell_type"] == "code")
        assert step.name in (done.folder / step.page).read_text()


def test_a_step_carries_only_what_it_uses(shared: tuple[Path, Run]) -> None:
    _, done = shared
    sources = {}
    for name in done.steps:
        cells = json.loads((done.folder / "steps" / name / "step.ipynb").read_text())["cells"]
        sources[name] = "".join("".join(c["source"]) for c in cells)
    assert "def square" in sources["one"]
    assert "import math" not in sources["one"]
    assert "def square" not in sources["four"]
    assert "import math" in sources["four"]
    assert "json" not in sources["four"].replace(".json", "")
    assert "WORD" in sources["three"]
    assert "N =" not in sources["three"]


def test_the_second_run_takes_every_step_from_the_cache(shared: tuple[Path, Run]) -> None:
    path, first = shared
    again = run(path)
    assert set(states(again).values()) == {"cached"}
    assert again.metrics == first.metrics
    assert again.artifact("one", "numbers").read_bytes() == first.artifact("one", "numbers").read_bytes()
    assert again.steps["four"].page
    assert (again.folder / str(again.steps["four"].page)).is_file()


def test_a_parameter_reruns_only_its_users_and_what_depends_on_them(shared: tuple[Path, Run]) -> None:
    path, _ = shared
    again = run(path, parameters=["WORD=b"])
    assert states(again) == {"one": "cached", "two": "cached", "three": "done", "four": "done"}
    assert again.metrics["length"] == 2


def test_an_upstream_step_that_makes_the_same_values_reruns_nothing_after_it(shared: tuple[Path, Run]) -> None:
    path, _ = shared
    looped = ("total = 0\nfor n in numbers:\n    total += n", "step:two")
    notebook(path, *CELLS[:4], looped, *CELLS[5:])
    assert states(run(path)) == {"one": "cached", "two": "done", "three": "cached", "four": "cached"}
    notebook(path, *CELLS)


def test_prose_outputs_and_other_metadata_rerun_nothing(shared: tuple[Path, Run]) -> None:
    path, _ = shared
    cells = [*CELLS[:3], ("# A heading\nwith words", "markdown"), *CELLS[3:]]
    notebook(path, *cells, metadata={"widgets": {"a": 1}})
    data = json.loads(path.read_text())
    for cell in data["cells"]:
        if cell["cell_type"] == "code":
            cell["execution_count"] = 7
            cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": ["x"]}]
    path.write_text(json.dumps(data))
    assert set(states(run(path)).values()) == {"cached"}
    notebook(path, *CELLS)


def test_only_runs_one_step_and_skips_the_others(shared: tuple[Path, Run]) -> None:
    path, _ = shared
    assert states(run(path, only="two")) == {"one": "cached", "two": "done", "three": "skipped", "four": "skipped"}


def test_from_runs_a_step_and_all_after_it_anew(shared: tuple[Path, Run]) -> None:
    path, _ = shared
    assert states(run(path, from_step="two")) == {"one": "cached", "two": "done", "three": "cached", "four": "done"}


@pytest.mark.parametrize("parameters", [["M=1"], ["N=many"], ["N=1.5"], {"N": "3"}, {"WORD": 3}])
def test_an_unknown_or_mistyped_parameter_starts_nothing(shared: tuple[Path, Run], parameters: object) -> None:
    path, first = shared
    before = sorted(first.folder.parent.iterdir())
    with pytest.raises(ParameterError, match=r"parameter (M|N|WORD)"):
        run(path, parameters=parameters)
    assert sorted(first.folder.parent.iterdir()) == before


def test_a_parameter_without_an_equals_sign_is_refused(shared: tuple[Path, Run]) -> None:
    with pytest.raises(UsageError, match="NAME=VALUE"):
        run(shared[0], parameters=["N"])


def test_an_unknown_step_is_refused_with_the_steps_there_are(shared: tuple[Path, Run]) -> None:
    with pytest.raises(UsageError, match="one, two, three, four"):
        run(shared[0], only="five")


@pytest.mark.parametrize("damage", ["cut", "emptied", "swapped", "lost entry"])
def test_a_damaged_cache_entry_is_made_again_and_said(shared: tuple[Path, Run], damage: str, tmp_path: Path) -> None:
    path, first = shared
    root = path.parents[1]
    kept = root / ".kaleyard" / "cache" / first.steps["one"].key[:2] / first.steps["one"].key
    entry = kept / (kept / "current").read_text()
    value = entry / "values" / "numbers.json"
    if damage == "lost entry":
        (entry / "entry.json").write_text("{", encoding="utf-8")
    else:
        content = {"cut": value.read_bytes()[:-2], "emptied": b"", "swapped": b"[9, 9, 9]"}[damage]
        value.unlink()
        value.write_bytes(content)
    again = run(path)
    assert states(again) == {"one": "done", "two": "cached", "three": "cached", "four": "cached"}
    assert any("step one was damaged" in note for note in again.notes)
    assert first.artifact("one", "numbers").read_bytes() == again.artifact("one", "numbers").read_bytes()


def test_a_name_that_nothing_makes_stops_the_run_before_it_starts(project: Path) -> None:
    path = notebook(project / "notebooks" / "bad.ipynb", ("a = 1", "step:one"), ("b = a + c", "step:two"))
    with pytest.raises(CheckError, match=r"cell 2, step two: KY201 undefined name `c`"):
        run(path)
    assert not (project / "runs").exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("hello", "not a notebook"),
        ('{"a": 1}', "not a notebook"),
        ('{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}', "no steps"),
        ('{"worksheets": [], "nbformat": 3}', "before 2015"),
        ('{"cells": [], "metadata": {"kernelspec": {"language": "R"}}, "nbformat": 4}', "language is R"),
    ],
)
def test_what_is_no_python_notebook_with_steps_is_refused(project: Path, content: str, reason: str) -> None:
    path = project / "notebooks" / "odd.ipynb"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(NotebookError, match=reason):
        run(path)


def test_a_runs_folder_that_cannot_be_written_is_said_and_nothing_starts(project: Path) -> None:
    path = notebook(project / "notebooks" / "a.ipynb", ("a = 1", "step:one"))
    (project / "runs").write_text("a file", encoding="utf-8")
    with pytest.raises(ExternalError, match="cannot be written"):
        run(path)
