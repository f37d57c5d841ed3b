"""A composed notebook from top to bottom: in Jupyter, papermill, nbclient and nbval, and still read by Kale."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml
from nbclient import NotebookClient

import kaleyard
from composed_notebook import compose, flows
from kaleyard.config import find_project
from kaleyard.notebook.composition import runs_itself
from kaleyard.notebook.document import read_notebook
from kaleyard.notebook.kale_loader import kale_reader
from kaleyard.reporting.console import SilentReporter
from kaleyard.rules.checker import check
from notebook_builder import NotebookCells, notebook
from notebook_kernel import Kernel, refused

LOAD: NotebookCells = ("%load_ext kaleyard", "skip")
FIT: tuple[NotebookCells, ...] = (
    ("print('only on its own')\nrows = [1]", "skip"),
    ("KIND = 'plain'\nDEPTH = 1", "pipeline-parameters"),
    ("def twice(x):\n    return 2 * x", "functions"),
    ("part = twice(rows[0])", "step:prepare"),
    ("rmse = part * DEPTH\nprint(KIND, rmse)", "step:fit"),
)
ROOT: tuple[NotebookCells, ...] = (
    LOAD,
    ("DEPTH = 3", "pipeline-parameters"),
    ("rows = [3, 4]", "step:start"),
    ("# one", "notebook:one"),
    ("%kaleyard include parts/fit.ipynb -o rmse=rmse_one", "skip"),
    ("# two", "notebook:two"),
    ("%kaleyard include parts/fit.ipynb -p KIND=deep -p DEPTH=10 -o rmse=rmse_two", "skip"),
    ("both = [rmse_one, rmse_two, DEPTH]\nlast = max(both)\nboth", "step:compare"),
    ("print(last)", "pipeline-metrics"),
)
TOLD: dict[str, dict[str, Any]] = {
    "one": {"notebook_path": "parts/fit.ipynb", "notebook_outputs": {"rmse": "rmse_one"}},
    "two": {
        "notebook_path": "parts/fit.ipynb",
        "notebook_parameters": {"KIND": "deep", "DEPTH": 10},
        "notebook_outputs": {"rmse": "rmse_two"},
    },
}


def write(folder: Path, *cells: NotebookCells) -> Path:
    """The composed notebook and its part, in a folder of notebooks."""
    notebook(folder / "parts" / "fit.ipynb", *FIT)
    return compose(folder / "root.ipynb", *(cells or ROOT), **TOLD)


def whole(path: Path) -> list[list[Any]]:
    """The outputs of the code cells, run from top to bottom by nbclient."""
    made = nbformat.read(path, as_version=4)
    NotebookClient(made, timeout=300, resources={"metadata": {"path": str(path.parent)}}).execute()
    return [c.outputs for c in made.cells if c.cell_type == "code"]


def copied(repository: Path, to: Path) -> Path:
    """The composed notebook of this repository in a copy of the notebooks."""
    shutil.copytree(repository / "notebooks", to / "notebooks", ignore=shutil.ignore_patterns("package"))
    (to / "pyproject.toml").write_text("[tool.kaleyard]\n")
    return to / "notebooks" / "compare.ipynb"


# -- the same as the pipeline --------------------------------------------------------------------------------


def test_the_whole_gives_what_the_pipeline_gives(project: Path) -> None:
    root = write(project / "notebooks")
    *_, one, _, two, both, metric = whole(root)
    assert [o.text for o in (*one, *two, *metric)] == ["plain 18\n", "deep 60\n", "60\n"]
    done = kaleyard.run(root, reporter=SilentReporter())
    assert done.state == "done", [s.error for s in done.steps.values() if s.error]
    assert json.loads(done.artifact("compare", "both").read_text()) == [18, 60, 3]
    assert both[0].data["text/plain"] == "[18, 60, 3]"
    assert kaleyard.check(root) == []
    assert runs_itself(read_notebook(root))


def test_a_line_in_the_cell_itself_is_enough_and_gives_the_same_pipeline(project: Path) -> None:
    by_metadata = kaleyard.read(write(project / "notebooks"))
    lines = [(source, tags) for source, tags in ROOT if not str(source).startswith("#")]
    names = iter(("one", "two"))
    cells = [(s, f"notebook:{next(names)}") if "include" in s else (s, t) for s, t in lines]
    root = notebook(project / "notebooks" / "root.ipynb", *cells)
    by_line = kaleyard.read(root)
    assert by_line.names == by_metadata.names
    assert flows(by_line) == flows(by_metadata)
    assert by_line.defaults() == by_metadata.defaults()
    assert [s.parameters for s in by_line.steps] == [s.parameters for s in by_metadata.steps]
    assert [c.source for s in by_line.steps for c in s.cells] == [c.source for s in by_metadata.steps for c in s.cells]
    assert kaleyard.check(root) == []
    assert whole(root)[-2][0].data["text/plain"] == "[18, 60, 3]"


def test_ipythons_own_run_is_an_include_too(project: Path) -> None:
    notebook(project / "notebooks" / "part.ipynb", ("a = 2", "step:a"))
    root = notebook(
        project / "notebooks" / "root.ipynb", ("%run part.ipynb", "notebook:part"), ("b = a + 1\nb", "step:b")
    )
    assert kaleyard.check(root) == []
    assert flows(kaleyard.read(root)) == {"part": [], "b": [("a", "part")]}
    assert whole(root)[-1][0].data["text/plain"] == "3"


# -- the tools that run notebooks ----------------------------------------------------------------------------


def test_papermill_runs_the_repositorys_notebook_and_its_parameters_reach_the_parts(
    repository: Path, tmp_path: Path
) -> None:
    folder = copied(repository, tmp_path).parent
    told = [x for name, value in {"TREES": "2", "ROUNDS": "2", "SEED": "7"}.items() for x in ("-p", name, value)]
    command = [sys.executable, "-m", "papermill", "compare.ipynb", "out.ipynb", *told, "--cwd", str(folder)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    cells = json.loads((folder / "out.ipynb").read_text())["cells"]
    assert sum("image/png" in o.get("data", {}) for c in cells for o in c.get("outputs", ())) == 5
    metric = float(cells[-1]["outputs"][0]["text"][0])
    pipeline = kaleyard.run(folder / "compare.ipynb", {"TREES": 2, "ROUNDS": 2, "SEED": 7}, reporter=SilentReporter())
    assert pipeline.metrics == {"best_rmse": metric}


def test_nbval_compares_what_the_included_notebook_gives(project: Path) -> None:
    root = write(project / "notebooks")
    made = nbformat.read(root, as_version=4)
    NotebookClient(made, resources={"metadata": {"path": str(root.parent)}}).execute()
    nbformat.write(made, root)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval", "root.ipynb"]
    done = subprocess.run(command, cwd=root.parent, capture_output=True, text=True, check=False)
    assert "9 passed" in done.stdout, done.stdout
    notebook(root.parent / "parts" / "fit.ipynb", *FIT[:-1], ("rmse = 1\nprint(KIND)", "step:fit"))
    done = subprocess.run(command, cwd=root.parent, capture_output=True, text=True, check=False)
    assert "4 failed" in done.stdout, done.stdout


# -- Kale ----------------------------------------------------------------------------------------------------


def test_kales_own_command_line_compiles_a_composed_notebook(tmp_path: Path) -> None:
    cells = [
        LOAD,
        ("rows = [3, 4]", "step:start"),
        ("# one", "notebook:one"),
        ("%kaleyard include parts/fit.ipynb", "skip"),
        ("print(rmse)", "step:compare"),
    ]
    write(tmp_path, *cells)
    compose(tmp_path / "root.ipynb", *cells, one={"notebook_path": "parts/fit.ipynb"})
    command = [str(Path(sys.executable).with_name("kale")), "--nb", "root.ipynb"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (made,) = tmp_path.glob(".kale/*.yaml")
    tasks = next(iter(yaml.safe_load_all(made.read_text())))["root"]["dag"]["tasks"]
    assert len(tasks) == 3


def kales_own(path: Path) -> tuple[list[str], str, str]:
    """The steps, metrics and shared code that Kale reads; parts, papermill's tags in them, are left aside."""
    with kale_reader() as (nbprocessor, kale_step):

        class Processor(nbprocessor.NotebookProcessor):  # type: ignore[misc, name-defined]
            def _add_notebook_reference(self, name: str, rel_path: str) -> None:
                assert (path.parent / rel_path).is_file()
                self.pipeline.add_step(kale_step.Step(name=name, source=[f"# {rel_path}"]))

        processor = Processor(str(path), {"pipeline_name": "whole", "experiment_name": "whole"})
        _, metrics, shared = processor.parse_notebook()
        return list(processor.pipeline.nodes), metrics, "".join(shared)


