"""`kaleyard test`: real kernels, nbval's comparison, and what becomes of notebooks that are not as they were."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest

from kaleyard.runtime.kernels import bounded_output as bounded
from kaleyard.testing.github_annotations import annotation, cell_lines
from kaleyard.testing.notebook_execution import execute
from kaleyard.testing.output_comparison import align, tolerance_of

# `KALEYARD_REPEATS` asks for more; conftest.py takes it away from every test.
REPEATS = int(os.environ.get("KALEYARD_REPEATS", "2"))
COMMAND = [sys.executable, "-m", "kaleyard", "test"]
PICTURE = "from IPython.display import Image, display\ndisplay(Image(data=bytes([137, 80, 78, 71, {n}]), format='png'))"
NOISE = """\
import datetime, os, sys, tempfile
print(object())
print(datetime.datetime.now())
print(tempfile.mkdtemp())
print(os.getcwd())
print('\\r 10%|#         | 1/10 [00:00<00:01,  7.{n}it/s]', file=sys.stderr)"""


def stored(path: Path, *cells: tuple[str, Any], **metadata: Any) -> Path:
    """A notebook whose cells have these outputs stored: a text, data by MIME type, or None if it never ran."""
    made = []
    for number, (source, output) in enumerate(cells, 1):
        outputs: list[Any] = []
        if isinstance(output, str) and output:
            outputs = [{"output_type": "stream", "name": "stdout", "text": output.splitlines(keepends=True)}]
        elif isinstance(output, dict):
            outputs = [{"output_type": "display_data", "metadata": {}, "data": output}]
        cell = {"cell_type": "code", "execution_count": None if output is None else number, "id": f"c{number}"}
        made.append(cell | {"metadata": {}, "outputs": outputs, "source": source.splitlines(keepends=True)})
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = {"cells": made, "metadata": kernel | metadata, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(whole, indent=1) + "\n")
    return path


def verb(root: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {n: v for n, v in os.environ.items() if n != "GITHUB_ACTIONS"} | variables
    return subprocess.run(
        [*COMMAND, *arguments], cwd=root, env=environment, capture_output=True, text=True, timeout=240, check=False
    )


@dataclass(frozen=True)
class Done:
    """One run over many notebooks."""

    code: int
    said: str
    cases: dict[str, str]

    def failure(self, notebook: str, cell: str) -> str:
        return self.cases[f"{notebook}: {cell}"]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """All that can be different, each in a notebook of its own, tested at once as GitHub's workflow would."""
    root = tmp_path_factory.mktemp("tested")
    (root / "pyproject.toml").write_text('[tool.kaleyard]\nsanitize = ["run [0-9]+"]\n')
    at = root / "notebooks"
    stored(at / "good.ipynb", ("x = 1\nprint(x)", "1\n"), ("y = x", ""), ("print(y + 1)", "2\n"))
    stored(at / "wrong.ipynb", ("x = 2", ""), ("print('a', x)", "b 2\n"))
    stored(at / "stripped.ipynb", ("print(1)", None), ("print(2)", None))
    stored(at / "part.ipynb", ("print(1)", "1\n"), ("print(2)", None))
    stored(at / "emptied.ipynb", ("print(1)", ""))
    stored(at / "within.ipynb", ("print('rmse 1.0000001', 3)", "rmse 1.0 3\n"), kaleyard={"tolerance": 1e-6})
    stored(at / "beyond.ipynb", ("print('rmse', 1.001)", "rmse 1.0\n"), kaleyard={"tolerance": 1e-6})
    stored(at / "last_digit.ipynb", ("print(0.1 + 0.2)", "0.3\n"))
    stored(at / "words.ipynb", ("print('x1', 1.0)", "x2 1.0\n"), kaleyard={"tolerance": 0.9})
    stored(
        at / "picture.ipynb",
        (PICTURE.format(n=1), {"image/png": "aaaa", "text/plain": "<IPython.core.display.Image object>"}),
    )
    stored(at / "raises.ipynb", ("x = 1", ""), ("1 / 0", ""), ("print(x)", "1\n"))
    stored(at / "sanitized.ipynb", ("import random\nprint('run', random.randrange(10**9))", "run 5\n"))
    stored(at / "sub" / "folder.ipynb", ("from pathlib import Path\nprint(Path.cwd().name)", "sub\n"))
    whole: dict[str, Any] = {
        "cells": [
            {
                "cell_type": "code",
                "metadata": {"tags": ["notebook:a"]},
                "source": "",
                "outputs": [],
                "execution_count": None,
            }
        ]
    }
    (at / "composed.ipynb").write_text(json.dumps(whole | {"metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    ran = verb(root, "--junit", "report.xml", GITHUB_ACTIONS="true")
    cases = {}
    for case in ET.parse(root / "report.xml").getroot().iter("testcase"):
        failure = case.find("failure")
        name = f"{case.get('classname', '').removeprefix('notebooks.').replace('.ipynb', '')}: {case.get('name')}"
        cases[name] = "" if failure is None else str(failure.text)
    return Done(ran.returncode, ran.stdout + ran.stderr, cases)


def test_what_is_as_stored_passes_and_the_rest_fails(done: Done) -> None:
    failed = {name for name, failure in done.cases.items() if failure}
    assert failed == {
        "wrong: cell 2",
        "stripped: stored outputs",
        "stripped: cell 1",
        "stripped: cell 2",
        "part: cell 2",
        "emptied: cell 1",
        "beyond: cell 1",
        "words: cell 1",
        "raises: cell 2",
    }, done.said
    assert done.code == 1
    passed = {"good: cell 1", "good: stored outputs", "within: cell 1", "last_digit: cell 1", "picture: cell 1"}
    assert passed | {"raises: cell 3", "sanitized: cell 1"} <= done.cases.keys() - failed
    assert not any("composed" in name for name in done.cases)


def test_a_failure_names_notebook_cell_and_fix(done: Done) -> None:
    wrong = done.failure("wrong", "cell 2")
    assert "notebooks/wrong.ipynb: cell 2: it gives something else than what is stored" in wrong
    assert "  | print('a', x)" in wrong
    assert "kaleyard test --update" in wrong
    assert "ZeroDivisionError: division by zero" in done.failure("raises", "cell 2")
    assert "stored without having been run" in done.failure("part", "cell 2")
    assert "no cell has stored outputs" in done.failure("stripped", "stored outputs")


def test_each_failed_cell_is_an_annotation_at_its_line(done: Done) -> None:
    lines = [line for line in done.said.splitlines() if line.startswith("::error ")]
    assert len(lines) == 9
    (raises,) = [line for line in lines if "raises" in line]
    assert raises == "::error file=notebooks/raises.ipynb,line=14,title=cell 2::ZeroDivisionError: division by zero"


def test_annotations_keep_to_githubs_escapes() -> None:
    assert annotation("a,b:c.ipynb", 3, "cell 1: 50 %\nmore") == (
        "::error file=a%2Cb%3Ac.ipynb,line=3,title=cell 1::50 %25%0Amore"
    )
    text = '{\n "cells": [\n  {\n   "cell_type": "code",\n   "source": ["x = \\"cell_type\\": 1"]\n  }\n ]\n}'
    assert cell_lines(text) == [4]
    assert cell_lines('{"cells": [{"cell_type": "code"}]}') == []


@pytest.mark.parametrize(
    ("source", "code", "words"),
    [
        ("import os\nos._exit(3)", 13, "ended its own process with exit code 3"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", 13, "killed by SIGKILL"),
        ("import time\ntime.sleep(600)", 11, "longer than 3 s"),
        ("raise MemoryError", 12, "ran out of memory"),
    ],
)
def test_a_kernel_that_dies_hangs_or_runs_out_of_memory_has_its_own_exit_code(
    source: str, code: int, words: str, project: Path
) -> None:
    stored(project / "notebooks/bad.ipynb", ("print(1)", "1\n"), (source, ""), ("print(2)", "2\n"))
    stored(project / "notebooks/good.ipynb", ("print(1)", "1\n"))
    before = {p.pid for p in psutil.process_iter() if "ipykernel" in " ".join(_command(p))}
    done = verb(project, "--timeout", "3")
    assert done.returncode == code, done.stdout
    assert f"notebooks/bad.ipynb: cell 2: {words}" in done.stdout or words in done.stdout
    assert "1 failed" in done.stdout
    left = [p for p in psutil.process_iter() if p.pid not in before and str(project) in " ".join(_command(p))]
    assert left == []


def _command(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def test_the_usual_noise_does_not_count(project: Path) -> None:
    path = stored(project / "notebooks/noise.ipynb", (NOISE.format(n=1), None))
    assert verb(project, "--update").returncode == 0
    first = json.loads(path.read_text())["cells"][0]["outputs"]
    assert len(first) == 2
    done = verb(project)
    assert done.returncode == 0, done.stdout


def test_plain_pytest_does_the_same(project: Path) -> None:
    settings = '[tool.kaleyard]\n[tool.pytest.ini_options]\naddopts = "-p kaleyard.testing.pytest_plugin"\n'
    settings += 'testpaths = ["notebooks"]\n'
    (project / "pyproject.toml").write_text(settings)
    stored(project / "notebooks/good.ipynb", ("print(1)", "1\n"))
    stored(project / "notebooks/bad.ipynb", ("print(1)", "2\n"), ("print(3)", "3\n"))
    for options in ([], ["-n", "2", "--dist", "worksteal"]):
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
        done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=200, check=False)
        assert done.returncode == 1, done.stdout
        assert "1 failed, 4 passed" in done.stdout
        assert "notebooks/bad.ipynb: cell 1: it gives something else" in done.stdout


def test_who_did_not_ask_for_it_pays_nothing(project: Path) -> None:
    heavy = "('nbval.plugin', 'nbclient', 'nbformat')"
    code = f"import sys, kaleyard.testing.pytest_plugin; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=project)
    assert done.stdout.strip() == "[]", done.stderr


def test_update_touches_only_what_changed(project: Path) -> None:
    path = stored(
        project / "notebooks/mixed.ipynb",
        ("print('same')", "same\n"),
        ("print('new')", "old\n"),
        (NOISE.format(n=2), ""),
        ("print('é')", "é\n"),
    )
    before = path.read_text()
    done = verb(project, "--update")
    assert done.stdout.strip() == "notebooks/mixed.ipynb: new outputs in cell 2, 3"
    after = path.read_text()
    assert json.loads(before)["cells"][0] == json.loads(after)["cells"][0]
    assert before.splitlines()[:18] == after.splitlines()[:18]
    assert json.loads(after)["cells"][1]["outputs"][0]["text"] == ["new\n"]
    assert verb(project, "--update").stdout.strip() == "notebooks/mixed.ipynb: as it was"
    assert path.read_text() == after
    assert verb(project).returncode == 0


@pytest.mark.parametrize("source", ["1 / 0", "import os\nos._exit(1)", "import time\ntime.sleep(600)"])
def test_update_leaves_a_notebook_that_fails_as_it_was(source: str, project: Path) -> None:
    path = stored(project / "notebooks/bad.ipynb", ("print('new')", "old\n"), (source, ""))
    before = path.read_bytes()
    done = verb(project, "--update", "--timeout", "3")
    assert done.returncode in (1, 2)
    assert "notebooks/bad.ipynb: cell 2" in done.stderr
    assert "Traceback" not in done.stderr
    assert path.read_bytes() == before


def test_wrong_use_is_told(project: Path) -> None:
    assert verb(project, "nowhere.ipynb").returncode == 2
    assert verb(project).returncode == 2
    stored(project / "notebooks/a.ipynb", ("print(1)", "1\n"), kaleyard={"tolerance": "wide"})
    assert "'wide' is no tolerance" in verb(project).stdout
    (project / "pyproject.toml").write_text('[tool.kaleyard]\nsanitize = ["("]\n')
    assert "is no regular expression" in verb(project).stdout


def test_notebooks_run_beside_each_other_again_and_again(project: Path) -> None:
    for number in range(6):
        stored(
            project / f"notebooks/n{number}.ipynb",
            (f"x = {number}\nprint(x)", f"{number}\n"),
            ("print(x)", f"{number}\n"),
        )
    for _ in range(REPEATS):
        done = verb(project, "--jobs", "3")
        assert (done.returncode, "18 passed" in done.stdout) == (0, True), done.stdout


def test_json_tells_what_became_of_each_cell_and_nothing_else(project: Path) -> None:
    stored(project / "notebooks/a.ipynb", ("print(1)", "1\n"), ("print(2)", "3\n"), ("1 / 0", ""), ("print(4)", "4\n"))
    (project / "notebooks/broken.ipynb").write_text("no notebook")
    done = verb(project, "--json", "notebooks/a.ipynb")
    told = json.loads(done.stdout)
    assert (done.returncode, told["exit_code"]) == (1, 1)
    found = {one["cell"]: one["outcome"] for one in told["cells"]}
    assert found == {"stored outputs": "passed", "cell 1": "passed", "cell 2": "failed", "cell 3": "failed"} | {
        "cell 4": "passed"
    }
    assert {one["notebook"] for one in told["cells"]} == {"notebooks/a.ipynb"}
    assert not any("\x1b" in one["message"] for one in told["cells"])
    assert any("ZeroDivisionError" in one["message"] for one in told["cells"])
    assert "no notebook" in json.loads(verb(project, "--json").stdout)["cells"][0]["message"]


def test_a_cell_that_prints_without_end_is_kept_bounded(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "MOST_OUTPUT", 10_000)
    path = stored(project / "notebooks/a.ipynb", ("for _ in range(1000):\n    print('y' * 1000)", "y\n"))
    done = execute(nbformat.read(path, as_version=4), project, frozenset(), 60)
    text = "".join(o["text"] for o in done.outputs[0])
    assert "[Output cut: this cell printed more than 10,000 characters.]" in text
    assert len(text) < 20_000


def texts(*outputs: str) -> list[Any]:
    return [{"output_type": "execute_result", "data": {"text/plain": text}} for text in outputs]


@pytest.mark.parametrize(
    ("given", "before", "tolerance", "close"),
    [
        ("1.0000001", "1.0", 1e-6, True),
        ("1.1", "1.0", 1e-6, False),
        ("a 1.0  b 2", "a 1.0 b 2.0000001", 1e-6, True),
        ("a1 1.0", "a2 1.0", 0.9, False),
        ("-1.0", "1.0", 0.9, False),
        ("1e-12", "0.0", 1e-6, False),
        ("3", "4", 1e-6, False),
        ("nan", "1.0", 0.5, False),
        ("1.0 2.0", "1.0", 0.5, False),
        ("x=1.5e3", "x=1500.0001", 1e-6, True),
    ],
)
def test_numbers_are_close_and_words_are_the_same(given: str, before: str, tolerance: float, close: bool) -> None:
    (made,) = align(texts(given), texts(before), tolerance)
    assert (made["data"]["text/plain"] == before) is close


def test_the_cells_tolerance_goes_before_the_notebooks() -> None:
    assert tolerance_of("0.5", {}, {}) == 0.5
    assert tolerance_of("0.5", {"kaleyard": {"tolerance": 0.1}}, {}) == 0.1
    assert tolerance_of("0.5", {"kaleyard": {"tolerance": 0.1}}, {"kaleyard": {"tolerance": 0}}) == 0
