"""What a library finds and sets when it is imported: the same in a warm kernel, in a cold one and in Jupyter's own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import cache_from_source, find_spec
from pathlib import Path
from typing import Any

import pytest

import kaleyard
from kaleyard.execution.prewarm.fork_servers import cold_reason
from kaleyard.records.run_record import Run
from kaleyard.reporting.console import SilentReporter
from notebook_builder import NotebookCells, notebook

pytestmark = pytest.mark.skipif(bool(cold_reason()), reason=f"no warm kernels: {cold_reason()}")

# What tells of each library how it was imported; what it says is compared as text.
LIBRARIES = {
    "numpy": "{'print': numpy.get_printoptions(), 'errors': numpy.geterr()}",
    "pandas": "options(pandas)",
    "matplotlib": "{k: v for k, v in matplotlib.rcParams.items() if k != 'backend'}",
    "matplotlib.pyplot": "figures(matplotlib.pyplot)",
    "scipy": "[scipy.__version__, 'scipy.special' in sys.modules]",
    "scipy.stats": "scipy.stats.norm.random_state is numpy.random.mtrand._rand",
    "sklearn": "[sklearn.get_config(), os.environ.get('KMP_DUPLICATE_LIB_OK'), os.environ.get('KMP_INIT_AT_FORK')]",
    "sklearn.linear_model": "repr(sklearn.linear_model.Ridge().fit([[0.0], [1.0]], [0.0, 2.0]).coef_)",
    "tqdm.auto": "[c.__module__ for c in tqdm.auto.tqdm.__mro__]",
    "tqdm.autonotebook": "[tqdm.autonotebook.tqdm.__module__, 'tqdm.notebook' in sys.modules]",
    "rich": "[rich.get_console().is_jupyter, rich.get_console().width, rich.get_console().color_system]",
    "PIL.Image": "[sorted(PIL.Image.OPEN), PIL.Image.MAX_IMAGE_PIXELS]",
    "joblib": "[joblib.parallel.DEFAULT_BACKEND, joblib.cpu_count(), sorted(joblib.parallel.BACKENDS)]",
    "networkx": "[sorted(networkx.config.items()), networkx.gnp_random_graph(9, 0.5, seed=3).size()]",
    "polars": "[polars.thread_pool_size(), polars.Config.state(env_only=True)]",
    "pyarrow": "[pyarrow.cpu_count(), pyarrow.io_thread_count(), pyarrow.default_memory_pool().backend_name]",
    "skops.io": "sorted(skops.io.get_untrusted_types(data=skops.io.dumps({})))",
    "requests": "requests.utils.default_headers()",
    "yaml": "[yaml.__with_libyaml__, len(yaml.SafeLoader.yaml_constructors)]",
    "IPython.display": "IPython.display.display is vars(builtins)['display']",
    "dill": "[dill._dill.IS_IPYTHON, dill._dill.IPYTHON_SINGLETONS]",
    "click": "click.get_text_stream('stdout') is sys.stdout",
    "sympy": "str(sympy.Symbol('x') ** 2)",
    "plotly.io": "repr(plotly.io.renderers)",
    "seaborn": "sorted(matplotlib.colormaps)",
    "statsmodels.api": "statsmodels.api.__name__",
    "altair": "[altair.renderers.active, altair.data_transformers.active]",
    "bokeh.io": "str(bokeh.io.curstate())",
    "ipywidgets": "sorted(get_ipython().kernel.comm_manager.targets)",
}
INSTALLED = [name for name in LIBRARIES if find_spec(name.partition(".")[0]) is not None]

# Whether there was a library before it was imported is asked in a way that preloading does not take for meddling.
IMPORTS = "import sys\nearly = 'numpy' in vars(sys)['modules']\n" + "\n".join(f"import {name}" for name in INSTALLED)
# A module of the project: in a notebook's own cells this would keep its imports from being done ahead.
LOOKING = """
import builtins, json, locale, logging, os, random, sys, warnings
filters = list(warnings.filters)
from IPython import get_ipython
import matplotlib, numpy
def options(pandas):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return {k: pandas.get_option(k) for k in sorted(pandas._config.config._registered_options)}
def figures(pyplot):
    before = dict(matplotlib.rcParams)['backend']
    return [str(before), pyplot.get_backend(), pyplot.isinteractive(), str(pyplot._REPL_DISPLAYHOOK)]
