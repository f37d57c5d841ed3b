"""Values, names of every kind, and what functions change: printed by steps as by the whole notebook."""

from __future__ import annotations

from pathlib import Path

import pytest

from kernels_unneeded import assert_same
from notebook_builder import NotebookCells

SAME: dict[str, list[NotebookCells]] = {
    "basic": [("x=1", "step:a"), ("y=x+1\nprint(y)", "step:b"), ("print(x,y)", "step:c")],
    "aug": [("x=1", "step:a"), ("x+=1", "step:b"), ("print(x)", "step:c")],
    "inplace": [("l=[1]", "step:a"), ("l.append(2)", "step:b"), ("print(l)", "step:c")],
    "loopvar": [("for i in range(3): pass", "step:a"), ("print(i)", "step:b")],
    "walrus": [("if (n:=10)>5: pass", "step:a"), ("print(n)", "step:b")],
    "walrus_comp": [("v=[last:=x for x in range(4)]", "step:a"), ("print(last,v)", "step:b")],
    "match": [("m={'k':1,'z':[2,3]}\nmatch m:\n    case {'k':k,**rest}: pass", "step:a"), ("print(k,rest)", "step:b")],
    "with": [("import io\nwith io.StringIO('q') as fh:\n    t=fh.read()", "step:a"), ("print(t)", "step:b")],
    "import in step": [("import math\nx=math.pi", "step:a"), ("print(math.floor(x))", "step:b")],
    "import submodule": [
        ("import os.path\nimport xml.dom", "imports"),
        ("import xml.sax", "step:a"),
        ("print(os.path.join('a','b'), xml.sax.__name__, xml.dom.__name__)", "step:b"),
    ],
    "function in step": [("k=3\ndef f(x): return x*k", "step:a"), ("print(f(2))", "step:b")],
    "function redefined": [
        ("def f(): return 1", "functions"),
        ("def f(): return 2", "step:a"),
        ("print(f())", "step:b"),
    ],
    "closure": [
        ("def mk(n):\n    def inner(x): return x+n\n    return inner", "functions"),
        ("add=mk(3)", "step:a"),
        ("print(add(4))", "step:b"),
    ],
    "partial": [
        ("from functools import partial\ndef p(a,b): return a-b\nm=partial(p,10)", "step:a"),
        ("print(m(3))", "step:b"),
    ],
    "recursion": [("def fact(n): return 1 if n<2 else n*fact(n-1)", "step:a"), ("print(fact(5))", "step:b")],
    "mutual": [
        ("def even(n): return n==0 or odd(n-1)", "step:a"),
        ("def odd(n): return n!=0 and even(n-1)", "step:b"),
        ("print(even(4))", "step:c"),
    ],
    "dataclass": [
        (
            "from dataclasses import dataclass\n@dataclass\nclass P:\n    x:int=1\n    def d(self): return self.x*2",
            "functions",
        ),
        ("p=P(4)", "step:a"),
        ("print(p, p.d(), isinstance(p,P))", "step:b"),
    ],
    "dataclass in step": [
        ("from dataclasses import dataclass\n@dataclass\nclass P:\n    x:int=1\np=P(3)", "step:a"),
        ("print(p, isinstance(p,P))", "step:b"),
    ],
    "class value only": [
        ("class P:\n    def __init__(s): s.v=1\n    def __repr__(s): return f'P{s.v}'\np=P()", "step:a"),
        ("p.v=5", "step:b"),
        ("print(p)", "step:c"),
    ],
    "enum": [
        ("from enum import Enum\nclass C(Enum):\n    R=1\n    G=2\nc=C.R", "step:a"),
        ("print(c is C.R, c==C.R)", "step:b"),
    ],
    "decorator": [
        (
            "import functools\ndef deco(f):\n    @functools.wraps(f)\n    def w(*a): return f(*a)+1\n    return w",
            "functions",
        ),
        ("@deco\ndef g(x): return x", "step:a"),
        ("print(g(1))", "step:b"),
    ],
    "decorator registry": [
        ("REG={}\ndef reg(f):\n    REG[f.__name__]=f\n    return f\n@reg\ndef h(): return 7", "functions"),
        ("print(sorted(REG))", "step:a"),
    ],
    "star": [("from math import *", "imports"), ("print(floor(2.5))", "step:a")],
    "guard": [
        ("try:\n    import nope_zz as json2\nexcept ImportError:\n    import json as json2", "imports"),
        ("print(json2.dumps(1))", "step:a"),
    ],
    "guard flag": [
        ("try:\n    import nope_zz\n    HAVE=True\nexcept ImportError:\n    HAVE=False", "imports"),
        ("print(HAVE)", "step:a"),
    ],
    "branch": [("import random\nx=1\nif x>5:\n    y=2\nelse:\n    z=3", "step:a"), ("print(z)", "step:b")],
    "branch rebinding": [("x=1", "step:a"), ("if x>5:\n    x=100", "step:b"), ("print(x)", "step:c")],
    "type checking": [
        (
            "from __future__ import annotations\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from collections import OrderedDict",  # noqa: E501
            "imports",
        ),
        ("def f(x: OrderedDict) -> int: return 1", "functions"),
        ("print(f(1))", "step:a"),
    ],
    "del": [("x=1\ny=2\ndel x", "step:a"), ("print(y)", "step:b")],
    "del rebinding": [("x=1", "step:a"), ("x=2\ndel x", "step:b"), ("x=3\nprint(x)", "step:c")],
    "global": [("n=0\ndef inc():\n    global n\n    n+=1", "step:a"), ("inc()", "step:b"), ("print(n)", "step:c")],
    "global in shared": [
        ("n=0\ndef inc():\n    global n\n    n+=1", "functions"),
        ("inc()\nprint(n)", "step:a"),
        ("inc()\nprint(n)", "step:b"),
        ("print(n)", "step:c"),
    ],
    "split": [("a=1", "step:p"), ("b=a+1", "step:q"), ("a=a+10\nprint(a)", "step:p2"), ("print(a,b)", "step:r")],
    "untagged continues": [("a=1", "step:p"), ("a+=1", ""), ("print(a)", "step:q")],
    "shadow builtin": [("list=[1,2]\nid=3", "step:a"), ("print(list,id)", "step:b")],
    "param id": [("id=3\nmax=2", "pipeline-parameters"), ("print(id+max)", "step:a")],
    "param used in fn": [("K=3", "pipeline-parameters"), ("def f(): return K", "functions"), ("print(f())", "step:a")],
    "param reassigned": [("K=3", "pipeline-parameters"), ("K=4\nprint(K)", "step:a"), ("print(K)", "step:b")],
    "step called import": [("x=1", "step:import"), ("print(x)", "step:list"), ("print(x)", "step:json")],
    "unicode": [("größe=1\n变量='é'", "step:a"), ("print(größe,变量)", "step:b")],
    "nfkc": [("ﬁ=1", "step:a"), ("print(fi)", "step:b")],
    "quotes": [("q='''a\"\"\"b\\\\n{x}'''", "step:a"), ("print(repr(q))", "step:b")],
    "multiline string in functions": [
        ("def f():\n    return '''a\n  b\n'''\nX='''\n    keep\n    this\n'''", "functions"),
        ("print(repr(X))", "step:a"),
        ("print(repr(f()))", "step:b"),
    ],
    "await": [
        ("import asyncio\nasync def co(): return 5", "functions"),
        ("v=await co()", "step:a"),
        ("print(v)", "step:b"),
    ],
    "async for with": [
        ("async def gen():\n    yield 1\nvals=[x async for x in gen()]", "step:a"),
        ("print(vals)", "step:b"),
    ],
    "fn changes arg": [
        ("def add(l,x): l.append(x)", "functions"),
        ("l=[]", "step:a"),
        ("add(l,1)", "step:b"),
        ("print(l)", "step:c"),
    ],
    "fn changes global list": [
        ("log=[]\ndef add(x): log.append(x)", "functions"),
        ("add(1)", "step:a"),
        ("add(2)", "step:b"),
        ("print(log)", "step:c"),
    ],
    "fn changes kwarg": [
        ("def add(x,*,into): into.append(x)", "functions"),
        ("l=[]", "step:a"),
        ("add(1,into=l)", "step:b"),
        ("print(l)", "step:c"),
    ],
    "fn via fn changes arg": [
        ("def add(l,x): l.append(x)\ndef add2(l): add(l,9)", "functions"),
        ("l=[]", "step:a"),
        ("add2(l)", "step:b"),
        ("print(l)", "step:c"),
    ],
    "local alias in fn": [
        ("def add(l):\n    m=l\n    m.append(1)", "functions"),
        ("l=[]", "step:a"),
        ("add(l)", "step:b"),
        ("print(l)", "step:c"),
    ],
    "alias across": [("a=[1]", "step:a"), ("b=a\nb.append(2)", "step:b"), ("print(a)", "step:c")],
    "loop var alias": [
        ("rows=[{'a':1},{'a':2}]", "step:a"),
        ("for r in rows:\n    r['a']+=1", "step:b"),
        ("print(rows)", "step:c"),
    ],
    "loop var alias items": [
        ("d={'x':[1]}", "step:a"),
        ("for k,v in d.items():\n    v.append(3)", "step:b"),
        ("print(d)", "step:c"),
    ],
    "subalias": [("d={'x':[1]}", "step:a"), ("v=d['x']\nv.append(3)", "step:b"), ("print(d)", "step:c")],
    "nested attr": [("class A: pass\na=A()\na.b=[]", "step:a"), ("a.b.append(2)", "step:b"), ("print(a.b)", "step:c")],
    "list of lists comprehension side": [
        ("l=[]", "step:a"),
        ("[l.append(i) for i in range(3)]", "step:b"),
        ("print(l)", "step:c"),
    ],
    "map lambda side": [
        ("l=[]", "step:a"),
        ("for _ in map(lambda x:l.append(x),[1,2]): pass", "step:b"),
        ("print(l)", "step:c"),
    ],
    "method self change": [
        ("class Acc:\n    def __init__(self): self.t=[]\n    def put(self,x): self.t.append(x)\nacc=Acc()", "step:a"),
        ("acc.put(3)", "step:b"),
        ("print(acc.t)", "step:c"),
    ],
    "iadd list attr": [("d={'n':0}", "step:a"), ("d['n']+=1", "step:b"), ("print(d)", "step:c")],
    "swap": [("a,b=1,2", "step:a"), ("a,b=b,a", "step:b"), ("print(a,b)", "step:c")],
    "starred": [("a,*b=[1,2,3]", "step:a"), ("print(b)", "step:b")],
    "try var": [
        ("try:\n    v=int('x')\nexcept ValueError as e:\n    v=-1\nfinally:\n    w=2", "step:a"),
        ("print(v,w)", "step:b"),
    ],
    "while": [("i=0\nwhile i<3:\n    i+=1\nelse:\n    done=True", "step:a"), ("print(i,done)", "step:b")],
    "while true break": [
        ("i=0\nwhile True:\n    i+=1\n    if i>3:\n        found=i\n        break", "step:a"),
        ("print(found)", "step:b"),
    ],
    "default arg step value": [
        ("base=2", "step:a"),
        ("def f(x,b=base): return x*b", "step:b"),
        ("base=100\nprint(f(2))", "step:c"),
    ],
    "const in functions": [("A=2\nB=A*3", "functions"), ("print(B)", "step:a")],
    "const changed then used": [("A=2", "functions"), ("A=5", "step:a"), ("print(A)", "step:b")],
    "const fn after change": [
        ("A=2\ndef f(): return A", "functions"),
        ("A=5\nprint(f())", "step:a"),
        ("print(f())", "step:b"),
    ],
    "shared depends param": [("P=4", "pipeline-parameters"), ("Q=P*2", "functions"), ("print(Q)", "step:a")],
    "param after change shared derived": [
        ("P=4", "pipeline-parameters"),
        ("Q=P*2", "functions"),
        ("P=10", "step:a"),
        ("print(Q)", "step:b"),
    ],
    "shared later uses step value": [("x=3", "step:a"), ("def f(): return x", "functions"), ("print(f())", "step:b")],
    "shared unit computed from stateful": [
        ("import itertools\nc=itertools.count()", "functions"),
        ("print(next(c))", "step:a"),
        ("print(next(c))", "step:b"),
    ],
    "rng": [("import random\nrandom.seed(3)", "imports"), ("x=random.random()", "step:a"), ("print(x)", "step:b")],
    "class inheritance": [
        ("class A:\n    def hi(self): return 'a'", "functions"),
        ("class B(A):\n    def hi(self): return super().hi()+'b'\nb=B()", "step:x"),
        ("print(b.hi())", "step:y"),
    ],
    "fn annotations": [
        ("import typing as t\ndef f(x: t.List[int]) -> 't.Any': return x", "functions"),
        ("print(f([1]))", "step:a"),
    ],
    "step fn uses name made later only": [
        ("def f(): return late", "step:a"),
        ("late=4", "step:b"),
        ("print(f())", "step:c"),
    ],
    "fn stored in dict": [("def sq(x): return x*x\nops={'sq':sq}", "step:a"), ("print(ops['sq'](3))", "step:b")],
    "fn stored with global": [
        ("k=5\ndef sq(x): return x*k\nops={'sq':sq}", "step:a"),
        ("print(ops['sq'](3))", "step:b"),
    ],
    "metrics": [("x=1\nacc=0.5", "step:a"), ("acc=0.75", "step:b"), ("print(acc)", "pipeline-metrics")],
    "metrics var from aug": [("acc=1", "step:a"), ("acc+=1", "step:b"), ("print(acc)", "pipeline-metrics")],
}


@pytest.mark.parametrize("what", SAME)
def test_values_reach_the_steps_that_use_them(what: str, tmp_path: Path) -> None:
    assert_same(tmp_path, *SAME[what])
