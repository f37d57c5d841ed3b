"""The rules about the notebook as a document, case by case."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kaleyard.config import Project
from kaleyard.rules.checker import check
from notebook_builder import NotebookCells, notebook
from rule_findings import codes, found

SHOW = ("print(1)", "step:show")


@pytest.mark.parametrize("source", ["print('hello')", "x = 1", "%matplotlib inline", "!ls", "def f(): pass", "len"])
def test_code_above_the_first_step_that_no_step_gets_is_told(source: str, tmp_path: Path) -> None:
    (one,) = found(tmp_path, (source, ""), SHOW)
    assert (one.code, one.place.cell, one.is_error) == ("KY601", 1, False)


@pytest.mark.parametrize(
    "cell",
    [
        ("", ""),
        ("   \n", ""),
        ("# a comment", ""),
        ("'a text'", ""),
        ("'a text'\n5", ""),
        ("print('hello')", "skip"),
        ("print('hello')", "markdown"),
        ("import json", "imports"),
        ("x = 1", "pipeline-parameters"),
        ("def f(): pass", "functions"),
    ],
)
def test_what_does_nothing_or_has_a_role_is_not_missed(cell: NotebookCells, tmp_path: Path) -> None:
    assert codes(tmp_path, cell, SHOW) == []


def test_metrics_and_untagged_cells_of_steps_are_used(tmp_path: Path) -> None:
    cells = [("m = 1", "step:a"), ("print(m)", ""), ("print(m)", "pipeline-metrics")]
    assert codes(tmp_path, *cells) == []


def outputs(path: Path, *numbers: int) -> None:
    """Give the cells of these numbers an output."""
    data = json.loads(path.read_text())
    for number in numbers:
        data["cells"][number - 1]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": ["1"]}]
    path.write_text(json.dumps(data))


def stale(folder: Path, *cells: NotebookCells, shown: tuple[int, ...] = ()) -> list[tuple[int | None, str]]:
    path = notebook(folder / "nb.ipynb", *cells)
    outputs(path, *shown)
    return [(f.place.cell, f.what) for f in check(path, Project(folder.resolve()))[0] if f.code == "KY602"]


def test_outputs_of_one_run_are_let_through(tmp_path: Path) -> None:
    cells = [("1", "step:a run:1"), ("words", "markdown"), ("2", "run:2"), ("3", ""), ("4", "run:7")]
    assert stale(tmp_path, *cells, shown=(1, 3, 5)) == []


def test_a_cell_run_before_one_above_it_is_told(tmp_path: Path) -> None:
    told = stale(tmp_path, ("1", "step:a run:5"), ("2", "run:6"), ("3", "run:4"), ("4", "run:3"))
    assert told == [(3, "this cell ran as number 4, before a cell above it (number 6)")]


def test_two_cells_of_one_number_are_told(tmp_path: Path) -> None:
    told = stale(tmp_path, ("1", "step:a run:5"), ("2", "run:5"))
    assert told == [(2, "this cell ran as number 5, before a cell above it (number 5)")]


def test_every_output_without_a_run_is_told(tmp_path: Path) -> None:
    told = stale(tmp_path, ("1", "step:a"), ("2", ""), ("3", ""), shown=(1, 3))
    assert told == [
        (1, "this cell has outputs but no execution count"),
        (3, "this cell has outputs but no execution count"),
    ]


def test_a_secret_is_told_with_its_line_and_kind_in_any_cell(tmp_path: Path) -> None:
    key = "AKIA" + "ABCDEFGHIJKLMNOP"
    cells = [SHOW, (f"one\ntwo {key}", "markdown"), (f"x = '{key}'", "skip")]
    told = [(f.code, f.place.cell, f.line, f.what) for f in found(tmp_path, *cells)]
    what = "`AKIA...` looks like an AWS access key"
    assert told == [("KY603", 2, 2, what), ("KY603", 3, 1, what)]


SECRETS = {
    "an AWS access key": "ASIA" + "ABCDEFGHIJKLMNO1",
    "a GitHub token": "github_pat_" + "a" * 22,
    "a GitLab token": "glpat-" + "a" * 20,
    "a Slack token": "xoxp-" + "1234567890",
    "a Google API key": "AIza" + "-" + "A" * 34,
    "a Hugging Face token": "hf_" + "a" * 34,
    "an API key": "sk-ant-" + "a" * 31,
    "a private key": "-----BEGIN " + "PRIVATE KEY-----",
    "a password in an address": "postgres://me:" + "abc" + "@host",
}


@pytest.mark.parametrize("kind", SECRETS)
def test_each_kind_of_secret_is_told_by_its_kind(kind: str, tmp_path: Path) -> None:
    (one,) = found(tmp_path, SHOW, (f"x {SECRETS[kind]} y", "markdown"))
    assert one.what.endswith(f"looks like {kind}")


@pytest.mark.parametrize(
    "text",
    [
        "AKIA" + "ABCDEFGHIJKLMNO",
        "XAKIA" + "ABCDEFGHIJKLMNOP",
        "ghx_" + "a" * 36,
        "ghp_" + "a" * 35,
        "glpat-" + "a" * 19,
        "AIza" + "A" * 34,
        "hf_" + "a" * 33,
        "sk-" + "a" * 30,
        "-----BEGIN PUBLIC KEY-----",
        "https://me:ab@host",
        "https://me:" + "$PASSWORD@host",
        "https://host:8080/path@x",
    ],
)
def test_what_is_too_short_or_of_another_form_is_no_secret(text: str, tmp_path: Path) -> None:
    assert codes(tmp_path, SHOW, (text, "markdown")) == []


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("KY999", "Did you mean KY"),
        ("ky601", "Did you mean KY601? Use a code"),
        ("nonsense", "Use a code of an existing rule"),
    ],
)
def test_a_code_that_no_rule_has_is_told_where_it_stands(code: str, advice: str, tmp_path: Path) -> None:
    told = [f for f in found(tmp_path, SHOW, (f"# kaleyard: disable={code}, KY601\n2", "")) if f.code == "KY604"]
    assert [(f.place.cell, f.what, f.is_error) for f in told] == [(2, f"there is no rule {code}", False)]
    assert told[0].advice.startswith(advice)


@pytest.mark.parametrize(
    "source",
    [
        "%load_ext kaleyard",
        "%reload_ext kaleyard",
        "%kaleyard check",
        "x = 1\n%kaleyard run -p N=2",
        "y = %kaleyard show",
    ],
)
@pytest.mark.parametrize("tags", ["", "imports", "step:late"])
def test_kaleyards_own_magic_must_not_become_a_steps_code(source: str, tags: str, tmp_path: Path) -> None:
    found_here = [f for f in found(tmp_path, SHOW, (source, tags)) if f.code == "KY605"]
    assert [(f.place.cell, f.is_error) for f in found_here] == [(2, True)]


@pytest.mark.parametrize("tags", ["skip", "markdown"])
def test_kaleyards_own_magic_may_stand_where_no_step_gets_it(tags: str, tmp_path: Path) -> None:
    assert codes(tmp_path, SHOW, ("%load_ext kaleyard\n%kaleyard check", tags)) == []


def test_other_magics_and_texts_about_kaleyard_are_no_commands(tmp_path: Path) -> None:
    assert codes(tmp_path, ("%load_ext autoreload\nprint('%kaleyard check')  # kaleyard", "step:show")) == []