def callbacks():
    known = get_ipython().events.callbacks
    return {e: [f.__module__ + '.' + f.__qualname__ for f in found] for e, found in known.items()}
def printers():
    # The numbers by which IPython knows values that there are once, such as None, are addresses.
    known = get_ipython().display_formatter.formatters
    return {
        kind: [f.enabled, sorted(t.__qualname__ for t in f.type_printers), sorted(map(str, f.deferred_printers))]
        for kind, f in known.items()
    }
def everywhere():
    shell = get_ipython()
    main = sys.modules['__main__']
    return {
        'warnings': [(f[0], getattr(f[1], 'pattern', f[1]), f[2].__name__, getattr(f[3], 'pattern', f[3]), f[4])
                     for f in filters],
        'showwarning': warnings.showwarning.__module__,
        'flags': sys.flags,
        'locale': [locale.getlocale(), locale.getpreferredencoding(), sys.getfilesystemencoding()],
        'main': [main is shell.user_module, main.__dict__ is shell.user_ns, hasattr(main, '__file__')],
        'streams': [type(s).__name__ for s in (sys.stdout, sys.stderr)] + [sys.stdout.isatty(), sys.stdout.encoding],
        'hooks': [type(sys.displayhook).__name__, sys.excepthook.__qualname__],
        'prompts': [sys.ps1, sys.ps2],
        'argument': os.path.basename(sys.argv[0]),
        'environment': {k: os.environ.get(k) for k in ('TERM', 'CLICOLOR', 'FORCE_COLOR', 'PAGER', 'MPLBACKEND')},
        'debugger': os.environ.get('PYDEVD_USE_FRAME_EVAL'),
        'shell': [type(shell).__qualname__, type(shell.kernel).__qualname__, type(shell.parent).__qualname__],
        'same': [shell is type(shell)._instance, shell.kernel.shell is shell, 'IPKernelApp' in shell.config],
        'callbacks': callbacks(),
        'printers': printers(),
        'magics': {kind: sorted(known) for kind, known in shell.magics_manager.magics.items()},
        'transformers': [len(shell.input_transformers_cleanup), len(shell.ast_transformers)],
        'loggers': [logging.root.level, len(logging.root.handlers), logging.raiseExceptions],
        'limits': [sys.getrecursionlimit(), sys.getswitchinterval()],
    }
def look(file_name, names):
    seen = {name: repr(value) for name, value in everywhere().items()}
    names |= globals()
    seen |= {name: repr(eval(told, names)) for name, told in LIBRARIES.items()}
    random.seed(0), numpy.random.seed(0)
    seen['seeded'] = repr([random.getstate(), str(numpy.random.get_state())])
    seen['early'] = names['early']
    seen['callbacks_after'] = repr(callbacks())
    with open(file_name, 'w') as file:
        json.dump(seen, file)
