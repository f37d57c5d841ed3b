"""Warm kernels: what a step finds in one is what it finds in a cold one, and nothing of another step."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

import kaleyard
from kaleyard.execution.prewarm.fork_servers import cold_reason
from kaleyard.records.run_record import Run
from kaleyard.reporting.console import SilentReporter
from notebook_builder import NotebookCells, notebook

pytestmark = pytest.mark.skipif(bool(cold_reason()), reason=f"no warm kernels: {cold_reason()}")

# What a kernel is like, as far as that is no matter of chance. Folders of the run are called by what they are for.
SURROUNDINGS = """
import json, os, random, resource, signal, sys, threading, warnings
import numpy as np
def files():
    kinds = []
    for number in sorted(map(int, os.listdir('/proc/self/fd'))):
        try:
            kinds.append(os.readlink(f'/proc/self/fd/{number}').partition(':')[0].partition('/ky-')[0])
        except OSError:
            pass
    return sorted(k for k in kinds if k not in ('socket', 'anon_inode'))
def named(text):
    for place, name in ((os.getcwd(), 'CWD'), (os.environ['KALEYARD_STEP_IO'].rpartition('/')[0], 'STEP')):
        text = text.replace(place, name)
    return text
changing = ('JPY_PARENT_PID', 'JPY_SESSION_NAME', 'IPYTHONDIR', 'JUPYTER_RUNTIME_DIR', 'KALEYARD_STEP_IO')
around = {
    'environment': {k: named(v) for k, v in sorted(os.environ.items()) if k not in changing},
    'private': [named(os.environ[k]) for k in ('IPYTHONDIR', 'JUPYTER_RUNTIME_DIR')],
    'path': [named(p) for p in sys.path],
    'flags': str(sys.flags),
    'hash': hash('kaleyard'),
    'signals': {s.name: str(signal.getsignal(s)).partition(' at ')[0] for s in signal.Signals if s.name != 'SIGCHLD'},
    'children': str(signal.getsignal(signal.SIGCHLD)),
    'limits': [resource.getrlimit(getattr(resource, n)) for n in ('RLIMIT_CORE', 'RLIMIT_NOFILE')],
    'umask': (os.umask(0o22), os.umask(0o22))[1],
    'session': os.getsid(0) == os.getpid(),
    'threads': sorted(t.name.partition('-')[0] for t in threading.enumerate()),
    'warnings': [f[0] for f in warnings.filters][:3],
    'directories': [named(str(d)) for d in _dh],
    'names': sorted(n for n in globals() if not n.startswith('_') and n not in ('around', 'changing')),
    'shell': [str(get_ipython().colors), get_ipython().history_manager.enabled, get_ipython().execution_count],
    'arguments': [sys.argv[0], *sys.argv[3:]],
    'error_state': np.geterr(),
}
around = json.dumps(around)
"""


def run(path: Path, **options: object) -> Run:
    return kaleyard.run(path, reporter=SilentReporter(), **options)  # type: ignore[arg-type]


def notes(done: Run) -> str:
    return "\n".join(done.notes)


def test_a_warm_kernel_is_like_a_cold_one(project: Path) -> None:
    cells: tuple[NotebookCells, ...] = ((SURROUNDINGS, "step:look"), ("seen = around", "step:see"))
    path = notebook(project / "notebooks" / "look.ipynb", *cells)
    warm, cold = run(path, cache=False), run(path, cache=False, cold=True)
    assert notes(warm) == ""
    assert notes(cold) == "cold kernels (`--cold`)"
    assert warm.state == cold.state == "done", [done.steps["look"].error for done in (warm, cold)]
    found = [json.loads(json.loads(done.artifact("look", "around").read_text())) for done in (warm, cold)]
    for name in found[0]:
        assert found[0][name] == found[1][name], name


def test_nothing_that_a_step_changes_reaches_another(project: Path) -> None:
    change = (
        """
    import math, os, sys, random, builtins, signal, decimal, warnings
    import numpy as np
    # In a block, so that none of it is a statement that goes along to later steps.
    with open(os.devnull):
        random.seed(1), np.random.seed(1)
        os.environ['LEFT'] = 'yes'
        os.chdir('/')
        math.pi, builtins.left, sys.left = 3, True, True
        np.left = True
        sys.path.insert(0, '/left')
        sys.modules['left'] = math
        signal.signal(signal.SIGUSR1, lambda *_: None)
        decimal.getcontext().prec = 3
        np.seterr(all='ignore')
        warnings.simplefilter('error')
        opened = open('/tmp/left', 'w')
        os.dup2(opened.fileno(), 77)
    done = 1
    """.replace("\n    ", "\n")
        .replace("opened = open('/tmp/left', 'w')", "os.dup2(1, 77)")
        .replace("os.dup2(opened.fileno(), 77)\n", "")
    )
    look = """
    import math, os, sys, random, builtins, signal, decimal, warnings
    import numpy as np
    found = {
        'environment': 'LEFT' in os.environ, 'folder': os.getcwd() == '/', 'pi': math.pi == 3,
        'builtins': hasattr(builtins, 'left'), 'sys': hasattr(sys, 'left'), 'numpy': hasattr(np, 'left'),
        'path': '/left' in sys.path, 'modules': 'left' in sys.modules,
        'signal': signal.getsignal(signal.SIGUSR1) is not signal.SIG_DFL, 'decimal': decimal.getcontext().prec == 3,
        'numpy_errors': np.geterr()['divide'] == 'ignore', 'warnings': warnings.filters[0][0] == 'error',
        'file': os.path.exists('/proc/self/fd/77'),
    }
    chance = [random.random(), float(np.random.rand()), float(np.random.default_rng().random())]
    """.replace("\n    ", "\n")
    path = notebook(
        project / "notebooks" / "apart.ipynb",
        (change, "step:change"),
        (f"{look}seen_first = found | {{'after': done}}\nfirst = chance", "step:first"),
        (f"{look}seen_second = found | {{'after': done}}\nsecond = chance", "step:second"),
        ("everything = (seen_first, seen_second, first, second)", "step:end"),
    )
    done = run(path)
    assert done.state == "done", done.to_dict()
    for step, name in (("first", "seen_first"), ("second", "seen_second")):
        found = json.loads(done.artifact(step, name).read_text())
        assert {n for n, left in found.items() if left} == {"after"}
    chances = [json.loads(done.artifact(s, s).read_text()) for s in ("first", "second")]
    assert not set(chances[0]) & set(chances[1])


def test_results_are_equal_warm_and_cold(project: Path) -> None:
    path = notebook(
        project / "notebooks" / "equal.ipynb",
        ("import numpy as np\nimport pandas as pd\nimport matplotlib.pyplot as plt", "imports"),
        ("from sklearn.linear_model import Ridge", ""),
        ("rng = np.random.default_rng(0)\nx = rng.normal(size=(1500, 300))\ny = x @ rng.normal(size=300)", "step:data"),
        ("model = Ridge().fit(x, y)\nproduct = float(np.linalg.norm(x @ x.T))", "step:fit"),
        ("plt.plot(model.coef_[:9])\nplt.show()", ""),
        ("frame = pd.DataFrame({'c': model.coef_, 'n': [str(v) for v in model.coef_]})", "step:table"),
        ("error = float(((model.predict(x) - y) ** 2).sum()) + len(frame)", "step:end"),
        ("print(error)\nprint(product)", "pipeline-metrics"),
    )
    warm, cold = run(path, cache=False), run(path, cache=False, cold=True)
    assert warm.state == cold.state == "done"
    assert notes(warm) == ""
    assert warm.metrics == cold.metrics
    digests = [{(n, a.name): a.sha256 for n, s in r.steps.items() for a in s.artifacts} for r in (warm, cold)]
    assert digests[0] == digests[1]
    assert len(digests[0]) == 4
    pictures = [
        [
            output["data"]["image/png"]
            for cell in json.loads((r.folder / str(r.steps["fit"].notebook)).read_text())["cells"]
            for output in cell.get("outputs", ())
            if "image/png" in output.get("data", {})
        ]
        for r in (warm, cold)
    ]
    assert len(pictures[0]) == 1
    assert pictures[0] == pictures[1]


def test_a_module_of_the_folder_that_is_called_as_one_of_pythons_is_not_run_by_helpers(project: Path) -> None:
    path = notebook(project / "notebooks" / "shadow.ipynb", ("import statistics\na = statistics.mean([1])", "step:one"))
    for name in ("statistics", "random", "profile", "papermill", "ipykernel", "kaleyard"):
        (project / f"{name}.py").write_text("import os\nopen(os.environ['MARK'], 'a').write(__name__ + ' ')")
    code = f"import sys; sys.path.remove(''); import kaleyard; print(kaleyard.run({str(path)!r}).state)"
    environment = os.environ | {"MARK": str(project / "mark")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=project, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "done"
    assert not (project / "mark").exists()


THREADS = "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\nvalue = 4\n"


@pytest.fixture
def threaded() -> Iterator[str]:
    """An installed module that starts a thread when it is imported."""
    import sysconfig

    path = Path(sysconfig.get_path("purelib")) / f"kaleyard_test_threads_{os.getpid()}.py"
    path.write_text(THREADS)
    yield path.stem
    path.unlink()


def test_an_import_that_starts_threads_makes_kernels_cold_and_is_told(project: Path, threaded: str) -> None:
    from kaleyard.execution.prewarm.preload import UnsafeImportError, preload

    code = (
        "from kaleyard.execution.prewarm.preload import *\n"
        f"try: preload({threaded!r})\nexcept UnsafeImportError as e: print(e)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert UnsafeImportError.__name__
    assert preload("json") is False
    assert told == f"importing {threaded} starts threads\n"

    # The name has no distribution, which is a finding of `check` and no concern of this test.
    (project / "pyproject.toml").write_text('[tool.kaleyard]\ndisable = ["KY401"]\n')
    path = notebook(
        project / "notebooks" / "threads.ipynb",
        (f"import {threaded}", "imports"),
        (f"a = {threaded}.value", "step:one"),
        ("b = a + 1", "step:two"),
    )
    done = run(path)
    assert done.state == "done"
    assert notes(done) == f"cold kernels (importing {threaded} starts threads)"


def test_a_long_name_of_the_temporary_folder_makes_kernels_cold(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = project / ("long" * 20)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    done = run(notebook(project / "notebooks" / "long.ipynb", ("a = 1", "step:one")))
    assert done.state == "done"
    assert notes(done) == f"cold kernels (the path {long} is too long for a socket)"


def servers_of(parent: psutil.Process) -> list[psutil.Process]:
    return [p for p in parent.children() if "kaleyard.execution.prewarm.kernel_server" in p.cmdline()]


def until(true: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.05)


def test_a_killed_kernel_server_costs_the_steps_it_had_and_the_others_go_on_cold(project: Path) -> None:
    path = notebook(
        project / "notebooks" / "killed.ipynb",
        ("import os, time", "imports"),
        ("open(os.environ['STARTED'], 'w').close()\ntime.sleep(60)\na = 1", "step:one"),
        ("b = 2", "step:two"),
        ("c = b + 1", "step:three"),
    )
    code = f"import kaleyard; print(kaleyard.run({str(path)!r}, jobs=1).folder)"
    environment = os.environ | {"STARTED": str(project / "started")}
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment)
    until((project / "started").exists)
    [server] = servers_of(psutil.Process(process.pid))
    server.kill()
    out, _ = process.communicate(timeout=60)
    done = kaleyard.load_run(Path(out.splitlines()[-1]))
    assert {n: s.state for n, s in done.steps.items()} == {"one": "failed", "two": "done", "three": "done"}
    assert done.steps["one"].error
    assert done.steps["one"].error["kind"] == "KernelDiedError"
    assert notes(done) == "cold kernels (the kernel server has ended)"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, None])
def test_no_process_and_no_folder_stays(project: Path, how: signal.Signals | None) -> None:
    wait = "" if how is None else "\nimport time; time.sleep(60)"
    path = notebook(project / "notebooks" / "stays.ipynb", (f"import numpy\na = 1{wait}", "step:one"))
    temporary = project / "t"
    temporary.mkdir()
    environment = os.environ | {"TMPDIR": f"/tmp/t{os.getpid()}-{how or 0}"}
    place = Path(environment["TMPDIR"])
    place.mkdir()
    command = [sys.executable, "-m", "kaleyard", "run", str(path)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        family: dict[int, psutil.Process] = {}
        while process.poll() is None and len(list(place.glob("ky-*/1"))) == 0:
            time.sleep(0.02)
        time.sleep(1.0 if how else 0.0)
        if how:
            family = {p.pid: p for p in psutil.Process(process.pid).children(recursive=True)}
            assert any("kernel_server" in " ".join(p.cmdline()) for p in family.values())
            process.send_signal(how)
        process.wait(30)
        until(lambda: not [p for p in family.values() if p.is_running() and p.status() != psutil.STATUS_ZOMBIE])
        until(lambda: not list(place.iterdir()))
    finally:
        process.kill()
        for left in place.glob("*"):
            subprocess.run(["rm", "-r", str(left)], check=True)
        place.rmdir()