def test_kales_reader_accepts_the_cells_of_the_repositorys_notebook(repository: Path) -> None:
    path = repository / "notebooks" / "compare.ipynb"
    steps, metrics, shared = kales_own(path)
    assert steps == ["prepare", "linear", "forest", "boosting", "choose"]
    assert "best_rmse" in metrics
    assert "kaleyard" not in shared
    assert runs_itself(read_notebook(path))


def test_kale_refuses_the_line_in_the_cell_itself_so_it_stands_below(project: Path) -> None:
    cells = [("%run parts/fit.ipynb" if source == "# one" else source, tags) for source, tags in ROOT]
    with pytest.raises(ValueError, match="`notebook:one` cell contains code"):
        kales_own(write(project / "notebooks", *cells))
    assert kales_own(write(project / "notebooks"))[0] == ["start", "one", "two", "compare"]


# -- what an include does ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    root = tmp_path_factory.mktemp("project")
    (root / "pyproject.toml").write_text("[tool.kaleyard]\n")
    (root / "notebooks").mkdir()
    notebook(root / "notebooks" / "here.ipynb", ("x = 1", "step:x"))
    made = Kernel(root / "notebooks")
    yield made
    made.client._cleanup_kernel()


def told(outputs: list[Any]) -> list[str]:
    """What outputs say, as text."""
    return [o.get("text", "").strip() or o.get("data", {}).get("text/plain", "") for o in outputs]


