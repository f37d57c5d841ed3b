"""Definitions of a notebook by name and fingerprint: the same is found again, another is not taken for it."""

import json
import os
import pickle
import subprocess
import sys
from typing import Any

import pytest

from kaleyard.runtime.serializers.pickling import definitions
from kaleyard.runtime.serializers.pickling import stable_pickle as pickling
from kernels_unneeded import kernel

DEFINED = {
    "a function": "def it(x, y=(1, 'a'), *, z=frozenset({'a', 'b', 'c'})):\n    return x in {'p', 'q', 'r'}",
    "a function that calls itself": "def it(n):\n    return 1 if n < 2 else n * it(n - 1)",
    "two functions that call each other": "def it(n): return other(n)\ndef other(n): return it(n)",
    "a decorated function": (
        "import functools\ndef plus(n, kept={}):\n    def deco(f):\n        @functools.wraps(f)\n        def w(x):\n"
        "            return f(x) + n\n        return w\n    return deco\n@plus(2)\ndef it(x): return x"
    ),
    "a cached function": "import functools\n@functools.lru_cache(5)\ndef it(x): return x",
    "a function cached for ever": "import functools\n@functools.cache\ndef it(n): return n and it(n - 1)",
    "a generator": "def it():\n    yield from (x for x in range(3))",
    "a coroutine": "async def it(x): return await x",
    "a class": "class Base: pass\nclass it(Base):\n    'Words.'\n    size = 1\n    def new(self): return it()",
    "a class with super": "class it(dict):\n    def __init__(self): super().__init__(a=1)",
    "a class with all kinds of attributes": (
        "import functools\ndef f(x): return x\nclass it:\n    @staticmethod\n    def a(): return 1\n"
        "    @classmethod\n    def b(cls): return 2\n    @property\n    def c(self): return 3\n"
        "    @c.setter\n    def c(self, x): self._c = x\n    @functools.cached_property\n    def d(self): return 4\n"
        "    @functools.lru_cache\n    def e(self): return 5\n    g = functools.partialmethod(f, 2)\n"
        "    h = functools.partial(f, 2)\n    k = [f]\n    l = {'a': f}\n    class Inner:\n        m = 1.5"
    ),
    "a class with slots": "class it:\n    __slots__ = ('a', 'b')\n    def __init__(self): self.a = 1",
    "an abstract class": "import abc\nclass it(abc.ABC):\n    @abc.abstractmethod\n    def f(self): ...",
    "a generic class": "from typing import Generic, TypeVar\nT = TypeVar('T')\nclass it(Generic[T]):\n    x: T",
    "a dataclass": (
        "import dataclasses\n@dataclasses.dataclass(order=True)\nclass it:\n    a: int = 1\n"
        "    b: list = dataclasses.field(default_factory=list)\n    c: 'it' = None"
    ),
    "an enum": (
        "import enum\nclass it(enum.Enum):\n    A = 1\n    B = (1, 'x')\n    C = 1\n"
        "    def f(self): return self.B\n    @property\n    def g(self): return 2"
    ),
    "a flag": "import enum\nclass it(enum.IntFlag):\n    A = enum.auto()\n    B = enum.auto()\n    C = A | B",
    "a named tuple": "import typing\nclass it(typing.NamedTuple):\n    a: int\n    b: str = 'x'",
    "a named tuple of collections": "import collections\nit = collections.namedtuple('it', 'a b')",
    "an exception": "class it(ValueError):\n    def __str__(self): return 'it'",
    "a metaclass": "class it(type):\n    def __new__(m, *a): return super().__new__(m, *a)",
    "a class of a metaclass": "class M(type):\n    def f(c): return 1\nclass it(metaclass=M): pass",
    "a class that keeps a list of its own": (
        "class Base:\n    every = []\n    def __init_subclass__(cls): Base.every.append(cls.__name__)\n"
        "class it(Base): pass"
    ),
}


@pytest.mark.parametrize("case", DEFINED)
def test_a_definition_stays_itself_wherever_it_stands_and_however_it_travelled(case: str) -> None:
    with kernel() as names:
        exec(DEFINED[case], names)
        told, written = definitions.fingerprint(names["it"]), pickling.pickled([names["it"]])
        assert definitions.fingerprint(names["it"]) == told
    with kernel() as names:
        exec(f"from __future__ import annotations\n# Lower in its cell.\n\n\n{DEFINED[case]}", names)
        assert pickle.loads(written)[0] is names["it"]
    with kernel() as names:
        (made,) = pickle.loads(written)
        assert definitions.fingerprint(made) == told
        again = pickling.pickled([made])
    assert pickling.pickled([made]) == again
    with kernel() as names:
        exec(DEFINED[case], names)
        assert pickle.loads(again)[0] is names["it"]


