from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kaleyard.config import find_project
from kaleyard.errors import CheckError
from kaleyard.rules.checker import RULES, check
from kaleyard.rules.rules_reference import rules_page
from kaleyard.rules.sarif import sarif
from notebook_builder import NotebookCells, load, notebook
from rule_findings import codes, found

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("code", RULES)
def test_the_example_of_a_rule_breaks_that_rule_and_no_other(code: str, tmp_path: Path) -> None:
    rule = RULES[code]
    for name in rule.files:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("1")
    assert rule.example
    assert set(codes(tmp_path, *rule.example)) == {code}


@pytest.mark.parametrize("code", RULES)
def test_a_rule_has_a_code_a_title_and_an_advice_in_one_sentence_or_two(code: str) -> None:
    rule = RULES[code]
    assert rule.code == code
    assert rule.title[0].islower() or rule.title.startswith("`")
    assert rule.advice().endswith(".")
    assert len(rule.advice()) < 200


def test_the_page_about_the_rules_is_what_the_code_says() -> None:
    assert (ROOT / "docs" / "rules.md").read_text(encoding="utf-8") == rules_page()


def test_the_reference_notebooks_break_no_rule() -> None:
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        found = check(path, find_project(path))[0]
        # Whether the base image is locked depends on whether a registry could be asked.
        assert [str(f) for f in found if f.code != "KY406"] == []


BROKEN: tuple[NotebookCells, ...] = (("print('hello')", ""), ("print(1)", "step:show"))


def test_a_rule_switched_off_in_a_project_is_told_as_disabled(tmp_path: Path) -> None:
    (one,) = found(tmp_path, *BROKEN, disable=("KY601",))
    assert (one.code, one.disabled) == ("KY601", "[tool.kaleyard] disable")
    assert "(disabled by [tool.kaleyard] disable)" in str(one)
    assert one.to_dict()["disabled"]


def test_a_rule_switched_off_in_a_cell_is_told_as_disabled_there_alone(tmp_path: Path) -> None:
    cells = [("# kaleyard: disable=KY601, KY603\nprint('a')", ""), ("print('b')", ""), BROKEN[1]]
    one, other = found(tmp_path, *cells)
    assert (one.place.cell, one.disabled) == (1, "a comment in cell 1")
    assert (other.place.cell, other.disabled) == (2, "")


def test_an_error_that_is_switched_off_stops_nothing(tmp_path: Path) -> None:
    cell = "print(totl)"
    with pytest.raises(CheckError, match="KY201"):
        load(tmp_path, (cell, "step:show"))
    assert load(tmp_path, (f"# kaleyard: disable=KY201\n{cell}", "step:show")).names == ("show",)


def test_the_setting_that_switches_rules_off_is_read_from_pyproject(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.kaleyard]\ndisable = ["KY601"]\n')
    path = notebook(tmp_path / "nb.ipynb", *BROKEN)
    assert [f.disabled for f in check(path, find_project(path))[0]] == ["[tool.kaleyard] disable"]


def test_an_unknown_code_that_is_switched_off_is_told_with_the_likely_one(tmp_path: Path) -> None:
    (one,) = found(tmp_path, ("print(1)", "step:show"), disable=("ky601",))
    assert (one.code, one.place.cell) == ("KY604", None)
    assert "Did you mean KY601?" in one.advice


def test_a_cell_that_cannot_be_read_is_told_even_if_that_is_switched_off(tmp_path: Path) -> None:
    (one,) = found(tmp_path, ("# kaleyard: disable=KY100\nx = = 1", "step:show"), disable=("KY100",))
    assert (one.code, one.is_error) == ("KY100", True)


def test_a_finding_names_notebook_cell_step_and_line(tmp_path: Path) -> None:
    (one,) = found(tmp_path, ("total = 1", "step:sum"), ("# a comment\nprint(totl)", "step:show"))
    assert (one.place.notebook, one.place.cell, one.place.step, one.line) == ("nb.ipynb", 2, "show", 2)
    assert "Did you mean `total`?" in one.advice


