"""The rules about parameters and metrics, case by case."""

from __future__ import annotations

from pathlib import Path

import pytest

from notebook_builder import NotebookCells
from rule_findings import codes, found


def test_a_parameter_that_is_no_literal_is_told_with_its_line(tmp_path: Path) -> None:
    (one,) = found(tmp_path, ("A = 1\nB = 6 * 7", "pipeline-parameters"), ("print(A)", "step:a"))
    assert (one.code, one.place.cell, one.line) == ("KY301", 1, 2)
    assert "B" in one.what


@pytest.mark.parametrize(
    ("metrics", "line", "what"),
    [
        ("print(scroe)", None, "no step defines the metric `scroe`"),
        ("print(score)\nprint(score + 1)", 2, ""),
        ("print(score)\nlost = 1", 2, ""),
    ],
)
def test_a_metric_that_is_not_made_is_told(metrics: str, line: int | None, what: str, tmp_path: Path) -> None:
    (one,) = found(tmp_path, ("score = 0.5", "step:test"), (metrics, "pipeline-metrics"))
    assert (one.code, one.place.cell, one.line) == ("KY302", 2, line)
    assert what in one.what


K = ("K = 1\nL = [1]", "pipeline-parameters")


@pytest.mark.parametrize(
    ("cell", "place"),
    [
        (("K = 2", "step:a"), (2, "a", 1)),
        (("1\nK += 2", "step:a"), (2, "a", 2)),
        (("1\nL.append(2)", "step:a"), (2, "a", 2)),
        (("if len('a'):\n    K = 2", "step:a"), (2, "a", 2)),
        (("def f(): return 1\nK = 2", "functions"), (2, None, 2)),
        (("L.append(1)", "functions"), (2, None, 1)),
    ],
)
def test_a_parameter_that_gets_another_value_is_told_where(
    cell: NotebookCells, place: tuple[int, str | None, int], tmp_path: Path
) -> None:
    told = [f for f in found(tmp_path, K, cell, ("print(K, L)", "step:last")) if f.code == "KY303"]
    assert [(f.place.cell, f.place.step, f.line) for f in told] == [place]
    assert "is modified" in told[0].what


@pytest.mark.parametrize("source", ["print(K)", "k = K", "def f(K): return K", "x = [K for _ in L]", "J = 2"])
def test_a_parameter_that_is_only_used_is_let_through(source: str, tmp_path: Path) -> None:
    assert codes(tmp_path, K, (source, "step:a")) == []


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("m = [1]", "a list"),
        ("m = [x for x in [1]]", "a list"),
        ("m = (1, 2)", "a tuple"),
        ("m = {'a': 1}", "a dict"),
        ("m = {x: 1 for x in [1]}", "a dict"),
        ("m = {1}", "a set"),
        ("m = (x for x in [1])", "a generator"),
        ("m = f'{1}'", "a str"),
        ("m = 'a'", "a str"),
        ("m = b'a'", "a bytes"),
        ("m = None", "None"),
        ("m = 1\nm = 'a'", "a str"),
        ("n = m = 'a'", "a str"),
        ("m: str = 1\nm = 'a'", "a str"),
        ("m = 'a'\nn = 1", "a str"),
        ("n = 1; m = 'a'", "a str"),
    ],
)
def test_a_metric_that_is_written_out_as_something_else_is_told_by_kind(source: str, kind: str, tmp_path: Path) -> None:
    (one,) = found(tmp_path, (source, "step:a"), ("print(m)", "pipeline-metrics"))
    assert (one.code, one.place.cell, one.place.step) == ("KY304", 2, "a")
    assert one.what == f"the metric `m` is {kind}, not a number"


@pytest.mark.parametrize(
    "source",
    [
        *("m = 1", "m = 0.5", "m = True", "m = 'a'\nm = 1", "m = len('a')", "for m in [1]:\n    n = 'a'"),
        *("m, n = 1, 'a'", "m = 1; n = 'a'", "m = 'a'\nif len('a'):\n    m = 1"),
    ],
)
def test_a_metric_that_may_be_a_number_is_not_told(source: str, tmp_path: Path) -> None:
    assert codes(tmp_path, (source, "step:a"), ("print(m)", "pipeline-metrics")) == []