# A definition, and one that is not the same.
DIFFER = {
    "the code": ("def it(x): return x + 1", "def it(x): return x - 1"),
    "a number in the code": ("def it(x): return x + 1", "def it(x): return x + 2"),
    "the type of a number": ("def it(x): return x + 1", "def it(x): return x + 1.0"),
    "a set in the code": ("def it(x): return x in {1, 2}", "def it(x): return x in {1, 3}"),
    "a name in the code": ("def it(x): return a(x)", "def it(x): return b(x)"),
    "code in the code": ("def it(): return lambda: 1", "def it(): return lambda: 2"),
    "a parameter": ("def it(x): return 1", "def it(y): return 1"),
    "the kind of a parameter": ("def it(x): return 1", "def it(*, x): return 1"),
    "a position-only parameter": ("def it(x): return 1", "def it(x, /): return 1"),
    "a default value": ("def it(x=1): return x", "def it(x=2): return x"),
    "a default value by name": ("def it(*, x=1): return x", "def it(*, x=2): return x"),
    "a default value in a tuple": ("def it(x=(1,)): return x", "def it(x=(2,)): return x"),
    "the type of a default value": ("def it(x=[]): return x", "def it(x={}): return x"),
    "a member as a default value": (
        "import enum\nclass E(enum.Enum):\n    A = B = 1\n    C = 2\ndef it(x=E.A): return x",
        "import enum\nclass E(enum.Enum):\n    A = B = 1\n    C = 2\ndef it(x=E.C): return x",
    ),
    "what happens after an error": (
        "def it():\n    try: a()\n    except E: b()",
        "def it():\n    try: a(); b()\n    except E: pass",
    ),
    "being a generator": ("def it(): return 1", "def it():\n    return 1\n    yield"),
    "what is around it": (
        "def make(n):\n    def it(): return n\n    it.__qualname__ = 'it'\n    return it\nit = make(1)",
        "def make(n):\n    def it(): return n\n    it.__qualname__ = 'it'\n    return it\nit = make(2)",
    ),
    "a function around it": (
        "def make(n):\n    def it(): return n()\n    it.__qualname__ = 'it'\n    return it\nit = make(lambda: 1)",
        "def make(n):\n    def it(): return n()\n    it.__qualname__ = 'it'\n    return it\nit = make(lambda: 2)",
    ),
    "a cached function's code": (
        "import functools\n@functools.cache\ndef it(): return 1",
        "import functools\n@functools.cache\ndef it(): return 2",
    ),
    "being cached": ("def it(): return 1", "import functools\n@functools.cache\ndef it(): return 1"),
    "being a class": ("def it(): return 1", "class it: pass"),
    "an attribute": ("class it:\n    n = 1", "class it:\n    n = 2"),
    "an attribute's name": ("class it:\n    n = 1", "class it:\n    m = 1"),
    "a method": ("class it:\n    def f(self): return 1", "class it:\n    def f(self): return 2"),
    "a method that instances may cover": (
        "class it:\n    def f(self): self.f = 1",
        "class it:\n    def f(self): self.f = 2",
    ),
    "a static method": (
        "class it:\n    @staticmethod\n    def f(): return 1",
        "class it:\n    @staticmethod\n    def f(): return 2",
    ),
    "being static": ("class it:\n    @staticmethod\n    def f(x): return 1", "class it:\n    def f(x): return 1"),
    "a property": (
        "class it:\n    @property\n    def f(self): return 1",
        "class it:\n    @property\n    def f(self): return 2",
    ),
    "a cached property": (
        "import functools\nclass it:\n    @functools.cached_property\n    def f(self): return 1",
        "import functools\nclass it:\n    @functools.cached_property\n    def f(self): return 2",
    ),
    "a partial method": (
        "import functools\nclass it:\n    f = functools.partialmethod(print, 1)",
        "import functools\nclass it:\n    f = functools.partialmethod(print, 2)",
    ),
    "the base": ("class it(dict): pass", "class it(list): pass"),
    "the base's code": (
        "class B:\n    def f(self): return 1\nclass it(B): pass",
        "class B:\n    def f(self): return 2\nclass it(B): pass",
    ),
    "the class of the class": ("class it: pass", "import abc\nclass it(abc.ABC): pass"),
    "a class inside": (
        "class it:\n    class In:\n        n = 1",
        "class it:\n    class In:\n        n = 2",
    ),
    "a member's value": (
        "import enum\nclass it(enum.Enum):\n    A = 1",
        "import enum\nclass it(enum.Enum):\n    A = 2",
    ),
    "a member's name": (
        "import enum\nclass it(enum.Enum):\n    A = 1",
        "import enum\nclass it(enum.Enum):\n    B = 1",
    ),
    "a method of an enum": (
        "import enum\nclass it(enum.Enum):\n    A = 1\n    def __str__(self): return 'a'",
        "import enum\nclass it(enum.Enum):\n    A = 1\n    def __str__(self): return 'b'",
    ),
    "a field": (
        "import dataclasses\n@dataclasses.dataclass\nclass it:\n    a: int = 1",
        "import dataclasses\n@dataclasses.dataclass\nclass it:\n    a: int = 2",
    ),
    "a field of a named tuple": (
        "import collections\nit = collections.namedtuple('it', 'a b')",
        "import collections\nit = collections.namedtuple('it', 'a c')",
    ),
}


