"""Shared cells, layouts of code, and definitions made anew: printed by steps as by the whole notebook."""

from __future__ import annotations

from pathlib import Path

import pytest

from kernels_unneeded import assert_same
from notebook_builder import NotebookCells

SAME: dict[str, list[NotebookCells]] = {
    "star import in step": [("from math import *\nprint(sqrt(4))", "step:a"), ("print(1)", "step:b")],
    "__name__ doc": [("'''doc'''\nprint(__name__)", "step:a")],
    "underscore result": [("_=5\nprint(_)", "step:a")],
    "async def in step": [("import asyncio\nasync def f(): return 3", "step:a"), ("print(await f())", "step:b")],
    "await gather": [
        ("import asyncio", "imports"),
        ("async def f(x):\n    await asyncio.sleep(0)\n    return x\nr=await asyncio.gather(f(1),f(2))", "step:a"),
        ("print(r)", "step:b"),
    ],
    "type stmt const": [("A:int=3\nB:'list[int]'=[1]", "functions"), ("print(A,B)", "step:a")],
    "shared loop": [
        ("T={}\nfor i in range(3):\n    T[i]=i*i", "functions"),
        ("print(T)", "step:a"),
        ("print(sum(T.values()))", "step:b"),
    ],
    "shared if": [("DEBUG=False\nif DEBUG:\n    LEVEL=1\nelse:\n    LEVEL=2", "functions"), ("print(LEVEL)", "step:a")],
    "shared aug": [("X=1\nX+=2\nX*=2", "functions"), ("print(X)", "step:a")],
    "shared redefinition": [("def f(): return 1\nA=f()\ndef f(): return 2", "functions"), ("print(A,f())", "step:a")],
    "shared with": [
        ("import io\nwith io.StringIO('cfg') as fh:\n    CFG=fh.read()", "functions"),
        ("print(CFG)", "step:a"),
    ],
    "shared class then instance": [("class C:\n    v=1\nINST=C()\nINST.v=7", "functions"), ("print(INST.v)", "step:a")],
    "shared del": [("X=1\nY=X+1\ndel X", "functions"), ("print(Y)", "step:a")],
    "shared unpack": [("A,B=1,2", "functions"), ("print(B)", "step:a")],
    "shared chained const": [("A=1\nB=A+1\nC=B+1", "functions"), ("print(C)", "step:a")],
    "imports with code": [
        ("import sys, os\nHERE=os.getcwd()\nprint('loaded')", "imports"),
        ("print(len(HERE)>0)", "step:a"),
    ],
    "prev skips": [
        ("x=1", "step:a"),
        ("x=2", "step:b prev:a"),
        ("print(1)", "step:c prev:a"),
        ("print(x)", "step:d prev:b prev:c"),
    ],
    "metric in fn cell": [("m=1.5", "functions"), ("y=m", "step:a"), ("print(y)", "pipeline-metrics")],
    "code cell empty tags": [("", "step:a"), ("x=1", "step:b"), ("print(x)", "step:c")],
    "comment only": [("# nothing", "step:a"), ("print(1)", "step:b")],
    "indented cell magicless": [("x='''\n  a\n'''", "functions"), ("print(repr(x))", "step:a")],
    "crlf": [("x=1\r\ny='''a\r\nb'''\r\n", "step:a"), ("print(x)", "step:b")],
    "form feed": [("x=1\n\x0cy=2", "functions"), ("print(y)", "step:a")],
    "line cont": [("x = 1 + \\\n  2\ny='a' \\\n 'b'", "functions"), ("print(x,y)", "step:a")],
    "unicode sep in string": [("x='a\u2028b'\ny=2", "functions"), ("print(repr(x))", "step:a"), ("print(y)", "step:b")],
    "tabs": [("def f():\n\treturn 1", "functions"), ("print(f())", "step:a")],
    "decorated comment": [
        ("# about f\n@staticmethod\n# inner\ndef f(): return 1\nx=2", "functions"),
        ("print(x)", "step:a"),
    ],
    "semicolon group": [("a=1; b=a+1\nc=3", "functions"), ("print(b)", "step:a")],
    "if same line": [("if True: a=1; b=2", "functions"), ("print(b)", "step:a")],
    "string then code same line end": [("x='''a\nb'''; y=3", "functions"), ("print(y)", "step:a")],
    "aliased counter": [
        ("from collections import Counter\nc=Counter()", "step:a"),
        ("c['x']+=1", "step:b"),
        ("c.update('xy')", "step:c"),
        ("print(c)", "step:d"),
    ],
    "class uses step const": [("N=3\nclass A:\n    def f(self): return N", "step:a"), ("print(A().f())", "step:b")],
    "class instance uses step const": [
        ("N=3\nclass A:\n    def f(self): return N\na=A()", "step:a"),
        ("print(a.f())", "step:b"),
    ],
    "instance of class, helper": [
        ("def helper(): return 5", "functions"),
        ("class A:\n    def f(self): return helper()\na=A()", "step:a"),
        ("print(a.f())", "step:b"),
    ],
    "list of instances": [
        ("class A:\n    def __init__(s,v): s.v=v\nls=[A(i) for i in range(2)]", "step:a"),
        ("for x in ls: x.v+=1", "step:b"),
        ("print([x.v for x in ls])", "step:c"),
    ],
    "exception class": [
        ("class E(Exception): pass\ndef f(): raise E('q')", "functions"),
        ("try:\n    f()\nexcept E as e:\n    print(e)", "step:a"),
    ],
    "var named like step/param": [("a=1", "step:a"), ("b=a", "step:b"), ("print(b)", "step:c")],
    "fn default mutable": [
        ("def f(x,acc=[]):\n    acc.append(x)\n    return acc", "functions"),
        ("print(f(1))", "step:a"),
    ],
    "import alias shadow": [("import json as j", "imports"), ("j=5", "step:a"), ("print(j)", "step:b")],
    "import reimport": [("import json", "imports"), ("json={'a':1}\nprint(json)", "step:a"), ("print(json)", "step:b")],
    "try import in step": [
        ("try:\n    import ujson_zz as js\nexcept ImportError:\n    import json as js", "step:a"),
        ("print(js.dumps(2))", "step:b"),
    ],
    "local fn import": [("def f():\n    import json\n    return json.dumps(1)", "functions"), ("print(f())", "step:a")],
    "recursion two steps lambda": [
        ("fib=lambda n: n if n<2 else fib(n-1)+fib(n-2)", "step:a"),
        ("print(fib(7))", "step:b"),
    ],
    "print in functions": [("print('setup')\nX=1", "functions"), ("print(X)", "step:a")],
    "function made anew below a step": [
        ("def f(): return 1", "step:a"),
        ("print(f())", "step:b"),
        ("def f(): return 2", "functions"),
        ("print(f())", "step:c"),
    ],
    "function made anew in shared cells": [
        ("def f(): return 1", "functions"),
        ("print(f())", "step:a"),
        ("def f(): return 2", "functions"),
        ("print(f())", "step:b"),
    ],
    "function held while its name gets another": [
        ("def f(x): return x + 1\ng = f", "step:a"),
        ("def f(x): return g(x) * 2", "step:b"),
        ("print(f(3))", "step:c"),
    ],
    "instance of a class whose name gets another": [
        ("class A:\n    v = 1\na = A()", "step:a"),
        ("class A:\n    v = 2\nb = A()", "step:b prev:a"),
        ("print(a.v, b.v, isinstance(a, A), isinstance(b, A))", "step:c prev:b"),
    ],
    "class held while its name gets another": [
        ("class A:\n    v = 1\nold = {'class': A}", "step:a"),
        ("class A(old['class']):\n    w = 2", "step:b"),
        ("print(A.v, A.w, old['class'] is A)", "step:c"),
    ],
    "old and new under one name in one step": [
        ("class A:\n    v = 1\nold = A()\nclass A:\n    v = 2\nnew = A()", "step:a"),
        ("print(old.v, new.v, isinstance(old, A), isinstance(new, A))", "step:b"),
    ],
    "cached function held": [
        ("from functools import lru_cache\n@lru_cache\ndef f(x): return x + 1\nkept = [f]", "step:a"),
        ("@lru_cache\ndef f(x): return kept[0](x) * 2", "step:b"),
        ("print(f(3))", "step:c"),
    ],
    "decorated function held": [
        (
            """\
import functools
def plus(n):
    def deco(f):
        @functools.wraps(f)
        def w(x): return f(x) + n
        return w
    return deco""",
            "functions",
        ),
        ("@plus(1)\ndef f(x): return x\ng = f", "step:a"),
        ("@plus(10)\ndef f(x): return x", "step:b prev:a"),
        ("print(f(0), g(0))", "step:c prev:b"),
    ],
    "definition made anew beside one that reads a value as it runs": [
        ("c = 5", "step:a"),
        ("def g(x=c): return x\ndef g():\n    global c\n    c = c + 1", "step:b"),
        ("g()\nprint(c)", "step:c"),
    ],
    "shared value changed below a step": [
        ("m = {'k': 1}", "functions"),
        ("print(m)", "step:a"),
        ("m['k'] = 2", "functions"),
        ("print(m)", "step:b"),
    ],
}


