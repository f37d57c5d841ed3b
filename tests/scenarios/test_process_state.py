"""What lives in the process goes on from step to step as in one kernel: settings, random numbers, what classes hold."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from cutting import Outcome, differences, run_steps, run_whole
from notebook_builder import NotebookCells, load, notebook_bytes

IMPORTS = (
    "import os, random, warnings\nimport matplotlib.pyplot as plt\nimport numpy as np\nimport pandas as pd\n"
    "from functools import wraps\nnp.random.seed(0)"
)
FUNCTIONS = """\
def set_seed(s=0):
    random.seed(s)
def setup():
    pd.set_option('display.max_rows', 5)
class Account:
    count, log = 0, []
    def __init__(self, n):
        Account.count += 1
        self.n = n
    def note(self, text):
        self.log.append(text)
class Sub(Account):
    rate = 1
def remember(x, seen=[]):
    seen.append(x)
    return list(seen)
"""
CELLS: list[NotebookCells] = [
    (IMPORTS, "imports"),
    (FUNCTIONS, "functions"),
    ("set_seed()\nsetup()", "functions"),
    ("print(np.random.rand(3), random.random(), remember(1))", "step:draw"),
    ("print(np.random.rand(2), random.random())", "step:draw_on"),
    ("print('no draw')", "step:calm"),
    ("df = pd.DataFrame({'x': range(9)})\nprint(df)", "step:frame"),
    (
        (
            "plt.rcParams['figure.figsize'] = (3, 2)\npd.set_option('display.precision', 2)\n"
            "np.set_printoptions(precision=2)\nwarnings.filterwarnings('ignore')\nos.environ['MODE'] = 'fast'"
        ),
        "step:settings",
    ),
    ("df2 = pd.DataFrame({'x': np.random.rand(9)})\nprint(df2, np.array([1.23456]))", "step:see"),
    ("print(plt.rcParams['figure.figsize'], os.environ['MODE'], df2.sample(2))", "step:see_more"),
    ("from sklearn.model_selection import train_test_split\nprint(train_test_split(df2)[0])", "step:split"),
    ("1 / 0", "raises-exception"),
    ("print('on', random.random())", ""),
    ("a = Account('x')\na.note(1)\nb = Sub('y')\nb.note(2)\nprint(Account.count, remember(2))", "step:open"),
    (
        (
            "Sub.rate = 5\ndef hello(self): return 'hi ' + self.n\nAccount.hello = hello\n"
            "LOG = []\ndef logged(f):\n    @wraps(f)\n    def inner(*args):\n        LOG.append(f.__name__)\n"
            "        return f(*args)\n    return inner\nAccount.hello = logged(Account.hello)\nprint(a.hello(), LOG)"
        ),
        "step:patch",
    ),
    ("c = Account('z')\nprint(b.rate, b.hello(), Account.count, a.log, LOG, isinstance(b, Account))", "step:use"),
    ("print(remember(3), remember.__defaults__, Account.count)", "step:last"),
]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Outcome, Outcome]:
    """What the notebook gives whole, and in steps."""
    made = nbformat.reads(notebook_bytes(*CELLS).decode(), 4)
    whole = run_whole(made, tmp_path_factory.mktemp("whole"))
    steps = run_steps(made, tmp_path_factory.mktemp("steps"))
    assert steps.error == ""
    return whole, steps


OWN = [n for n, (_, tags) in enumerate(CELLS, 1) if tags not in ("imports", "functions")]


@pytest.mark.parametrize("cell", OWN)
def test_a_cell_tells_in_its_step_what_it_tells_in_one_kernel(cell: int, both: tuple[Outcome, Outcome]) -> None:
    whole, steps = both
    assert steps.texts[cell] == whole.texts[cell]
    assert whole.texts[cell] or "settings" in CELLS[cell - 1][1]


def test_nothing_else_differs(both: tuple[Outcome, Outcome]) -> None:
    assert differences(*both) == []


def test_the_random_state_passes_over_steps_that_cannot_draw(tmp_path: Path) -> None:
    pipeline = load(tmp_path, *CELLS[:7])
    takes = {s.name: [i.step for i in s.inputs if i.name == "kaleyard_random_state"] for s in pipeline.steps}
    assert takes == {"draw": [], "draw_on": ["draw"], "calm": [], "frame": []}
    assert pipeline.step("draw").random_state == ("numpy", "random")


def test_a_step_that_seeds_first_needs_no_state(tmp_path: Path) -> None:
    cells: list[NotebookCells] = [
        ("import numpy as np", "imports"),
        ("np.random.seed(1)\nprint(np.random.rand())", "step:a"),
        ("np.random.seed(2)\nprint(np.random.rand())", "step:b"),
        ("print(np.random.rand())", "step:c"),
    ]
    pipeline = load(tmp_path, *cells)
    assert [s.upstream for s in pipeline.steps] == [(), (), ("b",)]


@pytest.mark.parametrize(
    ("shared", "use", "goes"),
    [
        ("import pandas as pd\npd.set_option('display.width', 50)", "print(pd.Series([1]))", True),
        ("import pandas as pd\npd.set_option('display.width', 50)", "print(1)", False),
        ("import os\nos.environ['A'] = 'b'", "print(1)", True),
        ("def f(): print('hello')\nf()", "print(1)", True),
        ("import pandas as pd\ndef f(): pd.set_option('display.width', 50)\nf()", "print(1)", False),
    ],
)
def test_a_statement_with_effects_goes_where_they_can_be_seen(
    shared: str, use: str, goes: bool, tmp_path: Path
) -> None:
    (step,) = load(tmp_path, (shared, "imports"), (use, "step:a")).steps
    carried = "\n".join(cell.source for cell in step.setup)
    assert (shared.splitlines()[-1] in carried) is goes