"""
LOOK = f"{IMPORTS}\nimport looking\nlooking.look('FILE', dict(globals()))"
FRAME = "wide = pandas.DataFrame({f'column {i}': [i, i * 1000.5] for i in range(30)}, index=['a', 'b'])"
# What is looked at besides.
EVERYWHERE = (
    "warnings showwarning flags locale main streams hooks prompts argument environment debugger shell same callbacks "
    "printers magics transformers loggers limits seeded callbacks_after"
).split()
DRAW = "_ = matplotlib.pyplot.plot([1, 2, 4])"
SHOW = f"{FRAME}\nprint(wide)\nwide"


@dataclass
class Seen:
    """What one kind of kernel is like: by names, and the outputs of the cells with imports, a frame and a figure."""

    looked: dict[str, str]
    imports: list[dict[str, Any]]
    frame: list[dict[str, Any]]
    figure: list[dict[str, Any]]
    early: bool


def outputs(path: Path, source: str) -> list[dict[str, Any]]:
    """The outputs of the cell that has this source, without what is a matter of chance."""
    cells = json.loads(path.read_text())["cells"]
    [cell] = [c for c in cells if "".join(c["source"]).strip() == source.strip() and c["cell_type"] == "code"]
    found = [{k: v for k, v in output.items() if k != "execution_count"} for output in cell["outputs"]]
    return json.loads(re.sub(r"/ipykernel_\d+/\d+", "/ipykernel", json.dumps(found)))  # type: ignore[no-any-return]


def run(folder: Path, *cells: NotebookCells, cold: bool = False) -> Run:
    name = "cold" if cold else "warm"
    path = notebook(folder / "notebooks" / f"{name}.ipynb", *cells)
    done = kaleyard.run(path, reporter=SilentReporter(), cache=False, cold=cold)
    assert done.state == "done", [step.error for step in done.steps.values()]
    assert bool(done.notes) is cold, done.notes
    # A kernel that the server has refused tells it there.
    assert not [text for n in done.steps if "cold" in (text := (done.folder / "steps" / n / "log.txt").read_text())]
    return done


def told(done: Run, step: str, name: str) -> Any:
    return json.loads(done.artifact(step, name).read_text())


def seen_by_kaleyard(folder: Path, *, cold: bool) -> Seen:
    file = folder / ("cold.json" if cold else "warm.json")
    done = run(folder, (LOOK.replace("FILE", str(file)), "step:look"), (SHOW, ""), (DRAW, ""), cold=cold)
    return seen(file, done.folder / str(done.steps["look"].notebook))


def start_jupyter(path: Path) -> subprocess.Popen[bytes]:
    """A process that runs the notebook as Jupyter does, and writes it where it was."""
    code = (
        "import nbformat, nbclient, sys; found = nbformat.read(sys.argv[1], 4)\n"
        "nbclient.NotebookClient(found, kernel_name='python3').execute(); nbformat.write(found, sys.argv[1])"
    )
    # The steps of a run have a seed for hashes, which shows in sys.flags.
    environment = os.environ | {"PYTHONHASHSEED": "0"}
    command = [sys.executable, "-W", "ignore", "-c", code, str(path)]
    return subprocess.Popen(command, cwd=path.parent, env=environment, stderr=subprocess.DEVNULL)


def seen(file: Path, executed: Path) -> Seen:
    looked = json.loads(file.read_text())
    return Seen(
        looked,
        outputs(executed, LOOK.replace("FILE", str(file))),
        outputs(executed, SHOW),
        outputs(executed, DRAW),
        looked.pop("early"),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project whose notebooks can look around."""
    folder = tmp_path_factory.mktemp("kernels")
    (folder / "pyproject.toml").write_text('[tool.kaleyard]\ndisable = ["KY401"]\n')
    (folder / "notebooks").mkdir()
    known = {name: LIBRARIES[name] for name in INSTALLED}
    (folder / "notebooks" / "looking.py").write_text(f"LIBRARIES = {known!r}\n{LOOKING}")
    # `own_settings` comes later than what is made once for this file.
    with pytest.MonkeyPatch.context() as patch:
        for name in [n for n in os.environ if n.startswith("KALEYARD_")]:
            patch.delenv(name)
        yield folder


@pytest.fixture(scope="module")
def kernels(folder: Path) -> dict[str, Seen]:
    """What was seen in each kind of kernel, by its name."""
    file = folder / "jupyter.json"
    cells = ((source, "") for source in (LOOK.replace("FILE", str(file)), SHOW, DRAW))
    stock = notebook(folder / "notebooks" / "jupyter.ipynb", *cells)
    with start_jupyter(stock) as process:
        found = {kind: seen_by_kaleyard(folder, cold=kind == "cold") for kind in ("warm", "cold")}
    assert process.returncode == 0
    return found | {"jupyter": seen(file, stock)}


def test_only_the_warm_kernel_had_imported_before(kernels: dict[str, Seen]) -> None:
    assert {kind: found.early for kind, found in kernels.items()} == {"warm": True, "cold": False, "jupyter": False}


