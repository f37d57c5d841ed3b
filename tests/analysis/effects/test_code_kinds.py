"""Code of every kind in real kernels: what IPython runs, and what travels as source from step to step."""

from __future__ import annotations

import json
from pathlib import Path

import kaleyard
from kaleyard.reporting.console import SilentReporter
from notebook_builder import notebook

IMPORTS = """\
%matplotlib inline
import asyncio, functools
from enum import Enum
try:
    import surely_not_installed as fast
except ImportError:
    fast = None
from math import *
"""
FUNCTIONS = r'''
def quoted():
    """Quotes "inside", 'single' and a \\ backslash {brace}"""
    return 'a "b" \'c\' \\ {d} \t """e""" ' + "\N{SNOWMAN}"


def fact(n):
    return 1 if n < 2 else n * fact(n - 1)
'''
FIRST = """\
%%time
import fractions
größe = 3
half = fractions.Fraction(1, größe)
pick = lambda x: x + OFFSET
class Mode(Enum):
    ON = "on"
mode = Mode.ON
def decorate(f):
    @functools.wraps(f)
    def inner(*args):
        return f(*args) * 2
    return inner
@decorate
def triple(x):
    return 3 * x
total = 0
for i in range(4):
    total += i
if (limit := total) > 3:
    found = "large"
kept = [1, 2]
gone = 5
del gone
"""
MAGICS = """\
%%capture output
print("hidden")
shown = !echo {größe} words
"""
AWAITS = "await asyncio.sleep(0)\nwaited = await asyncio.sleep(0, result='done')"
BASH = "%%bash\necho from bash > file.txt"
SECOND = """\
kept.append(total)
match mode:
    case Mode.ON:
        text = quoted()
    case _:
        text = "off"
answers = [fractions.Fraction(1, 2) + half == fractions.Fraction(5, 6), pick(1), triple(2), fact(5), found, limit]
answers += [fast is None, floor(2.5), [largest for largest in kept], shown[0], waited, i, mode is Mode.ON, text]
"""
THIRD = "ending = [answers, kept, list, json]\nending"


def test_code_of_every_kind_runs_as_in_one_notebook(project: Path) -> None:
    path = notebook(
        project / "notebooks" / "kinds.ipynb",
        (IMPORTS, "imports"),
        ("OFFSET = 10\nid = 7", "pipeline-parameters"),
        (FUNCTIONS, "functions"),
        (FIRST, "step:import"),
        (MAGICS, ""),
        (AWAITS, ""),
        (BASH, ""),
        (SECOND, "step:list"),
        ("json = id + 1", "step:json"),
        (THIRD.replace("list, json", "json"), "step:last"),
    )
    text = path.read_text().replace("\\n", "\\r\\n")
    path.write_text(text)
    done = kaleyard.run(path, reporter=SilentReporter())
    assert done.state == "done", [s.error for s in done.steps.values() if s.error]
    answers, kept, number = json.loads(done.artifact("last", "ending").read_text())
    quoted = 'a "b" \'c\' \\ {d} \t """e""" \N{SNOWMAN}'
    assert answers[:6] == [True, 11, 12, 120, "large", 6]
    assert answers[6:] == [True, 2, [1, 2, 6], "3 words", "done", 3, True, quoted]
    assert kept == [1, 2, 6]
    assert number == 8