@pytest.mark.parametrize("case", DIFFER)
def test_another_definition_under_the_name_is_not_taken_for_it(case: str) -> None:
    one, other = DIFFER[case]
    with kernel() as names:
        exec(one, names)
        told, written = definitions.fingerprint(names["it"]), pickling.pickled([names["it"]])
    with kernel() as names:
        exec(other, names)
        assert pickle.loads(written)[0] is not names["it"]
        assert definitions.fingerprint(pickle.loads(written)[0]) == told


NOTED = {
    "a counter of its instances": ("class it:\n    n = 0\n    def __init__(self): type(self).n += 1", "it()"),
    "a list of its instances": ("class it:\n    every = []\n    def __init__(self): self.every.append(1)", "it()"),
    "a cache made when it is first used": (
        "class it:\n    @classmethod\n    def get(cls):\n        cls.kept = {}\n        return 1",
        "it.get()",
    ),
    "a counter set by a function in a method": (
        "class it:\n    n = 0\n    def add(self):\n        def up(): it.n += 1\n        up()",
        "it().add()",
    ),
    "a registry that grew": ("class it:\n    known = {}", "it.known['a'] = 1"),
    "a global that it uses": ("k = 1\nclass it:\n    def f(self): return k", "k = 2"),
    "an attribute of a function": ("def it(): it.n = 2", "it()"),
    "what a decorated function noted": (
        (
            "def kept(f, cache={}):\n    def w(x):\n        cache[x] = 1\n        return f(x)\n"
            "    w.__qualname__ = 'it'\n    return w\n@kept\ndef it(x): return x"
        ),
        "it(1)",
    ),
    "what pickle noted": ("import copy\nclass it: pass", "copy.copy(it())"),
    "what isinstance noted": ("import abc\nclass it(abc.ABC): pass", "isinstance(1, it)"),
}


@pytest.mark.parametrize("case", NOTED)
def test_what_a_definition_has_noted_makes_it_no_other(case: str) -> None:
    source, use = NOTED[case]
    with kernel() as names:
        exec(source, names)
        exec(use, names)
        written = pickling.pickled([names["it"]])
    with kernel() as names:
        exec(source, names)
        assert pickle.loads(written)[0] is names["it"]


def test_a_fingerprint_is_the_same_in_every_process() -> None:
    code = (
        "import json, sys\nfrom kaleyard.runtime.serializers.pickling.definitions import fingerprint\n"
        "from kernels_unneeded import kernel\ntold = []\nfor source in json.load(sys.stdin):\n"
        "    with kernel() as names:\n        exec(source, names)\n        told.append(fingerprint(names['it']))\n"
        "print(told)"
    )
    printed = []
    for seed in ("1", "2"):
        env = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        given = json.dumps(list(DEFINED.values()))
        done = subprocess.run([sys.executable, "-c", code], input=given, env=env, stdout=-1, text=True, check=True)
        printed.append(done.stdout)
    assert printed[0] == printed[1]
    assert printed[0].count(f"'{sys.implementation.cache_tag}:") == len(DEFINED)


def test_many_instances_of_a_class_ask_for_its_fingerprint_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def counting(obj: Any) -> str:
        asked.append(obj)
        return definitions.fingerprint(obj)

    monkeypatch.setattr(pickling, "fingerprint", counting)
    with kernel() as names:
        exec("class A:\n    def __init__(self, n): self.n = n\nmany = [A(n) for n in range(10_000)]", names)
        written = pickling.pickled(names["many"])
        assert len(asked) == 1
        assert all(type(one) is names["A"] for one in pickle.loads(written))
        assert len(asked) == 2