def test_twenty_libraries_are_compared() -> None:
    assert len(INSTALLED) >= 20, "the lock has most of the table; the others are compared where they are installed"


@pytest.mark.parametrize("name", [*INSTALLED, *EVERYWHERE])
def test_it_is_the_same_in_a_warm_kernel_a_cold_one_and_jupyters(name: str, kernels: dict[str, Seen]) -> None:
    warm, cold, jupyter = (kernels[kind].looked[name] for kind in ("warm", "cold", "jupyter"))
    assert warm == cold
    assert warm == jupyter


def test_all_that_was_looked_at_is_compared(kernels: dict[str, Seen]) -> None:
    assert sorted(kernels["warm"].looked) == sorted([*INSTALLED, *EVERYWHERE])


def test_what_importing_says_comes_below_the_cell_that_imports(kernels: dict[str, Seen]) -> None:
    if "ipywidgets" not in INSTALLED:
        assert "TqdmWarning: IProgress not found" in str(kernels["warm"].imports)
    assert kernels["warm"].imports == kernels["cold"].imports == kernels["jupyter"].imports


def test_a_frame_with_many_columns_is_shown_the_same(kernels: dict[str, Seen]) -> None:
    text = "".join(kernels["warm"].frame[0]["text"])
    assert "..." in text
    assert "[2 rows x 30 columns]" in text
    assert kernels["warm"].frame == kernels["cold"].frame == kernels["jupyter"].frame


def test_a_figure_is_displayed_at_the_end_of_its_cell(kernels: dict[str, Seen]) -> None:
    [shown] = kernels["warm"].figure
    assert "image/png" in shown["data"]
    assert kernels["warm"].figure == kernels["cold"].figure == kernels["jupyter"].figure


# A library that looks around as thoroughly as it can when it is imported, and leaves something everywhere.
ASKS = """
import builtins, faulthandler, logging, os, random, sys, threading, warnings
import IPython, ipykernel.kernelapp, numpy
shell = get_ipython()
found = {
    'shell': [type(shell).__module__, type(shell).__name__, IPython.get_ipython() is shell],
    'builtins': [n in vars(builtins) for n in ('display', '__IPYTHON__', 'get_ipython')],
    'kernel': [type(shell.kernel).__name__, hasattr(shell.kernel, 'comm_manager'), type(shell.kernel.parent).__name__],
    'application': [ipykernel.kernelapp.IPKernelApp.initialized(), type(shell.parent).__name__],
    'config': ['IPKernelApp' in shell.config, str(shell.colors), shell.history_manager.enabled],
    'main': [hasattr(sys.modules['__main__'], '__file__'), sys.modules['__main__'].__name__],
    'streams': [sys.stdout.isatty(), sys.stdout.encoding, sys.stdout.name, isinstance(sys.stderr, type(sys.stdout))],
    'hooks': [type(sys.displayhook).__name__, hasattr(sys, 'ps1'), sys.flags.interactive],
    'environment': [os.environ.get(n) for n in ('TERM', 'FORCE_COLOR', 'PAGER', 'MPLBACKEND', 'PYDEVD_USE_FRAME_EVAL')],
    'argument': [os.path.basename(sys.argv[0]), sys.argv[1]],
    'names': [n for n in ('In', 'Out', '_dh', 'exit', 'quit', 'get_ipython') if n in shell.user_ns],
}
def draws():
    return [generator.random(), random.random(), float(numpy.random.rand()), float(numpy.random.default_rng().random())]
warnings.warn('take care', FutureWarning)
print('welcome')
warnings.warn('whoever imports this, take care', stacklevel=2)
warnings.warn('ignored below', stacklevel=2)
sys.stderr.write('goodbye\\n')
class Thing:
    pass
class Other(Thing):
    __repr__ = lambda other: 'itself'
calls = []
handler = logging.StreamHandler()
say, flush = sys.stdout.write, sys.stdout.flush
generator, seeded = random.Random(), random.Random(5)
warnings.filterwarnings('ignore', message='asks')
os.environ['ASKS_SET'] = 'set'
os.environ.setdefault('HOME', 'left')
shell.events.register('pre_run_cell', lambda info: calls.append('cell'))
shell.display_formatter.formatters['text/plain'].for_type(Thing, lambda thing, printer, cycle: printer.text('a thing'))
shell.display_formatter.formatters['text/html'].for_type_by_name(__name__, 'Other', lambda other: 'another')
shell.register_magic_function(lambda line: calls.append(line), 'line', 'asks')
shell.push({'pushed': 3})
shell.input_transformers_cleanup.append(lambda lines: [line.replace('as it was', 'transformed') for line in lines])
shell.left_here = 'here'
def later():
    return {
        'set': os.environ.get('ASKS_SET'), 'home': os.environ.get('HOME') == os.path.expanduser('~'),
        'seeded': seeded.random(), 'filter': [f[1].pattern for f in warnings.filters[:2] if f[1]],
        'same': [shell.kernel is get_ipython().kernel, shell.user_ns is get_ipython().user_ns,
                 shell.kernel.shell is get_ipython()],
        'stream': handler.stream is sys.stderr, 'kind': type(handler.stream).__name__,
        'here': get_ipython().left_here,
    }
"""
ASKED = """
import logging, warnings
warnings.filterwarnings('ignore', message='ignored below')
print('before')
import ASKS as asks
print('after')
asked = dict(asks.found)
"""
ASKED_LATER = r"""
later = asks.later()
logging.getLogger('asks').addHandler(asks.handler)
logging.getLogger('asks').error('through a handler')
print('printed')
_ = asks.say('through a method\n')
asks.flush()
display(asks.Thing(), asks.Other())
get_ipython().run_line_magic('asks', 'magic')
later['calls'] = asks.calls[-2:]
later['cell'] = 'as it was'
later['pushed'] = get_ipython().user_ns['pushed']
drawn = asks.draws()
"""


