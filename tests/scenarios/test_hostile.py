"""Steps, machines and paths as unkind as they come; and what one step may never do to another."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

import kaleyard
from kaleyard.records.run_record import Run
from kaleyard.reporting.console import SilentReporter
from notebook_builder import notebook

COMMAND = [sys.executable, "-m", "kaleyard", "run"]


def run(path: Path, **options: object) -> Run:
    return kaleyard.run(path, reporter=SilentReporter(), **options)  # type: ignore[arg-type]


def what(done: Run, step: str) -> str:
    error = done.steps[step].error
    assert error is not None, done.steps[step]
    return f"{error['what']} {error['fix']}"


def test_each_way_to_die_has_its_message_and_the_others_go_on(project: Path) -> None:
    path = notebook(
        project / "notebooks" / "ways.ipynb",
        ("import ctypes\nctypes.string_at(0)", "step:segfault"),
        ("name = input('who?')", "step:asks"),
        ("raise KeyboardInterrupt", "step:interrupts"),
        ("import sys\nsys.exit(3)", "step:exits"),
        ("def f():\n    return f()\nf()", "step:recurses"),
        ("x = 1", "step:fine"),
    )
    done = run(path)
    assert "SIGSEGV" in what(done, "segfault")
    assert "input()" in what(done, "asks")
    assert "KeyboardInterrupt" in what(done, "interrupts")
    assert "SystemExit: 3" in what(done, "exits")
    assert "RecursionError" in what(done, "recurses")
    assert done.steps["fine"].state == "done"


def test_much_output_is_kept_and_too_much_is_cut_and_said(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = notebook(
        project / "notebooks" / "loud.ipynb",
        ("for i in range(100_000):\n    print('line', i)", "step:lines"),
        ("from IPython.display import HTML, display\ndisplay(HTML('<p>' + 'x' * 5_000_000 + '</p>'))", "step:html"),
        ("import time\nwhile True:\n    print('y' * 100_000)\n    time.sleep(0.002)", "step:forever"),
    )
    done = run(path, timeout=35)
    executed = (done.folder / str(done.steps["lines"].notebook)).read_text()
    assert "line 0\\n" in executed
    assert "line 99999\\n" in executed
    assert done.steps["html"].state == "done"
    assert "longer than 35 s" in what(done, "forever")
    kept = done.folder / str(done.steps["forever"].notebook)
    assert kept.stat().st_size < 30_000_000
    page = (done.folder / str(done.steps["forever"].page)).read_text()
    assert len(page) < 5_000_000


def test_a_line_of_millions_of_characters_takes_no_longer_than_many_lines(project: Path) -> None:
    path = notebook(
        project / "notebooks" / "line.ipynb",
        ("import sys\nprint('y' * 5_000_000)\nprint('10 %\\r20 %', end='\\r')\nprint('30 %')", "step:line"),
        ("print('to stdout')\nimport sys\nprint('to stderr', file=sys.stderr)\nprint('again')", "step:both"),
    )
    done = run(path, timeout=60)
    assert done.state == "done", [s.error for s in done.steps.values()]
    texts = {}
    for name, step in done.steps.items():
        cells = json.loads((done.folder / str(step.notebook)).read_text())["cells"]
        texts[name] = [(o["name"], "".join(o["text"])) for c in cells for o in c.get("outputs", [])]
    assert texts["line"] == [("stdout", "y" * 5_000_000 + "\n30 %\n")]
    assert texts["both"] == [("stdout", "to stdout\nagain\n"), ("stderr", "to stderr\n")]


def test_a_run_past_its_time_is_stopped_as_a_whole(project: Path) -> None:
    path = notebook(
        project / "notebooks" / "long.ipynb", ("import time\ntime.sleep(600)", "step:long"), ("x = 1", "step:later")
    )
    done = run(path, run_timeout=4, jobs=1)
    assert done.state == "stopped"
    assert {s.state for s in done.steps.values()} == {"stopped"}
    assert "longer than 4 s" in done.notes[0]


# In a block, so that none of it is a statement that goes along to later steps.
LEAKS = """
with open(os.devnull):
    random.seed(1)
    os.environ['LEAK'] = 'yes'
    os.chdir('/')
    helper.SETTING = 'changed'
    json.JSONDecodeError = None
    sys.path.insert(0, '/leak')