def test_what_cells_display_is_shown_one_after_the_other(kernel: Kernel) -> None:
    notebook(
        kernel.folder / "shows.ipynb",
        ("print('first')", "step:a"),
        ("1 + 1", ""),
        ("2 + 2;", ""),
        ("from IPython.display import HTML\nHTML('<b>third</b>')", ""),
        ("import asyncio\nawait asyncio.sleep(0)\n'waited'", ""),
    )
    outputs = kernel.run("%kaleyard include shows.ipynb")
    assert told(outputs) == ["first", "2", "<IPython.core.display.HTML object>", "'waited'"]
    assert told(kernel.run("%%capture kept\n%kaleyard include shows.ipynb")) == []
    assert told(kernel.run("await asyncio.sleep(0)\nkept.stdout")) == [r"'first\n'"]


def test_the_included_notebook_stands_in_its_own_folder_at_every_level(kernel: Kernel) -> None:
    deep = kernel.folder / "deep"
    notebook(deep / "leaf" / "leaf.ipynb", ("import beside\ntext = open('words.txt').read() + beside.end", "step:read"))
    (deep / "leaf" / "words.txt").write_text("deep words")
    (deep / "leaf" / "beside.py").write_text("end = '!'")
    compose(
        deep / "middle.ipynb",
        ("# leaf", "notebook:leaf"),
        ("%kaleyard include leaf/leaf.ipynb", "skip"),
        ("loud = text.upper()", "step:last"),
        leaf={"notebook_path": "leaf/leaf.ipynb", "notebook_outputs": {"text": "words"}},
    )
    assert kernel.run("import os, sys\nbefore = os.getcwd(), list(sys.path)") == []
    assert kernel.run("%kaleyard include deep/middle.ipynb") == []
    assert told(kernel.run("loud, words, before == (os.getcwd(), list(sys.path))")) == [
        "('DEEP WORDS!', 'deep words!', True)"
    ]


def test_values_of_parameters_hold_for_one_use_and_this_notebooks_own_win(kernel: Kernel) -> None:
    notebook(
        kernel.folder / "asks.ipynb",
        ("LEFT = 1\nTHERE = 1\nGIVEN = 1.5\nNAMES = {}", "parameters"),
        ("seen = LEFT, THERE, GIVEN, NAMES", "step:see"),
    )
    kernel.run("THERE = 2")
    assert kernel.run("%kaleyard include asks.ipynb -p GIVEN=7 -p THERE=9 -p NAMES='{\"a\": [1]}'") == []
    assert told(kernel.run("seen, THERE")) == ["((1, 9, 7.0, {'a': [1]}), 2)"]
    assert kernel.run("%kaleyard include asks.ipynb -o seen=again") == []
    assert told(kernel.run("again, seen is again")) == ["((1, 2, 1.5, {}), True)"]
    kernel.run("LEFT = 5")
    assert kernel.run("%kaleyard include asks.ipynb") == []
    assert told(kernel.run("seen")) == ["(5, 2, 1.5, {})"]