@pytest.fixture
def asking() -> Iterator[str]:
    """The name of an installed module that is ASKS."""
    path = Path(sysconfig.get_path("purelib")) / f"kaleyard_test_asks_{os.getpid()}.py"
    path.write_text(ASKS)
    yield path.stem
    path.unlink()
    Path(cache_from_source(str(path))).unlink(missing_ok=True)


def test_whatever_a_library_asks_and_leaves_at_import_is_as_in_a_cold_kernel(folder: Path, asking: str) -> None:
    asked = ASKED.replace("ASKS", asking)
    cells = (
        (asked, "step:ask"),
        (ASKED_LATER, ""),
        (f"import {asking} as asks\nagain = asks.draws()", "step:again"),
        ("whole = (asked, later, drawn, again)", "step:end"),
    )
    warm, cold = run(folder, *cells), run(folder, *cells, cold=True)
    for name in ("asked", "later"):
        found = [told(done, "ask", name) for done in (warm, cold)]
        assert found[0] == found[1]
    executed = [done.folder / str(done.steps["ask"].notebook) for done in (warm, cold)]
    imported, shown = ([outputs(path, cell) for path in executed] for cell in (asked, ASKED_LATER))
    texts = ("before", "welcome", "whoever imports", "take care", "goodbye", "after")
    assert [text for text in texts if text not in str(imported[0])] == []
    assert "ignored" not in str(imported[0])
    assert imported[0] == imported[1]
    assert "through a handler" in str(shown[0])
    assert shown[0] == shown[1]
    assert not set(told(warm, "ask", "drawn")) & set(told(warm, "again", "again"))


def test_before_a_fork_there_is_no_thread_and_no_socket(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from kaleyard.execution.prewarm.ipython_stub import StandIn\n"
        "with StandIn(Path(sys.argv[1])).importing('json'): import json\n"
        "files = [os.readlink(f) for f in Path('/proc/self/fd').iterdir() if f.is_symlink()]\n"
        "print(len(os.listdir('/proc/self/task')), [f for f in files if 'socket' in f or 'event' in f])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout == "1 []\n"