@pytest.mark.parametrize("what", SAME)
def test_code_runs_where_the_notebook_has_it_by_now(what: str, tmp_path: Path) -> None:
    assert_same(tmp_path, *SAME[what])


REMADE: dict[str, list[NotebookCells]] = {
    "a function": [
        ("def f(): return 1", "functions"),
        ("print(f())", "step:a"),
        ("def f(): return 2", "functions"),
        ("print(f())", "step:a"),
        ("print(f())", "step:b"),
    ],
    "with a step's value as default": [
        ("def f(): return 1", "functions"),
        ("x = 5", "step:a"),
        ("print(f())", "step:b"),
        ("def f(k=x): return k", "functions"),
        ("print(f())", "step:b"),
        ("print(f())", "step:c"),
    ],
    "a function of an earlier step": [
        ("x = 1\ndef f(): return x", "step:a"),
        ("print(f())", "step:b"),
        ("def h(): return f()\ndef f(): return x + 1", "functions"),
        ("print(f(), h())", "step:b"),
        ("print(f(), h())", "step:c"),
    ],
    "a function of the step itself": [
        ("def f(): return 1\nprint(f())", "step:a"),
        ("def f(): return 2", "functions"),
        ("print(f())", "step:a"),
        ("print(f())", "step:b"),
    ],
    "what a carried function calls": [
        ("def f(): return 1\ndef g(): return f()", "functions"),
        ("print(g())", "step:a"),
        ("def f(): return 2", "functions"),
        ("print(g())", "step:a"),
    ],
    "a class and what is made of it": [
        ("class A: v = 1\nclass B(A): pass", "functions"),
        ("print(A.v, B.v)", "step:a"),
        ("class A: v = 2", "functions"),
        ("class B(A): pass", "functions"),
        ("print(A.v, B.v)", "step:a"),
    ],
    "an import": [
        ("from math import floor as f", "imports"),
        ("print(f(1.5))", "step:a"),
        ("from math import ceil as f", "imports"),
        ("print(f(1.5))", "step:a"),
    ],
    "twice": [
        ("def f(): return 1", "functions"),
        ("print(f())", "step:a"),
        ("def f(): return 2", "functions"),
        ("print(f())", "step:a"),
        ("def f(): return 3", "functions"),
        ("print(f())", "step:a"),
    ],
    "a constant": [("N = 1", "functions"), ("print(N)", "step:a"), ("N = 2", "functions"), ("print(N)", "step:a")],
}


@pytest.mark.parametrize("case", REMADE)
def test_what_a_shared_cell_between_the_cells_of_a_step_makes_anew_holds_from_there_on(
    case: str, tmp_path: Path
) -> None:
    assert_same(tmp_path, *REMADE[case])
