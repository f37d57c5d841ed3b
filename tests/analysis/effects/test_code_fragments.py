"""Cells as syntax: magics, line ends, and the statements that a cell is cut into."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from kaleyard.analysis.effects.code_fragments import units
from kaleyard.analysis.effects.name_effects import NameEffects
from kaleyard.analysis.effects.statements import trace
from kaleyard.errors import Location, NotebookError
from kaleyard.notebook.cell_syntax import parse_cell
from kaleyard.notebook.magics import magic_calls
from notebook_builder import NotebookCells, load

HERE = Location("nb.ipynb", 1)


def names(source: str) -> NameEffects:
    return trace([(1, parse_cell(source, HERE))])


@pytest.mark.parametrize(
    ("source", "reads", "makes"),
    [
        ("%time y = x", {"x"}, {"y"}),
        ("z = %time f(x)", {"f", "x"}, {"z"}),
        ("%timeit -n 1 -r 1 f(x)", {"f", "x"}, set()),
        ("%%time\ny = x", {"x"}, {"y"}),
        ("%%timeit\ny = 1", set(), set()),
        ("%%capture out\ny = x", {"x"}, {"out", "y"}),
        ("%%capture\n%%time\ny = x", {"x"}, {"y"}),
        ("%%bash --out res\necho {x} $y", set(), {"res"}),
        ("%matplotlib inline\ny = 1", set(), {"y"}),
        ("lines = !ls", set(), {"lines"}),
        ("%%html\n<b>{x}</b>", set(), set()),
        ("x?\n", set(), set()),
    ],
)
def test_the_python_in_magics_counts(source: str, reads: set[str], makes: set[str]) -> None:
    found = names(source)
    assert set(found.reads) - {"get_ipython"} == reads
    assert found.makes == makes


@pytest.mark.parametrize("source", ["!echo {x}", "!echo $x", "files = !ls {x}", "%cd {x}", "%%bash {x}\necho"])
def test_names_in_shell_lines_may_be_read_and_are_not_missed(source: str, tmp_path: Path) -> None:
    assert "x" in names(source).maybe_reads
    assert load(tmp_path, ("x = 1", "step:a"), (source, "step:b")).steps[1].inputs[0].name == "x"
    assert load(tmp_path, (source, "step:b")).names == ("b",)


def test_a_cell_that_runs_another_file_may_bind_any_name(tmp_path: Path) -> None:
    assert load(tmp_path, ("%run other.py\nprint(anything)", "step:a")).names == ("a",)


@pytest.mark.parametrize(
    "source", ["x = = 1", "%%time\nx = = 1", "return 1", "x = yield 1", "break", "x = 'a\x00'", "def f(:", "a\nb c"]
)
def test_what_python_cannot_run_is_told_with_its_line(source: str) -> None:
    with pytest.raises(NotebookError, match=r"line \d"):
        parse_cell(source, HERE)


def sources(source: str) -> list[str]:
    return [u.source for u in units(1, source, HERE)]


@pytest.mark.parametrize(
    ("source", "pieces"),
    [
        ("a = 1\nb = 2", ["a = 1", "b = 2"]),
        ("a = 1; b = 2\nc = 3", ["a = 1; b = 2", "c = 3"]),
        ("# about a\na = 1\n\n# about b\nb = 2", ["# about a\na = 1", "# about b\nb = 2"]),
        ("@d\n# why\ndef f():\n    pass\nx = 1", ["@d\n# why\ndef f():\n    pass", "x = 1"]),
        ("x = '''\n  a\n'''\ny = 1", ["x = '''\n  a\n'''", "y = 1"]),
        ("x = '''a\nb'''; y = 1", ["x = '''a\nb'''; y = 1"]),
        ("x = 'a\u2028b'\ny = 1", ["x = 'a\u2028b'", "y = 1"]),
        ("x = 1\n\x0cy = 2", ["x = 1", "\x0cy = 2"]),
        ("if True: a = 1; b = 2", ["if True: a = 1; b = 2"]),
        ("x = 1 + \\\n  2\ny = 3", ["x = 1 + \\\n  2", "y = 3"]),
        ("%matplotlib inline\nimport json", ["%matplotlib inline", "import json"]),
        ("%%time\na = 1\nb = 2", ["a = 1", "b = 2"]),
        ("a = 1\n!echo a \\\n  b\nc = 2", ["a = 1\n!echo a \\\n  b\nc = 2"]),
        ("", []),
        ("# only a comment", []),
    ],
)
def test_a_cell_is_cut_into_statements_that_stand_alone(source: str, pieces: list[str]) -> None:
    assert sources(source) == pieces


@pytest.mark.parametrize("source", ["x = {\n  'a': 1}\n", "def f():\n\treturn 1", 'x = "\\\\"', "x = '''{a}\"\"\"'''"])
def test_quotes_backslashes_and_braces_come_through_as_they_are(source: str) -> None:
    assert sources(source) == [source.strip("\n")]


@pytest.mark.parametrize(
    ("source", "is_definition", "is_effect"),
    [
        ("import json", True, False),
        ("def f(): return 1", True, False),
        ("class A: pass", True, False),
        ("f = lambda: 1", True, False),
        ("try:\n    import a\nexcept ImportError:\n    a = None", True, False),
        ("x = 1", False, False),
        ("print(1)", False, True),
        ("pd.options.x = 1", False, True),
        ("d['a'] = 1", False, True),
    ],
)
def test_definitions_travel_and_effects_go_along(source: str, is_definition: bool, is_effect: bool) -> None:
    (unit,) = units(1, source, HERE)
    assert (unit.is_definition, unit.is_effect) == (is_definition, is_effect)


def test_a_matplotlib_magic_goes_only_where_matplotlib_goes(tmp_path: Path) -> None:
    cells: list[NotebookCells] = [
        ("import json\nimport matplotlib.pyplot as plt\n%matplotlib inline", "imports"),
        ("print(json.dumps(1))", "step:text"),
        ("plt.plot([1])", "step:plot"),
    ]
    text, plot = load(tmp_path, *cells).steps
    assert [c.source for c in text.setup] == ["import json"]
    assert [c.source for c in plot.setup] == ["import matplotlib.pyplot as plt\n%matplotlib inline"]


def test_windows_line_ends_are_those_of_python(tmp_path: Path) -> None:
    pipeline = load(tmp_path, ("def f():\r\n    return '''a\r\nb'''\r\n", "functions"), ("print(f())", "step:a"))
    assert pipeline.steps[0].setup[0].source == "def f():\n    return '''a\nb'''"


def test_a_cell_is_parsed_once() -> None:
    assert parse_cell("a = 1", HERE) is parse_cell("a = 1", Location("other.ipynb", 7))
    assert isinstance(parse_cell("a = 1", HERE), ast.Module)


@pytest.mark.parametrize("line", ["pip install -q six", "matplotlib inline", "  ls -l  ", "cd .."])
def test_a_line_that_ipython_takes_for_a_magic_needs_no_percent_sign(line: str) -> None:
    (told,) = [texts[0] for node in parse_cell(line, Location("nb")).body for _, texts in magic_calls(node)]
    assert told == line.split(maxsplit=1)[0]


@pytest.mark.parametrize("source", ["pip install -q six\nx = 1", "pips install six"])
def test_what_ipython_takes_for_no_magic_is_no_python(source: str) -> None:
    with pytest.raises(NotebookError, match="invalid Python syntax"):
        parse_cell(source, Location("nb"))


def test_a_name_of_a_magic_is_a_variable_where_it_is_valid_python() -> None:
    assert names("ls = [1]").makes == {"ls"}
    assert "env" in names("env").reads
