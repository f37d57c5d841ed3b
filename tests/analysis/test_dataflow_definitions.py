"""Functions, classes, decorators and all that defines: printed by steps as by the whole notebook."""

from __future__ import annotations

from pathlib import Path

import pytest

from kernels_unneeded import assert_same
from notebook_builder import NotebookCells

SAME: dict[str, list[NotebookCells]] = {
    "step split around": [
        ("a=1", "step:p"),
        ("b=2", "step:q"),
        ("c=a+5\nprint(c)", "step:p"),
        ("print(b+c)", "step:r"),
    ],
    "semi": [("x=1; y=2\ndef f(): return x; \nz=f(); print(z)", "step:a"), ("print(y,z)", "step:b")],
    "if main": [("if __name__=='__main__':\n    x=5", "step:a"), ("print(x)", "step:b")],
    "globals fn": [("x=1\nprint(sorted(k for k in globals() if k in 'xy'))", "step:a")],
    "comprehension shadows": [("x=9\nl=[x for x in range(3)]", "step:a"), ("print(x,l)", "step:b")],
    "nested comp class": [
        ("n=3\nclass A:\n    v=[i*2 for i in range(n)]\n    w=v[0]", "step:a"),
        ("print(A.v,A.w)", "step:b"),
    ],
    "except star": [
        (
            "try:\n    raise ExceptionGroup('g',[ValueError(1)])\nexcept* ValueError as eg:\n    n=len(eg.exceptions)",
            "step:a",
        ),
        ("print(n)", "step:b"),
    ],
    "future": [
        ("from __future__ import annotations", "imports"),
        ("import dataclasses\n@dataclasses.dataclass\nclass A:\n    x: Undefined\na=A(2)", "step:a"),
        ("print(a.x)", "step:b"),
    ],
    "printed only": [("print('hi')", "step:a"), ("print('yo')", "step:b")],
    "string annotation var": [("x: int = 3\ny: 'Foo'\n", "step:a"), ("print(x)", "step:b")],
    "lambda in shared": [("f=lambda x: x+off\noff=3", "functions"), ("print(f(1))", "step:a")],
    "conditional function": [
        (
            "import sys\nif sys.version_info>(3,):\n    def f(): return 'new'\nelse:\n    def f(): return 'old'",
            "functions",
        ),
        ("print(f())", "step:a"),
    ],
    "conditional function step": [
        (
            "import sys\nif sys.version_info>(3,):\n    def f(): return 'new'\nelse:\n    def f(): return 'old'",
            "step:a",
        ),
        ("print(f())", "step:b"),
    ],
    "fn attr": [("def f(): f.n+=1; return f.n\nf.n=0", "step:a"), ("print(f())", "step:b"), ("print(f())", "step:c")],
    "fn attr shared": [
        ("def f(): f.n+=1; return f.n\nf.n=0", "functions"),
        ("print(f())", "step:a"),
        ("print(f())", "step:b"),
    ],
    "lru cache": [
        ("from functools import lru_cache\n@lru_cache\ndef f(x): return x*2", "step:a"),
        ("print(f(2))", "step:b"),
    ],
    "namedtuple": [
        ("from collections import namedtuple\nP=namedtuple('P','x y')", "functions"),
        ("p=P(1,2)", "step:a"),
        ("print(p, p.x, isinstance(p,P))", "step:b"),
    ],
    "namedtuple in step": [
        ("from collections import namedtuple\nP=namedtuple('P','x y')\np=P(1,2)", "step:a"),
        ("print(p, p.x, isinstance(p,P))", "step:b"),
    ],
    "typevar generic": [
        (
            "from typing import TypeVar, Generic\nT=TypeVar('T')\nclass Box(Generic[T]):\n    def __init__(s,v:T): s.v=v",  # noqa: E501
            "functions",
        ),
        ("b=Box(3)", "step:a"),
        ("print(b.v)", "step:b"),
    ],
    "two classes circular": [
        ("class A:\n    def mk(self): return B()\nclass B:\n    def mk(self): return A()", "step:a"),
        ("print(type(A().mk()).__name__)", "step:b"),
    ],
    "delete item": [("d={'a':1,'b':2}", "step:a"), ("del d['a']", "step:b"), ("print(d)", "step:c")],
    "aug global via method": [
        ("import collections\ncnt=collections.Counter()", "functions"),
        ("cnt.update('aab')", "step:a"),
        ("print(cnt)", "step:b"),
    ],
    "np import changed": [
        ("import re", "imports"),
        ("p=re.compile('a')", "step:a"),
        ("print(re.match('a','a') is not None)", "step:b"),
    ],
    "os.environ": [
        ("import os", "imports"),
        ("os.environ.update(QQ='1')", "step:a"),
        ("print(os.getcwd() != '')", "step:b"),
    ],
    "lambda": [("k=2\nsq=lambda x:x**k", "step:a"), ("k=3", "step:b prev:a"), ("print(sq(2))", "step:c prev:b")],
    "function of a name made anew": [
        ("k=1\ndef f(): return k", "step:a"),
        ("k=2", "step:b prev:a"),
        ("print(f())", "step:c prev:b"),
    ],
    "cls ann": [
        ("import typing as t\nclass A:\n    x: t.List[int]\n    def m(self) -> t.Any: return 1", "functions"),
        ("print(A().m())", "step:a"),
    ],
    "aug on param": [("K=3", "pipeline-parameters"), ("K+=1\nprint(K)", "step:a"), ("print(K)", "step:b")],
    "param list changed": [
        ("L=[1]", "pipeline-parameters"),
        ("L.append(2)\nprint(L)", "step:a"),
        ("print(L)", "step:b"),
    ],
    "global stmt top": [("global z\nz=4", "step:a"), ("print(z)", "step:b")],
    "fn using param default": [
        ("K=3", "pipeline-parameters"),
        ("def f(x=K): return x", "functions"),
        ("print(f())", "step:a"),
    ],
    "generator fn": [("def g():\n    yield from range(3)", "functions"), ("print(list(g()))", "step:a")],
    "nested def read": [("q=3", "step:a"), ("def f():\n    def g(): return q\n    return g()\nprint(f())", "step:b")],
    "class body comp": [
        ("q=[1,2]", "step:a"),
        ("class A:\n    z=[i for i in q]\nprint(A.z)", "step:b"),
        ("print(A.z)", "step:c"),
    ],
    "try/finally del": [("x=1\ntry:\n    y=x\nfinally:\n    del x", "step:a"), ("print(y)", "step:b")],
    "fstring": [("name='w';n=3", "step:a"), ("print(f'{name!r:>{n}} {n=}')", "step:b")],
    "except name": [
        ("try:\n    1/0\nexcept ZeroDivisionError as e:\n    msg=str(e)", "step:a"),
        ("print(msg)", "step:b"),
    ],
    "multi with": [
        ("import contextlib\n@contextlib.contextmanager\ndef cm(x):\n    yield x", "functions"),
        ("with cm(1) as a, cm(2) as b: c=a+b", "step:a"),
        ("print(a,b,c)", "step:b"),
    ],
    "slots/property": [
        (
            "class A:\n    def __init__(self): self._x=1\n    @property\n    def x(self): return self._x\n    @x.setter\n    def x(self,v): self._x=v",  # noqa: E501
            "functions",
        ),
        ("a=A()", "step:a"),
        ("a.x=5", "step:b"),
        ("print(a.x)", "step:c"),
    ],
    "iadd in place on attr list": [
        ("class A: pass\na=A(); a.l=[1]", "step:a"),
        ("a.l += [2]", "step:b"),
        ("print(a.l)", "step:c"),
    ],
    "call fn that calls method": [
        (
            "class A:\n    def __init__(self): self.l=[]\n    def add(self,x): self.l.append(x)\ndef use(a): a.add(1)",
            "functions",
        ),
        ("a=A()", "step:a"),
        ("use(a)", "step:b"),
        ("print(a.l)", "step:c"),
    ],
    "fn passed": [
        ("def app(f,x): f(x)", "functions"),
        ("l=[1]", "step:a"),
        ("app(l.append,2)", "step:b"),
        ("print(l)", "step:c"),
    ],
    "map unbound": [("l=[1]", "step:a"), ("list(map(l.append,[2,3]))", "step:b"), ("print(l)", "step:c")],
    "bound method var": [("l=[1]", "step:a"), ("add=l.append\nadd(2)", "step:b"), ("print(l)", "step:c")],
    "zip update": [("d={}", "step:a"), ("d.update(a=1)\nd|={'b':2}", "step:b"), ("print(d)", "step:c")],
    "del slice": [("l=[1,2,3]", "step:a"), ("del l[0:1]\nl[0]+=5", "step:b"), ("print(l)", "step:c")],
    "name in type alias": [
        ("from typing import Union\nNum=Union[int,float]", "functions"),
        ("def f(x: Num)->Num: return x\nprint(f(1))", "step:a"),
    ],
    "decorated class in shared": [
        (
            "import dataclasses as dc\n@dc.dataclass(frozen=True)\nclass C:\n    a:int=0\n    b:list=dc.field(default_factory=list)",  # noqa: E501
            "functions",
        ),
        ("c=C(1)", "step:a"),
        ("print(c==C(1), hash(c.a))", "step:b"),
    ],
    "abstract": [
        (
            "import abc\nclass B(abc.ABC):\n    @abc.abstractmethod\n    def f(self): ...\nclass D(B):\n    def f(self): return 1",  # noqa: E501
            "functions",
        ),
        ("d=D()", "step:a"),
        ("print(d.f(), isinstance(d,B))", "step:b"),
    ],
    "metaclass": [
        (
            "class M(type):\n    reg={}\n    def __new__(m,n,b,d):\n        c=super().__new__(m,n,b,d); M.reg[n]=1; return c\nclass A(metaclass=M): pass",  # noqa: E501
            "functions",
        ),
        ("print(M.reg)", "step:a"),
    ],
    "init subclass registry": [
        (
            "class Base:\n    reg=[]\n    def __init_subclass__(cls): Base.reg.append(cls.__name__)\nclass A(Base): pass\nclass B(Base): pass",  # noqa: E501
            "functions",
        ),
        ("print(Base.reg)", "step:a"),
    ],
    "singledispatch": [
        (
            "import functools\n@functools.singledispatch\ndef f(x): return 'o'\n@f.register\ndef _(x:int): return 'i'",
            "functions",
        ),
        ("print(f(1))", "step:a"),
    ],
    "singledispatch in step": [
        (
            "import functools\n@functools.singledispatch\ndef f(x): return 'o'\n@f.register\ndef _(x:int): return 'i'",
            "step:a",
        ),
        ("print(f(1))", "step:b"),
    ],
    "overload": [
        (
            "from typing import overload\n@overload\ndef f(x:int)->int: ...\n@overload\ndef f(x:str)->str: ...\ndef f(x): return x",  # noqa: E501
            "step:a",
        ),
        ("print(f(1))", "step:b"),
    ],
    "property dec step": [
        ("def twice(f): return lambda x: f(f(x))\n@twice\ndef inc(x): return x+1", "step:a"),
        ("print(inc(1))", "step:b"),
    ],
    "while cond": [("n=3", "step:a"), ("while n: n-=1\nprint(n)", "step:b"), ("print(n)", "step:c")],
    "nested tuple target": [("(a,(b,c)),d=(1,(2,3)),4", "step:a"), ("print(a,b,c,d)", "step:b")],
    "for else target attr": [
        ("class A: pass\na=A()", "step:a"),
        ("for a.x in range(3): pass", "step:b"),
        ("print(a.x)", "step:c"),
    ],
    "with target subscript": [
        ("import io\nd={}", "step:a"),
        ("with io.StringIO('z') as d['f']: d['v']=d['f'].read()\ndel d['f']", "step:b"),
        ("print(d)", "step:c"),
    ],
    "match capture": [
        ("p=(1,2)\nmatch p:\n    case (x,y) if x<y: r='lt'\n    case [*xs]: r='seq'\n    case _: r='o'", "step:a"),
        ("print(r,x,y)", "step:b"),
    ],
}


@pytest.mark.parametrize("what", SAME)
def test_definitions_mean_in_a_step_what_they_do_in_the_notebook(what: str, tmp_path: Path) -> None:
    assert_same(tmp_path, *SAME[what])
