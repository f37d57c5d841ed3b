"""Where each step's names come from: every notebook here must print by steps what it prints as a whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from kaleyard.errors import CheckError
from kaleyard.pipeline import Input
from kernels_unneeded import assert_same
from notebook_builder import NotebookCells, load, reading

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
def test_steps_print_what_the_whole_notebook_prints(what: str, tmp_path: Path) -> None:
    assert_same(tmp_path, *SAME[what])


REFUSED: dict[str, tuple[str, list[NotebookCells]]] = {
    "names made by parallel steps": (
        "KY203",
        [("k = 1\ndef f(): return k", "step:a"), ("k = 2", "step:b"), ("print(f())", "step:c")],
    ),
    "default value made anew": ("KY205", [("k = 1\nf = lambda k=k: k\nk = 2", "step:a"), ("print(f())", "step:b")]),
    "default value deleted": ("KY205", [("k = 1\ndef f(x=k): return x\ndel k", "step:a"), ("print(f())", "step:b")]),
    "class changed by a step": (
        "KY205",
        [("class A:\n    n = 0", "functions"), ("A.n = 5", "step:a"), ("print(A.n)", "step:b")],
    ),
    "class changed by a function": (
        "KY205",
        [("class A:\n    n = 0\ndef go(): A.n = 5", "functions"), ("go()", "step:a"), ("print(A.n)", "step:b")],
    ),
    "one list under two names": ("KY207", [("a = [1]\nb = a", "step:a"), ("b.append(2)\nprint(a)", "step:b")]),
    "one list under two names, later": (
        "KY207",
        [("a = [1]\nb = a", "step:a"), ("b.append(2)", "step:b"), ("print(a)", "step:c")],
    ),
    "one list bound twice at once": (
        "KY207",
        [("a = b = [1]", "step:a"), ("b.append(2)", "step:b"), ("print(a)", "step:c")],
    ),
    "one list under two names, the changed one deleted": (
        "KY207",
        [("a = [1]\nb = a", "step:a"), ("b.append(2)\ndel b\nprint(a)", "step:b")],
    ),
    "one list under two names, changed through a third": (
        "KY207",
        [("a = [1]\nb = a", "step:a"), ("t = b\nt.append(2)\ndel t, b", "step:b"), ("print(a)", "step:c")],
    ),
    "shared cell on a step's list": (
        "KY206",
        [("m = []", "step:a"), ("m.append(1)", "functions"), ("print(m)", "step:b")],
    ),
    "parameter and value at once": (
        "KY205",
        [("P = 1", "pipeline-parameters"), ("Q = P * 2", "functions"), ("P = 5", "step:a"), ("print(P, Q)", "step:b")],
    ),
    "later part of a step": (
        "KY208",
        [("a = 1", "step:p"), ("print(a)", "step:q"), ("a = 2", "step:p"), ("print(a)", "step:r")],
    ),
    "steps that need each other": (
        "KY202",
        [("a = 1", "step:p"), ("b = a", "step:q"), ("c = b", "step:p"), ("print(c)", "step:r")],
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_steps_would_get_wrong_is_refused(what: str, tmp_path: Path) -> None:
    code, cells = REFUSED[what]
    with pytest.raises(CheckError, match=code):
        load(tmp_path, *cells)


def test_a_step_takes_only_what_it_uses(tmp_path: Path) -> None:
    pipeline = load(
        tmp_path,
        ("import json\nimport math", "imports"),
        ("def up(x): return math.ceil(x)\ndef text(x): return json.dumps(x)", "functions"),
        ("A = 1\nB = 2", "pipeline-parameters"),
        ("x = up(A)\ny = 5", "step:one"),
        ("print(text(x), B)", "step:two"),
    )
    one, two = pipeline.steps
    assert [c.source for c in one.setup] == ["import math", "def up(x): return math.ceil(x)"]
    assert [c.source for c in two.setup] == ["import json", "def text(x): return json.dumps(x)"]
    assert (one.parameters, two.parameters) == (("A",), ("B",))
    assert (one.outputs, two.inputs) == (("x",), (Input("x", "one"),))


def test_a_cell_all_of_which_is_carried_stays_as_it_was_written(tmp_path: Path) -> None:
    source = "# About f.\ndef f():\n    return 1\n\n\n# About g.\ndef g():\n    return f()"
    pipeline = load(tmp_path, (source, "functions"), ("print(g())", "step:a"))
    assert [c.source for c in pipeline.steps[0].setup] == [source]


def test_prev_adds_order_and_no_value(tmp_path: Path) -> None:
    pipeline = load(tmp_path, ("x = 1", "step:a"), ("print(2)", "step:b prev:a"))
    assert (pipeline.steps[1].inputs, pipeline.steps[1].after) == ((), ("a",))


def test_prev_says_which_of_two_makers_is_meant(tmp_path: Path) -> None:
    pipeline = load(
        tmp_path, ("m = 1", "step:a"), ("m = 2", "step:b"), ("print(m)", "step:c prev:a"), ("print(m)", "step:d prev:b")
    )
    assert [s.inputs for s in pipeline.steps[2:]] == [(Input("m", "a"),), (Input("m", "b"),)]


def test_a_value_changed_in_place_is_taken_from_the_step_that_changed_it_last(tmp_path: Path) -> None:
    pipeline = load(
        tmp_path, ("rows = []", "step:a"), ("rows.append(1)", "step:b"), ("rows.sort()", "step:c"), ("rows", "step:d")
    )
    assert [s.inputs for s in pipeline.steps[1:]] == [(Input("rows", s),) for s in ("a", "b", "c")]


def test_an_import_whose_attribute_a_step_calls_is_no_value_of_the_step(tmp_path: Path) -> None:
    pipeline = load(
        tmp_path, ("import re", "imports"), ("p = re.compile('a')", "step:a"), ("print(re.escape('.'))", "step:b")
    )
    assert pipeline.steps[1].inputs == ()


def test_steps_with_only_reads_in_common_stay_parallel(tmp_path: Path) -> None:
    cells = [("rows = [1]", "step:load"), *((f"s{n} = sum(rows)", f"step:fit{n}") for n in range(3))]
    assert {s.upstream for s in load(tmp_path, *cells).steps[1:]} == {("load",)}


def test_names_told_as_missing_have_their_place(tmp_path: Path) -> None:
    found = reading(tmp_path, ("x = 1", "step:a"), ("\nprint(y)", "step:b")).flows["b"].missing
    assert [(m.name, m.step, m.site) for m in found] == [("y", "b", (2, 2))]