first = 1
"""
LOOKS = """
here = Path.cwd().name
seen = [os.environ.get('LEAK'), helper.SETTING, json.JSONDecodeError is None, '/leak' in sys.path]
files = sorted(p.name for p in Path.cwd().iterdir() if p.name != '__pycache__')
drawn = random.random()
again = first
"""


def test_nothing_of_a_steps_state_reaches_another(project: Path) -> None:
    (project / "notebooks" / "helper.py").write_text("SETTING = 'as written'\n")
    path = notebook(
        project / "notebooks" / "states.ipynb",
        ("import os\nimport random\nimport sys\nimport json\nimport helper\nfrom pathlib import Path", "imports"),
        (LEAKS, "step:first"),
        (LOOKS, "step:second"),
        ("Path('litter.txt').write_text('x')\nthird = [seen, files, here, drawn, again]", "step:third"),
        ("third", ""),
    )
    done = run(path)
    seen, files, here, drawn, again = json.loads(done.artifact("third", "third").read_text())
    assert seen == [None, "as written", False, False]
    assert files == ["helper.py"]
    assert here == "notebooks"
    assert drawn == random.Random(1).random()  # the state of random numbers goes on
    assert again == 1
    assert sorted(p.name for p in (project / "notebooks").iterdir()) == ["helper.py", "states.ipynb"]


# `KALEYARD_KILLS` asks for more; conftest.py takes it away from every test.
KILLS = int(os.environ.get("KALEYARD_KILLS", "12"))


def test_odd_paths_are_only_paths(tmp_path: Path) -> None:
    root = tmp_path / "-dash 'quote\" ünï {brace} $x;&" / ("long" * 40)
    (root / "notebooks").mkdir(parents=True)
    (root / "pyproject.toml").write_text("[tool.kaleyard]\n")
    (root / "notebooks" / "données {x}.txt").write_text("content")
    made = notebook(
        root / "notebooks" / 'it\'s {a} "näme".ipynb',
        ("text = open('données {x}.txt').read()", "step:reads"),
        ("length = len(text)", "step:counts"),
        ("print(length)", "pipeline-metrics"),
    )
    link = tmp_path / "link"
    link.symlink_to(root, target_is_directory=True)
    assert run(made).metrics == {"length": 7}
    assert run(link / "notebooks" / made.name).metrics == {"length": 7}
    done = subprocess.run(
        [*COMMAND, "--", "-dash.ipynb"],
        cwd=notebook(root / "notebooks" / "-dash.ipynb", ("a = 1", "step:a")).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_home_that_cannot_be_written_does_not_matter(project: Path) -> None:
    path = notebook(project / "notebooks" / "home.ipynb", ("a = 1", "step:a"))
    environment = os.environ | {"HOME": "/dev/null/home"}
    done = subprocess.run([*COMMAND, str(path)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout, done.stderr)


def test_a_command_killed_at_any_moment_leaves_the_next_run_sound(project: Path) -> None:
    path = notebook(
        project / "notebooks" / "killed.ipynb",
        ("N = 5", "pipeline-parameters"),
        ("a = list(range(N * 1000))", "step:first"),
        ("b = sum(a)", "step:second"),
        ("print(b)", "pipeline-metrics"),
    )
    moments = random.Random(7)
    families: list[psutil.Process] = []
    began = time.monotonic()
    subprocess.run([*COMMAND, str(path)], check=True, capture_output=True)
    whole = time.monotonic() - began
    killed = 0
    for number in range(KILLS):
        # Another value each time: nothing comes from the cache but what a killed run left there.
        command = [*COMMAND, str(path), "-p", f"N={number}"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(moments.uniform(0.02, whole))
        if process.poll() is None:
            killed += 1
            families += psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait()
        done = run(path, parameters={"N": number})
        assert done.state == "done"
        assert done.metrics == {"b": sum(range(number * 1000))}
    assert killed > KILLS // 3
    gone, alive = psutil.wait_procs(families, timeout=15)
    assert not alive, (gone, alive)


def test_a_hundred_runs_at_once_mix_no_values(project: Path) -> None:
    path = notebook(
        project / "notebooks" / "many.ipynb",
        ("N = 0", "pipeline-parameters"),
        ("a = [N] * 1000", "step:first"),
        ("b = sum(a)", "step:second"),
        ("print(b)", "pipeline-metrics"),
    )
    numbers = [n % 4 for n in range(100)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda n: run(path, parameters={"N": n}, jobs=1), numbers))
    assert [r.metrics for r in results] == [{"b": n * 1000} for n in numbers]
    assert len({r.folder for r in results}) == 100
    assert {s.state for r in results for s in r.steps.values()} <= {"done", "cached"}


def test_a_cache_that_cannot_be_written_costs_only_the_cache(project: Path) -> None:
    (project / ".kaleyard").write_text("a file")
    done = run(notebook(project / "notebooks" / "plain.ipynb", ("a = 1", "step:a"), ("print(a)", "pipeline-metrics")))
    assert done.state == "done"
    assert done.metrics == {"a": 1}
    assert "not cached" in done.notes[0]


def test_a_fan_of_forty_runs_and_gives_each_its_value(project: Path) -> None:
    branches = [(f"y{n} = x * {n}", f"step:branch_{n}") for n in range(40)]
    total = " + ".join(f"y{n}" for n in range(40))
    path = notebook(
        project / "notebooks" / "fan.ipynb",
        ("x = 2", "step:source"),
        *branches,
        (f"total = {total}", "step:join"),
        ("print(total)", "pipeline-metrics"),
    )
    done = run(path)
    assert done.metrics == {"total": 2 * sum(range(40))}
    assert len(done.steps) == 42


def test_two_thousand_cells_and_three_hundred_steps_are_read_and_drawn(project: Path) -> None:
    cells = [("x0 = 1", "step:s0")]
    for n in range(1, 300):
        cells += [(f"x{n} = x{n - 1} + 1", f"step:s{n}"), *[(f"more_{n}_{k} = {k}", "") for k in range(6)]]
    path = notebook(project / "notebooks" / "large.ipynb", *cells)
    pipeline = kaleyard.read(path)
    assert len(pipeline.steps) == 300
    assert len(cells) > 2000
    assert [(i.name, i.step) for i in pipeline.step("s299").inputs] == [("x298", "s298")]
    assert "s299" in kaleyard.show(path, "svg")