@pytest.mark.parametrize(
    ("cells", "wanted"),
    [
        ([("def f(): return missing", "functions"), ("print(f())", "step:a")], ["KY201"]),
        ([("print(f'{missing:>{width}}')", "step:a")], ["KY201", "KY201"]),
        ([("%time missing()", "step:a")], ["KY201"]),
        ([("%%time\nmissing()", "step:a")], ["KY201"]),
        ([("value = %time missing()", "step:a")], ["KY201"]),
        ([("!echo {missing} $HOME", "step:a")], []),
        ([("%%bash\necho {missing}", "step:a")], []),
        ([("[x for x in range(3) if missing]", "step:a")], ["KY201"]),
        ([("class A:\n    def f(self): return missing", "step:a")], []),
        ([("class A:\n    x = missing", "step:a")], ["KY201"]),
        ([("try:\n    missing\nexcept NameError:\n    pass", "step:a")], ["KY201"]),
        ([("x = 1", "skip"), ("print(x)", "step:a")], ["KY201"]),
        ([("from math import *", "imports"), ("print(sqrt(4), anything)", "step:a")], []),
        ([("print(__name__, __doc__)", "step:a")], []),
    ],
)
def test_names_nothing_makes_are_told_wherever_they_hide(
    cells: list[NotebookCells], wanted: list[str], tmp_path: Path
) -> None:
    assert codes(tmp_path, *cells) == wanted


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("import nosuchpackage", ["KY401"]),
        ("try:\n    import nosuchpackage\nexcept ImportError:\n    nosuchpackage = None", []),
        ("try:\n    import nosuchpackage\nexcept ValueError:\n    pass", ["KY401"]),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import nosuchpackage", []),
        ("import json, numpy", []),
        ("def f():\n    import nosuchpackage", ["KY401"]),
        ("from . import x", ["KY402"]),
        ("import mine.part", []),
        ("import mine.missing", ["KY402"]),
        ("import broken", ["KY402"]),
        ("!pip install numpy", ["KY405"]),
        ("%pip install numpy", ["KY405"]),
        ("!python -m pip install numpy", ["KY405"]),
        ("!pip list", []),
    ],
)
def test_imports_that_would_fail_in_the_step_are_told(source: str, told: list[str], tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "__init__.py").write_text("")
    (tmp_path / "mine" / "part.py").write_text("")
    (tmp_path / "broken.py").write_text("def = 1")
    assert codes(tmp_path, (source, "step:a")) == told


@pytest.mark.parametrize(
    "secret",
    [
        "AKIA" + "IOSFODNN7EXAMPLE",
        "ghp_" + "a" * 36,
        "https://user:" + "hunter22@example.org/x",
        "-----BEGIN RSA " + "PRIVATE KEY-----",
        "hf_" + "abcdefghij" * 4,
        "sk-" + "abcd1234" * 5,
        "xoxb-" + "123456789012-abc",
        "AIza" + "A" * 35,
    ],
)
def test_a_secret_in_a_cell_is_told_and_not_repeated(secret: str, tmp_path: Path) -> None:
    (one,) = found(tmp_path, ("print(1)", "step:a"), (f"token is {secret}", "markdown"))
    assert one.code == "KY603"
    assert secret not in str(one)


@pytest.mark.parametrize(
    "text", ["https://user:{password}@host", "https://example.org:80/a@b", "task-" + "a" * 40, "sk-learn", "git@host:x"]
)
def test_what_only_looks_like_a_secret_is_let_through(text: str, tmp_path: Path) -> None:
    assert codes(tmp_path, ("print(1)", "step:a"), (text, "markdown")) == []


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("v = (x for x in range(3))", ["KY502"]),
        ("v = open('nosuch.txt')", ["KY502"]),
        ("import threading\nv = threading.Lock()", ["KY502"]),
        ("from threading import Lock as L\nv = L()", ["KY502"]),
        ("v = map(str, [1])", ["KY502"]),
        ("import itertools\nv = itertools.count()", ["KY502"]),
        ("def g():\n    yield 1\nv = g()", ["KY502"]),
        ("async def g(): return 1\nv = g()", ["KY502"]),
        ("async def g(): return 1\nv = await g()", []),
        ("import sqlite3\nv = sqlite3.connect('x')", ["KY502"]),
        ("v = lambda: 1", []),
        ("def v(): return 1", []),
        ("v = [x for x in range(3)]", []),
        ("def open(x): return 1\nv = open(2)", []),
        ("from dataclasses import dataclass\n@dataclass\nclass A:\n    x: int = 1\nv = A()", []),
        ("class A: pass\nv = A()", ["KY501"]),
        ("import re\nv = re.compile('a')", ["KY501"]),
        ("from functools import partial\nv = partial(print, 1)", ["KY501"]),
    ],
)
def test_values_that_travel_badly_or_not_at_all_are_told(source: str, told: list[str], tmp_path: Path) -> None:
    assert codes(tmp_path, (source, "step:make"), ("print(v)", "step:show")) == told


@pytest.mark.parametrize(
    ("sources", "told"),
    [
        (["open('/tmp/o.txt', 'w').write('1')", "print(open('/tmp/o.txt').read())"], ["KY404"]),
        (["from pathlib import Path\nPath('/tmp/o.txt').write_text('1')", "open('/tmp/o.txt')"], ["KY404"]),
        (["from pathlib import Path\nPath('o.txt').write_text('1')", "open('./o.txt')"], []),
        (["from pathlib import Path\np = Path('o.txt')\np.write_text('1')", "print(p.read_text())"], []),
        (["open('o.txt', 'w').write('1')", "open('o.txt', 'w').write('2')\nopen('o.txt')"], []),
        (["print(open('o.txt').read())", "open('o.txt', 'w').write('1')"], []),
    ],
)
def test_a_file_that_an_earlier_step_writes_is_told(sources: list[str], told: list[str], tmp_path: Path) -> None:
    assert codes(tmp_path, *((s, f"step:s{n}") for n, s in enumerate(sources))) == told