def test_a_value_told_to_a_notebook_is_none_for_those_it_is_composed_of(kernel: Kernel) -> None:
    # As in the pipeline, where it is a constant of that notebook, and the other's parameter another thing.
    folder = kernel.folder / "told"
    notebook(folder / "leaf.ipynb", ("M = 1", "pipeline-parameters"), ("leaf = M", "step:leaf"))
    middle = (("M = 1", "pipeline-parameters"), ("# leaf", "notebook:leaf"), ("both = [M, leaf]\nboth", "step:both"))
    compose(folder / "middle.ipynb", *middle)
    root = compose(
        folder / "root.ipynb",
        ("# middle", "notebook:middle"),
        ("both", "step:end"),
        middle={"notebook_parameters": {"M": 3}},
    )
    assert told(kernel.run("%kaleyard include told/middle.ipynb -p M=3")) == ["[3, 1]"]
    done = kaleyard.run(root, reporter=SilentReporter())
    assert json.loads(done.artifact("middle_both", "both").read_text()) == [3, 1]


def test_an_error_is_the_cells_own_and_names_notebook_and_cell(kernel: Kernel) -> None:
    notebook(
        kernel.folder / "sub" / "fails.ipynb",
        ("# words", "markdown"),
        ("before_it = 1", "step:a"),
        ("def divide(): return 1 / 0\ndivide()", ""),
        ("after_it = 1", ""),
    )
    compose(kernel.folder / "sub" / "over.ipynb", ("# fails", "notebook:fails"))
    (error,) = kernel.run("%kaleyard include sub/over.ipynb")
    assert (error.output_type, error.ename, error.evalue) == ("error", "ZeroDivisionError", "division by zero")
    text = "\n".join(error.traceback)
    assert "in notebooks/sub/fails.ipynb: cell 3" in text
    assert "in notebooks/sub/over.ipynb: cell 1" in text
    assert "divide()" in text
    assert "include.py" not in text
    assert told(kernel.run("before_it, 'after_it' in globals(), os.getcwd() == before[0]")) == ["(1, False, True)"]


def test_an_error_that_a_cell_is_meant_to_raise_is_shown_and_the_rest_runs(kernel: Kernel) -> None:
    notebook(kernel.folder / "meant.ipynb", ("1 / 0", "step:a raises-exception"), ("print('on')", ""))
    error, on = kernel.run("%kaleyard include meant.ipynb")
    assert (error.output_type, on.text) == ("error", "on\n")


@pytest.mark.parametrize(
    ("source", "name"),
    [("x = = 1", "SyntaxError"), ("raise KeyboardInterrupt", "KeyboardInterrupt"), ("import nothing_here", None)],
)
def test_every_kind_of_error_is_told_once(source: str, name: str | None, kernel: Kernel) -> None:
    notebook(kernel.folder / "raises.ipynb", (source, "step:a"))
    (error,) = kernel.run("%kaleyard include raises.ipynb")
    assert error.ename == (name or "ModuleNotFoundError")
    assert "in notebooks/raises.ipynb: cell 1" in "\n".join(error.traceback)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("include", "the following arguments are required: notebook"),
        ("include missing.ipynb", "there is no notebook missing.ipynb in"),
        ("include two.ipynb -p", "-p: expected one argument"),
        ("include two.ipynb -p SEEED=1", "two.ipynb has no parameter SEEED"),
        ("include two.ipynb -p SEED=many", "'many' is not of type int"),
        ("include two.ipynb -p SEED", "-p has 'SEED', which is not NAME=VALUE"),
        ("include two.ipynb -o a=1", "not NAME=OUTSIDE"),
        ("include two.ipynb -o a=b -o a=c", "names a twice"),
        ("include two.ipynb -o nothing=b", "two.ipynb makes no `nothing`"),
        ("include 'two.ipynb", "No closing quotation"),
        ("include round.ipynb", "composed of each other: here.ipynb -> round.ipynb -> round.ipynb"),
        ("include here.ipynb", "composed of each other: here.ipynb -> here.ipynb"),
    ],
)
def test_what_cannot_be_included_is_told_with_the_way_out(line: str, message: str, kernel: Kernel) -> None:
    notebook(kernel.folder / "two.ipynb", ("SEED = 1", "pipeline-parameters"), ("a = SEED", "step:a"))
    compose(kernel.folder / "round.ipynb", ("# round", "notebook:round"))
    assert message in refused(kernel.run(f"%kaleyard {line}"))


