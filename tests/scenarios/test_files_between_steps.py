"""Files are values: what one step writes another reads, what is written is kept, and nothing of the user's changes."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest

import kaleyard
from cutting import content, differences, run_steps, run_whole
from kaleyard.pipeline import FileInput
from kaleyard.records.run_record import Run
from kaleyard.reporting.console import SilentReporter
from notebook_builder import NotebookCells, load, notebook, notebook_bytes

IMPORTS = (
    (
        "import glob, json, os\nimport pandas as pd\nfrom pathlib import Path\nOUT = Path('../output')\n"
        "CONFIG = {'table': '../output/deep/table.csv'}\ndef keep(path, text):\n    Path(path).write_text(text)"
    ),
    "imports",
)
CELLS: list[NotebookCells] = [
    ("NAME = 'note'", "pipeline-parameters"),
    IMPORTS,
    (
        (
            "(OUT / 'deep').mkdir(parents=True, exist_ok=True)\nframe = pd.DataFrame({'a': [1, 2]})\n"
            "frame.to_csv(OUT / 'x.csv')\nframe.to_csv(CONFIG['table'])\nkeep(f'{NAME}.txt', 'hello')\n"
            "for n in range(2):\n    with open(f'part{n}.json', 'w') as file:\n        json.dump(n, file)\n"
            "log = open('log.txt', 'w')\nlog.write('not closed')\ndel log"
        ),
        "step:write",
    ),
    ("print(pd.read_csv(OUT / 'x.csv').shape, pd.read_csv(CONFIG['table']).shape)", "step:table"),
    (
        "print(sorted(glob.glob('part*.json')), sorted(os.listdir('../output')), Path('log.txt').read_text())",
        "step:some",
    ),
    ("with open(f'{NAME}.txt', 'a') as file:\n    file.write(' more')\nos.remove('part0.json')", "step:more"),
    ("print(open('note.txt').read(), os.path.exists('part0.json'), os.path.exists('part1.json'))", "step:last"),
    ("Path('../../above.txt').write_text('up')", "step:above"),
    ("print(Path('../../above.txt').read_text())", "step:below"),
]


def test_every_cell_and_every_file_is_as_in_one_kernel(tmp_path: Path) -> None:
    made = nbformat.reads(notebook_bytes(*CELLS).decode(), 4)
    (tmp_path / "a" / "whole" / "notebooks").mkdir(parents=True)
    (tmp_path / "a" / "whole" / "output").mkdir()
    whole, steps = run_whole(made, tmp_path / "a" / "whole"), run_steps(made, tmp_path / "steps")
    assert steps.error == ""
    whole.files["../above.txt"] = content(tmp_path / "a" / "above.txt")
    assert differences(whole, steps) == []
    assert sorted(steps.files) == [
        *("../above.txt", "notebooks/log.txt", "notebooks/note.txt", "notebooks/part1.json"),
        *("output/deep/table.csv", "output/x.csv"),
    ]
    assert not (tmp_path / "steps" / "output").exists()


def test_the_graph_says_which_files_go_where(tmp_path: Path) -> None:
    steps = {s.name: s for s in load(tmp_path, *((c.replace("../", ""), t) for c, t in CELLS[:5])).steps}
    assert steps["table"].file_inputs == (FileInput("write", ("output/deep/table.csv", "output/x.csv")),)
    assert steps["some"].file_inputs == (FileInput("write", ("log.txt", "output/*", "part*")),)
    assert steps["table"].upstream == ("write",)


@pytest.fixture
def runs(project: Path) -> Path:
    """A notebook whose first step writes two files, one of which the second reads."""
    return notebook(
        project / "notebooks" / "two.ipynb",
        ("TEXT = 'a'\nOTHER = 'b'", "pipeline-parameters"),
        (
            "from pathlib import Path\nPath('read.txt').write_text(TEXT.strip())\nPath('kept.txt').write_text(OTHER)",
            "step:write",
        ),
        ("text = open('read.txt').read()\ntext", "step:read"),
    )


def states(done: Run) -> list[str]:
    return [step.state for step in done.steps.values()]


def test_a_step_runs_again_only_when_the_bytes_it_reads_changed(runs: Path) -> None:
    assert states(kaleyard.run(runs, reporter=SilentReporter())) == ["done", "done"]
    again = kaleyard.run(runs, reporter=SilentReporter())
    assert states(again) == ["cached", "cached"]
    assert {name: path.read_text() for name, path in again.files.items()} == {
        "notebooks/kept.txt": "b",
        "notebooks/read.txt": "a",
    }
    # The other file is another, and so are the first one's words for the same bytes.
    other = kaleyard.run(runs, {"OTHER": "c", "TEXT": " a"}, reporter=SilentReporter())
    assert states(other) == ["done", "cached"]
    assert other.files["notebooks/kept.txt"].read_text() == "c"
    changed = kaleyard.run(runs, {"TEXT": "z"}, reporter=SilentReporter())
    assert states(changed) == ["done", "done"]
    assert json.loads(changed.artifact("read", "text").read_text()) == "z"


def test_files_of_the_project_are_read_and_never_changed(project: Path) -> None:
    (project / "data").mkdir()
    (project / "data" / "in.txt").write_text("mine")
    path = notebook(
        project / "notebooks" / "own.ipynb",
        (
            (
                "from pathlib import Path\ntext = Path('../data/in.txt').read_text()\n"
                "Path('../data/in.txt').write_text('changed')\nPath('../data/new.txt').write_text('new')"
            ),
            "step:a",
        ),
        ("both = [Path('../data/in.txt').read_text(), text]\nboth", "step:b"),
    )
    done = kaleyard.run(path, reporter=SilentReporter())
    assert done.state == "done", [s.error for s in done.steps.values()]
    assert json.loads(done.artifact("b", "both").read_text()) == ["changed", "mine"]
    assert sorted(done.files) == ["data/in.txt", "data/new.txt"]
    assert [p.name for p in (project / "data").iterdir()] == ["in.txt"]
    assert (project / "data" / "in.txt").read_text() == "mine"


def test_a_parameter_may_name_another_file_of_the_project(project: Path) -> None:
    folder = project / "notebooks" / "data"
    folder.mkdir()
    for name in "abc":
        (folder / f"{name}.txt").write_text(name.upper())
    path = notebook(
        project / "notebooks" / "named.ipynb",
        ("DATA = 'data/a.txt'\nMORE = {'x': ['data/b.txt']}", "pipeline-parameters"),
        ("text = open(DATA).read() + open(MORE['x'][0]).read()\ntext", "step:a"),
    )
    told = []
    for values in ({}, {"DATA": "data/c.txt"}, {"MORE": {"x": ["data/c.txt"]}}):
        done = kaleyard.run(path, values, reporter=SilentReporter())
        told.append(json.loads(done.artifact("a", "text").read_text()))
    assert told == ["AB", "CB", "AC"]
    (folder / "c.txt").write_text("new")
    done = kaleyard.run(path, {"DATA": "data/c.txt"}, reporter=SilentReporter())
    assert json.loads(done.artifact("a", "text").read_text()) == "newB"


@pytest.mark.parametrize(
    ("source", "advice"),
    [
        (
            "print(open('..' + chr(47) + 'data' + chr(47) + 'in.txt').read())",
            'declare the file: `files = ["data/in.txt"]` in [tool.kaleyard].',
        ),
        ("print(open('/no/such/file').read())", "The traceback is above"),
    ],
)
def test_a_file_that_is_not_there_is_told_with_the_line_to_write(source: str, advice: str, project: Path) -> None:
    (project / "data").mkdir()
    (project / "data" / "in.txt").write_text("mine")
    path = notebook(project / "notebooks" / "lost.ipynb", ("x = 1", "step:a"), (source, "step:b"))
    error = kaleyard.run(path, reporter=SilentReporter()).steps["b"].error
    assert error is not None
    assert error["what"].startswith("FileNotFoundError")
    assert advice in error["fix"]


def test_a_value_that_a_step_may_not_make_is_missed_only_where_it_is_read(project: Path) -> None:
    cells: list[NotebookCells] = [
        ("for x in []:\n    pass", "step:a"),
        ("if len('') > 0:\n    print(x)\nprint('fine')", "step:b"),
    ]
    assert kaleyard.run(notebook(project / "notebooks" / "o.ipynb", *cells), reporter=SilentReporter()).state == "done"
    surely = [cells[0], ("print(x)", "step:b")]
    done = kaleyard.run(notebook(project / "notebooks" / "s.ipynb", *surely), reporter=SilentReporter())
    assert done.steps["a"].error is not None
    assert "`x` has no value at the end of this step" in done.steps["a"].error["what"]


def test_an_absolute_path_means_the_same_place_in_a_later_step(tmp_path: Path) -> None:
    made = (
        "import os\nfrom pathlib import Path\nfrom functools import partial\nhere = os.getcwd()\n"
        "Path('x.txt').write_text('hi')\nfull = os.path.join(here, 'x.txt')\n"
        "table = {full: [Path('y.txt').resolve()], 'here': os.path.abspath('.')}\nname = partial(os.path.relpath, full)"
    )
    used = (
        "import os\nfrom pathlib import Path\nprint(here == os.getcwd() == table['here'], open(full).read())\n"
        "print(table[os.path.abspath('x.txt')] == [Path.cwd() / 'y.txt'], name())"
    )
    cells: list[NotebookCells] = [(made, "step:make"), (used, "step:use")]
    notebook_ = nbformat.reads(notebook_bytes(*cells).decode(), 4)
    whole = run_whole(notebook_, tmp_path / "whole")
    steps = run_steps(notebook_, tmp_path / "steps")
    assert (whole.error, steps.error) == ("", "")
    assert steps.texts[2] == "True hi\nTrue x.txt"
    assert differences(whole, steps) == []


def test_a_file_that_came_with_a_path_is_written_by_the_step_that_wrote_it_alone(project: Path) -> None:
    path = notebook(
        project / "notebooks" / "path.ipynb",
        (
            (
                "from pathlib import Path\nout = Path('out')\nout.mkdir()\n_ = (out / 'a.txt').write_text('a')\n"
                "_ = (out / 'b.txt').write_text('b')"
            ),
            "step:write",
        ),
        ("texts = [p.read_text() for p in sorted(out.iterdir())]\ntexts", "step:read"),
        ("_ = (out / 'b.txt').write_text('changed')\ntexts", "step:change"),
    )
    done = kaleyard.run(path, reporter=SilentReporter())
    assert done.state == "done", [s.error for s in done.steps.values()]
    written = {name: [file.path for file in step.files] for name, step in done.steps.items()}
    assert written == {
        "write": ["notebooks/out/a.txt", "notebooks/out/b.txt"],
        "read": [],
        "change": ["notebooks/out/b.txt"],
    }
