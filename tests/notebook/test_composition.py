"""Pipelines composed of several notebooks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import kaleyard
from composed_notebook import compose, flows
from kaleyard.errors import CheckError
from kaleyard.records.run_record import Run
from kaleyard.reporting.console import SilentReporter
from notebook_builder import notebook


def run(path: Path) -> Run:
    return kaleyard.run(path, reporter=SilentReporter())


FIT = (
    ("DEPTH = 1", "pipeline-parameters"),
    ("def twice(x):\n    return 2 * x", "functions"),
    ("temporary = twice(rows[0])", "step:prepare"),
    ("score = temporary * DEPTH", "step:fit"),
)


def test_one_notebook_used_twice_has_its_own_steps_parameters_and_names(project: Path) -> None:
    folder = project / "notebooks"
    notebook(folder / "fit.ipynb", *FIT)
    root = compose(
        folder / "root.ipynb",
        ("rows = [3, 4]", "step:start"),
        ("# small", "notebook:small"),
        ("# large", "notebook:large"),
        ("both = [small_score, large_score]", "step:compare"),
        ("both", ""),
        small={"notebook_path": "fit.ipynb", "notebook_outputs": {"score": "small_score"}},
        large={
            "notebook_path": "fit.ipynb",
            "notebook_parameters": {"DEPTH": 10},
            "notebook_outputs": {"score": "large_score"},
        },
    )
    pipeline = kaleyard.read(root)
    assert pipeline.names == ("start", "small_prepare", "small_fit", "large_prepare", "large_fit", "compare")
    assert flows(pipeline)["large_fit"] == [("temporary", "large_prepare")]
    assert pipeline.step("small_fit").parameters == ("DEPTH",)
    assert pipeline.step("large_fit").parameters == ()
    done = run(root)
    assert done.state == "done", [s.error for s in done.steps.values() if s.error]
    assert json.loads(done.artifact("compare", "both").read_text()) == [6, 60]


def test_notebooks_are_composed_over_several_levels_with_paths_of_their_own(project: Path) -> None:
    folder = project / "notebooks"
    (folder / "deep").mkdir()
    (folder / "deep" / "words.txt").write_text("deep words")
    notebook(folder / "deep" / "leaf.ipynb", ("text = open('words.txt').read() + end", "step:read"))
    middle = compose(
        folder / "middle.ipynb",
        ("end = '!'", "step:first"),
        ("# leaf", "notebook:leaf"),
        ("loud = text.upper()", "step:last"),
        leaf={"notebook_path": "deep/leaf.ipynb"},
    )
    root = compose(
        folder / "root.ipynb", ("# middle", "notebook:middle"), ("result = loud + '?'", "step:end"), ("result", "")
    )
    pipeline = kaleyard.read(root)
    assert pipeline.names == ("middle_first", "middle_leaf", "middle_last", "end")
    assert pipeline.step("middle_leaf").files == ("notebooks/deep/words.txt",)
    assert pipeline.step("middle_leaf").notebook == "notebooks/deep/leaf.ipynb"
    assert kaleyard.read(middle).names == ("first", "leaf", "last")
    done = run(root)
    assert json.loads(done.artifact("end", "result").read_text()) == "DEEP WORDS!?"


def test_an_untouched_notebook_is_one_step_with_papermills_parameters(project: Path) -> None:
    path = notebook(
        project / "notebooks" / "plain.ipynb",
        ("# A title", "markdown"),
        ("import math", ""),
        ("N = 4", "parameters"),
        ("root = math.sqrt(N)", ""),
        ("root", ""),
    )
    pipeline = kaleyard.read(path)
    assert pipeline.names == ("plain",)
    assert [p.name for p in pipeline.parameters] == ["N"]
    done = kaleyard.run(path, {"N": 9}, reporter=SilentReporter())
    assert json.loads(done.artifact("plain", "root").read_text()) == 3.0


def test_the_composing_notebooks_parameters_win(project: Path) -> None:
    folder = project / "notebooks"
    notebook(folder / "part.ipynb", ("N = 1", "pipeline-parameters"), ("a = N", "step:a"))
    root = compose(folder / "root.ipynb", ("N = 5", "pipeline-parameters"), ("# part", "notebook:part"))
    pipeline = kaleyard.read(root)
    assert pipeline.defaults() == {"N": 5}
    assert pipeline.step("part").parameters == ("N",)


def test_two_parts_with_different_defaults_are_told(project: Path) -> None:
    folder = project / "notebooks"
    for name, value in (("one", 1), ("two", 2)):
        notebook(folder / f"{name}.ipynb", (f"N = {value}", "pipeline-parameters"), (f"{name} = N", "step:a"))
    root = compose(folder / "root.ipynb", ("# one", "notebook:one"), ("# two", "notebook:two"))
    with pytest.raises(CheckError, match=r"two\.ipynb: cell 1: KY301 another notebook of this pipeline sets `N = 1`"):
        kaleyard.read(root)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"notebook_path": "missing.ipynb"}, "cell 1.*there is no notebook missing.ipynb"),
        ({"notebook_path": ""}, "no `notebook_path`"),
        ({"notebook_path": "root.ipynb"}, "composed of each other"),
        ({"notebook_outputs": {"nothing": "other"}}, "renames `nothing`"),
        ({"notebook_parameters": ["N"]}, "not a mapping"),
        ({"notebook_outputs": ["N"]}, "not a mapping"),
    ],
)
def test_a_reference_that_cannot_be_followed_is_told(project: Path, told: dict[str, Any], words: str) -> None:
    notebook(project / "notebooks" / "part.ipynb", ("a = 1", "step:a"))
    root = compose(project / "notebooks" / "root.ipynb", ("# part", "notebook:part"), part=told)
    with pytest.raises(kaleyard.KaleyardError, match=words):
        kaleyard.read(root)


@pytest.mark.parametrize(
    ("line", "told", "words"),
    [
        (
            "%run other.ipynb",
            {},
            r'`notebook_path` in the cell\'s metadata is "part.ipynb", but its line differs',
        ),
        ("%run part.ipynb", {"notebook_parameters": {"N": 2}}, '`notebook_parameters` .* is {"N": 2}'),
        ("%kaleyard include part.ipynb -p N=3", {"notebook_parameters": {"N": 2}}, "include part.ipynb -p N=3`"),
        (
            "%kaleyard include part.ipynb -o a=b",
            {"notebook_outputs": {"a": "c"}},
            '`notebook_outputs` .* is {"a": "c"}',
        ),
        ("%run part.ipynb\n%run part.ipynb", {}, "the cell runs 2 notebooks"),
        ("%kaleyard include", {}, "`%kaleyard include`: the following arguments are required: notebook"),
        ("%kaleyard include part.ipynb -p M=3", {}, "part.ipynb has no parameter M"),
        ("%kaleyard include part.ipynb -p N=x", {}, "parameter N: 'x' is not of type int"),
        ("%kaleyard include gone.ipynb", {"notebook_path": ""}, "there is no notebook gone.ipynb"),
        ("# a comment", {"notebook_path": ""}, "no `notebook_path` in its metadata, and no line that runs"),
    ],
)
def test_a_line_that_is_wrong_or_says_otherwise_is_told(
    project: Path, line: str, told: dict[str, Any], words: str
) -> None:
    for name in ("part", "other"):
        notebook(project / "notebooks" / f"{name}.ipynb", ("N = 1", "pipeline-parameters"), ("a = N", "step:a"))
    root = compose(project / "notebooks" / "root.ipynb", ("# words", "markdown"), (line, "notebook:part"), part=told)
    with pytest.raises(kaleyard.KaleyardError, match=rf"notebooks/root\.ipynb: cell 2, step part: .*{words}"):
        kaleyard.read(root)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("%kaleyard include part.ipynb -p N=2 -o a=b", {}),
        ("%kaleyard include ./part.ipynb -o a=b -p N=2", {"notebook_outputs": {"a": "b"}}),
        ("# why\n%kaleyard include part.ipynb -p N=2 -o a=b", {"notebook_parameters": {"N": 2}}),
        ("%%capture\n%kaleyard include part.ipynb -p 'N=2' -o a=b", {"notebook_path": ""}),
    ],
)
def test_a_line_and_the_metadata_may_both_say_how_the_notebook_is_used(
    project: Path, line: str, told: dict[str, Any]
) -> None:
    notebook(project / "notebooks" / "part.ipynb", ("N = 1", "pipeline-parameters"), ("a = N", "step:a"))
    root = compose(project / "notebooks" / "root.ipynb", (line, "notebook:part"), ("print(b)", "step:end"), part=told)
    pipeline = kaleyard.read(root)
    assert flows(pipeline) == {"part": [], "end": [("b", "part")]}
    assert pipeline.parameters == ()


def test_a_finding_in_a_part_names_the_part_and_its_cell(project: Path) -> None:
    notebook(project / "notebooks" / "part.ipynb", ("# words", "markdown"), ("a = missing", "step:a"))
    root = compose(project / "notebooks" / "root.ipynb", ("%run part.ipynb", "notebook:part"))
    (finding,) = kaleyard.check(root)
    assert str(finding).startswith("notebooks/part.ipynb: cell 2, step part: KY201 undefined name `missing`")


def test_parts_are_no_pipelines_of_their_own(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook(project / "notebooks" / "part.ipynb", ("a = rows", "step:a"))
    compose(project / "notebooks" / "root.ipynb", ("rows = 1", "step:rows"), ("%run part.ipynb", "notebook:part"))
    monkeypatch.chdir(project)
    assert kaleyard.check() == []


def test_the_compare_pipeline_keeps_the_best_of_three_models(repository: Path, tmp_path: Path) -> None:
    shutil.copytree(repository / "notebooks", tmp_path / "notebooks", ignore=shutil.ignore_patterns("package"))
    (tmp_path / "pyproject.toml").write_text("[tool.kaleyard]\n")
    done = run(tmp_path / "notebooks" / "compare.ipynb")
    assert done.state == "done", [s.error for s in done.steps.values() if s.error]
    assert done.metrics == {"best_rmse": 22834}
    pipeline = kaleyard.read(tmp_path / "notebooks" / "compare.ipynb")
    fits = [n for n in pipeline.names if n in ("linear", "forest", "boosting")]
    assert all(not set(pipeline.step(n).upstream) & set(fits) for n in fits)
    assert set(fits) <= set(pipeline.step("choose").upstream)


def test_changing_a_type_without_its_users_is_told(project: Path) -> None:
    folder = project / "notebooks"
    notebook(folder / "part.ipynb", ("N = 1", "pipeline-parameters"), ("a = N", "step:a"))
    root = compose(folder / "root.ipynb", ("N = 'many'", "pipeline-parameters"), ("# part", "notebook:part"))
    with pytest.raises(CheckError, match=r"part\.ipynb: cell 1: KY301 `N` has type int here and str in another"):
        kaleyard.read(root)
    root = compose(folder / "root.ipynb", ("# part", "notebook:part"), part={"notebook_parameters": {"N": "many"}})
    with pytest.raises(kaleyard.KaleyardError, match="sets `N` to 'many', but its type is int"):
        kaleyard.read(root)
    root = compose(folder / "root.ipynb", ("# part", "notebook:part"), part={"notebook_parameters": {"M": 1}})
    with pytest.raises(kaleyard.KaleyardError, match="sets `M`, but this notebook has no such parameter"):
        kaleyard.read(root)
    said = notebook(folder / "said.ipynb", ("N: int = 1.5", "pipeline-parameters"), ("a = N", "step:a"))
    with pytest.raises(CheckError, match=r"annotated as int, but its default 1.5 is not"):
        kaleyard.read(said)