def test_outputs_of_a_run_out_of_order_are_told_once(tmp_path: Path) -> None:
    assert codes(tmp_path, ("print(1)", "step:a run:5"), ("print(2)", "run:4"), ("print(3)", "run:3")) == ["KY602"]
    assert codes(tmp_path, ("print(1)", "step:a run:1"), ("print(2)", ""), ("print(3)", "run:3")) == []


@pytest.mark.parametrize("value", ["'good'", "[1]", "{'a': 1}", "None", "f'{1}'", "(1, 2)"])
def test_a_metric_that_is_written_out_as_no_number_is_told(value: str, tmp_path: Path) -> None:
    assert codes(tmp_path, (f"m = {value}", "step:a"), ("print(m)", "pipeline-metrics")) == ["KY304"]


@pytest.mark.parametrize("value", ["1", "0.5", "True", "float('1')", "-1.5"])
def test_a_metric_that_may_be_a_number_is_let_through(value: str, tmp_path: Path) -> None:
    assert codes(tmp_path, (f"m = {value}", "step:a"), ("print(m)", "pipeline-metrics")) == []


def test_two_steps_with_one_name_on_a_cluster_are_told(tmp_path: Path) -> None:
    assert codes(tmp_path, ("print(1)", "step:load_a"), ("print(2)", "step:load__a")) == ["KY104"]


@pytest.mark.parametrize("name", ["import", "list", "json", "class_", "id", "type", "self"])
def test_a_step_may_be_called_what_python_calls_something_else(name: str, tmp_path: Path) -> None:
    assert load(tmp_path, ("x = 1", f"step:{name}"), ("print(x)", "step:show")).names == (name, "show")


def test_sarif_names_notebook_cell_step_and_rule_and_is_the_same_each_time(tmp_path: Path) -> None:
    findings = found(tmp_path, ("total = 1", "step:sum"), ("print(totl)", "step:show"), ("print(1)", "step:sum"))
    document = sarif(findings)
    assert json.dumps(document) == json.dumps(sarif(findings))
    (run,) = document["runs"]
    results = {r["ruleId"]: r for r in run["results"]}
    assert set(results) == {"KY201", "KY105"}
    one = results["KY201"]
    assert run["tool"]["driver"]["rules"][one["ruleIndex"]]["id"] == "KY201"
    assert one["level"] == "error"
    assert one["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "nb.ipynb"
    assert [p["name"] for p in one["locations"][0]["logicalLocations"]] == ["show", "cell 2"]
    assert one["properties"] == {"cell": 2, "line": 1, "step": "show"}


def test_sarif_tells_what_is_switched_off_as_suppressed(tmp_path: Path) -> None:
    cells = [("# kaleyard: disable=KY601\nprint('a')", ""), BROKEN[1]]
    (result,) = sarif(found(tmp_path, *cells))["runs"][0]["results"]
    assert result["suppressions"] == [{"kind": "inSource", "justification": "disabled by a comment in cell 1"}]
    (result,) = sarif(found(tmp_path, *BROKEN, disable=("KY601",)))["runs"][0]["results"]
    assert result["suppressions"][0]["kind"] == "external"


def test_a_check_starts_no_kernel_and_imports_nothing_of_the_notebook(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("raise SystemExit('imported')")
    path = notebook(tmp_path / "nb.ipynb", ("import mine, numpy", "imports"), ("print(mine, numpy)", "step:a"))
    code = (
        "import sys; from pathlib import Path; from kaleyard.rules.checker import check\n"
        "from kaleyard.config import Project\n"
        f"found, _ = check(Path({str(path)!r}), Project(Path({str(tmp_path)!r})))\n"
        "assert not found, found\n"
        "assert not {'mine', 'jupyter_client', 'ipykernel.kernelapp'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


SHARED: list[NotebookCells] = [
    ("import os", "imports"),
    ("def f(x): return len(x)\ndef g(y): return f(y)", "functions"),
    ("N = 3", "pipeline-parameters"),
]


def test_three_hundred_steps_are_checked_in_seconds(tmp_path: Path) -> None:
    load(tmp_path, ("x = 1", "step:a"))  # Kale is imported once
    steps = [
        (f"v{i} = f([{f'v{i - 1}' if i else 'N'}, N])\nw{i} = {{'a': v{i}}}\nw{i}['b'] = g([1])", f"step:s{i}")
        for i in range(300)
    ]
    start = time.process_time()
    assert codes(tmp_path, *SHARED, *steps) == []
    assert time.process_time() - start < 15


def test_two_thousand_cells_are_checked_in_seconds(tmp_path: Path) -> None:
    load(tmp_path, ("x = 1", "step:a"))
    cells = [
        (f"a{i} = f([{i}])\nb{i} = a{i - 1 if i else i}\nprint(b{i})", "" if i % 40 else f"step:s{i // 40}")
        for i in range(1997)
    ]
    start = time.process_time()
    assert codes(tmp_path, *SHARED, *cells) == []
    assert time.process_time() - start < 40