def test_help_tells_how_to_write_the_line_and_other_verbs_take_variables_as_before(kernel: Kernel) -> None:
    (text,) = kernel.run("%kaleyard include --help")
    assert "-o NAME=OUTSIDE" in text.text
    assert "nope3.ipynb" in refused(kernel.run("number = 3\n%kaleyard show nope{number}.ipynb"))


def test_terminal_ipython_includes_as_well(tmp_path: Path) -> None:
    write(tmp_path)
    lines = "%load_ext kaleyard\nrows = [5]\n%kaleyard include parts/fit.ipynb -p DEPTH=2 -o rmse=other\nprint(other)\n"
    (tmp_path / "session.ipy").write_text(lines)
    done = subprocess.run(
        [sys.executable, "-m", "IPython", "--colors=NoColor", "session.ipy"],
        cwd=tmp_path,
        env=os.environ | {"IPYTHONDIR": str(tmp_path / "ipython")},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stdout.splitlines() == ["plain 20", "20"], done


# -- what `check` says ---------------------------------------------------------------------------------------


def findings(root: Path) -> list[tuple[str, int | None, str]]:
    return [(f.code, f.place.cell, f.what) for f in check(root, find_project(root))[0]]


def test_a_composed_notebook_that_nothing_runs_is_told_with_the_line_to_write(project: Path) -> None:
    root = write(project / "notebooks", *(c for c in ROOT if "include" not in c[0]))
    assert not runs_itself(read_notebook(root))
    one, two = check(root, find_project(root))[0]
    assert [(f.code, f.place.cell, f.is_error) for f in (one, two)] == [("KY606", 4, False), ("KY606", 5, False)]
    line = "%kaleyard include parts/fit.ipynb -p KIND=deep -p DEPTH=10 -o rmse=rmse_two"
    assert line in two.advice
    assert line in [source for source, _ in ROOT]


@pytest.mark.parametrize(
    "line",
    [
        "%kaleyard include parts/fit.ipynb",
        "%run parts/fit.ipynb",
        "%kaleyard include parts/fit.ipynb -o rmse=rmse_one -p DEPTH=5",
        "%kaleyard include parts/fit.ipynb -o rmse=rmse_one -p NO=5",
    ],
)
def test_a_line_that_uses_the_notebook_otherwise_is_told(line: str, project: Path) -> None:
    root = write(project / "notebooks", *ROOT[:4], (line, "skip"), *ROOT[5:])
    assert findings(root) == [("KY606", 4, f"`{line}` below runs parts/fit.ipynb with other values or names")]


def test_a_line_that_runs_another_notebook_is_not_meant(project: Path) -> None:
    notebook(project / "notebooks" / "other.ipynb", ("x = 1", "step:x"))
    root = write(project / "notebooks", *ROOT[:4], ("%run other.ipynb", "skip"), *ROOT[5:])
    assert findings(root) == [("KY606", 4, "no line runs parts/fit.ipynb in Jupyter")]


def test_a_line_that_comes_before_the_magic_is_known_is_told(project: Path) -> None:
    root = write(project / "notebooks", *ROOT[1:])
    assert findings(root) == [("KY606", 4, "no cell above loads `%kaleyard`")]


@pytest.mark.parametrize("broken", ["x = = 1", "%kaleyard include", "%kaleyard include nothing.ipynb -p A=1"])
def test_what_stands_in_a_skipped_cell_stops_no_pipeline(broken: str, project: Path) -> None:
    root = write(project / "notebooks", *ROOT[:5], (broken, "skip"), *ROOT[5:])
    assert kaleyard.read(root).names


@pytest.mark.parametrize(("more", "told"), [("x = 1", True), ("!ls", True), ("# words", False), ("'text'", False)])
def test_code_beside_the_line_in_its_cell_is_code_that_no_step_gets(more: str, told: bool, project: Path) -> None:
    notebook(project / "notebooks" / "part.ipynb", ("N = {}", "parameters"), ("a = N", "step:a"))
    line = "%kaleyard include part.ipynb -p N='{\"b\": 1}'"
    cells = [LOAD, (f"%%capture\n{more}\n{line}", "notebook:part"), ("print(a)", "step:b")]
    root = notebook(project / "notebooks" / "root.ipynb", *cells)
    assert findings(root) == ([("KY601", 2, "this code belongs to no step")] if told else [])
