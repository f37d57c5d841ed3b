"""Python values that JSON would change, and classes that are not what they were."""

import collections
import dataclasses
import enum
import json
import os
import pickle
import subprocess
import sys
import types
import typing
from pathlib import Path
from typing import Any

import pytest

import kaleyard
from kaleyard.errors import DataError
from kaleyard.local.reporter import SilentReporter
from kaleyard.runtime import formats
from kaleyard.runtime.formats import definitions, pickling
from kernels_unneeded import kernel
from notebook_builder import notebook


class Colour(enum.Enum):
    RED = "r"
    ROUGE = "r"  # noqa: PIE796
    BLUE = (1, 2)


class Pair(typing.NamedTuple):
    left: int
    right: Any = None


@dataclasses.dataclass
class Plain:
    a: int
    b: Any = dataclasses.field(default_factory=list)
    _c: int = 5


@dataclasses.dataclass(frozen=True, slots=True)
class Both:
    a: int


class Sums(dict[str, int]):
    """A subclass of dict."""


class Name(str):  # noqa: SLOT000
    """A subclass of str."""


T = typing.TypeVar("T")


@dataclasses.dataclass
class Box(typing.Generic[T]):
    a: Any


def kept(value: Any, path: Path) -> Any:
    """The value as the next step gets it, from an open format."""
    saved = formats.save("x", value, path)
    assert saved.format == "json", saved
    return formats.load("x", saved.format, path, saved.sha256, saved.extra)


@dataclasses.dataclass
class Own:
    a: int

    def __getstate__(self) -> Any:
        return {"a": self.a + 1}


@dataclasses.dataclass
class Listed(list):  # type: ignore[type-arg]
    a: int = 0


def _with_attribute() -> Any:
    value = collections.OrderedDict(a=1)
    value.extra = 1  # type: ignore[attr-defined]
    return value


def _local() -> Any:
    class Local(enum.Enum):
        A = 1

    return Local.A


SHARED: list[int] = [1]
CLOSED = {
    "a subclass of dict": Sums(a=1),
    "a subclass of str": [Name("a")],
    "a subclass of str as key": {Name("a"): 1},
    "a dataclass with its own state": Own(1),
    "a dataclass that is a list": Listed(1),
    "an ordered dict with attributes": _with_attribute(),
    "a defaultdict with a function": collections.defaultdict(_local, {}),
    "a list twice in one value": [SHARED, SHARED],
    "a list in two tuples": ((SHARED,), {"a": SHARED}),
    "a namespace twice": [n := types.SimpleNamespace(), n],
    "a function": len,
    "a class": int,
    "an exception": ValueError("a"),
    "a generic dataclass, made with its type": Box[int](1),
}


@pytest.mark.parametrize("case", CLOSED)
def test_what_json_would_change_goes_to_cloudpickle(case: str, tmp_path: Path) -> None:
    value = CLOSED[case]
    saved = formats.save("x", value, tmp_path / "x")
    assert saved.format == "cloudpickle"
    assert saved.closed
    again = formats.load("x", saved.format, tmp_path / "x", saved.sha256)
    assert type(again) is type(value)


def test_two_names_for_one_list_stay_one_list(tmp_path: Path) -> None:
    saved = formats.save("x", [SHARED, SHARED], tmp_path / "x")
    again: Any = formats.load("x", saved.format, tmp_path / "x")
    assert again[0] is again[1]


def test_equal_lists_are_not_taken_for_one(tmp_path: Path) -> None:
    assert kept([[1], [1], [[]]], tmp_path / "x") == [[1], [1], [[]]]


def test_a_value_in_itself_is_refused_by_name(tmp_path: Path) -> None:
    value: list[Any] = [1]
    value.append({"a": value})
    with pytest.raises(DataError, match=r"`loop` \(list\).*it contains itself: a list"):
        formats.save("loop", value, tmp_path / "x")


def test_a_member_of_a_local_class_is_kept_with_its_class(tmp_path: Path) -> None:
    saved = formats.save("x", _local(), tmp_path / "x")
    assert saved.format == "cloudpickle"


def test_a_deeply_nested_list_goes_to_cloudpickle_and_comes_back(tmp_path: Path) -> None:
    value: list[Any] = []
    for _ in range(400):
        value = [value]
    saved = formats.save("x", value, tmp_path / "x")
    assert (saved.format, formats.load("x", saved.format, tmp_path / "x")) == ("cloudpickle", value)


def test_a_bottomless_value_is_refused(tmp_path: Path) -> None:
    value: list[Any] = []
    for _ in range(50_000):
        value = [value]
    with pytest.raises(DataError, match="nested too deeply"):
        formats.save("x", value, tmp_path / "x")


def test_a_class_that_is_missing_is_named_with_where_to_define_it(tmp_path: Path) -> None:
    told = {"$": "enum", "value": {"class": "__main__:Gone", "name": "A"}}
    (tmp_path / "x").write_text(json.dumps(told))
    with pytest.raises(DataError, match="the class `Gone` is missing here") as raised:
        formats.load("x", "json", tmp_path / "x")
    assert "tagged `functions`" in str(raised.value.fix)


def test_a_module_that_is_missing_is_named(tmp_path: Path) -> None:
    told = {"$": "enum", "value": {"class": "nowhere.to_be.found:Gone", "name": "A"}}
    (tmp_path / "x").write_text(json.dumps(told))
    with pytest.raises(DataError, match=r"the class `Gone` of the module `nowhere\.to_be\.found` is missing here"):
        formats.load("x", "json", tmp_path / "x")


@pytest.mark.parametrize(
    ("tag", "told", "what"),
    [
        ("enum", {"class": "Colour", "name": "GREEN"}, "has no member `GREEN`"),
        ("enum", {"class": "Plain", "name": "GREEN"}, "is no enum"),
        ("namedtuple", {"class": "Pair", "fields": [["left", 1]]}, "has other fields"),
        ("dataclass", {"class": "Plain", "fields": [["a", 1]]}, "has fields here that it had not.*: b, _c"),
        ("dataclass", {"class": "Both", "fields": [["a", 1], ["z", 1]]}, "has no field `z`"),
        ("dataclass", {"class": "Colour", "fields": []}, "is no dataclass"),
    ],
)
def test_a_class_that_changed_is_named(tag: str, told: dict[str, Any], what: str, tmp_path: Path) -> None:
    told = {"$": tag, "value": told | {"class": f"{__name__}:{told['class']}"}}
    (tmp_path / "x").write_text(json.dumps(told))
    with pytest.raises(DataError, match=what):
        formats.load("x", "json", tmp_path / "x")


def test_a_kind_from_a_newer_version_is_named(tmp_path: Path) -> None:
    (tmp_path / "x").write_text('{"$": "hologram", "value": 1}')
    with pytest.raises(DataError, match="no kind of value called `hologram`"):
        formats.load("x", "json", tmp_path / "x")


# What a notebook may define as `it`; a `__main__` of its own has it.
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
        "import json, sys\nfrom kaleyard.runtime.formats.definitions import fingerprint\n"
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


UNPICKLED = "import threading\nLOCK = threading.Lock()\nclass A:\n    v = {v}\n    def f(self): return LOCK\na = A()"


def test_a_definition_whose_code_cannot_travel_is_known_by_name_alone() -> None:
    with kernel() as names:
        exec(UNPICKLED.format(v=1), names)
        written = pickling.pickled(names["a"])
    with kernel() as names:
        exec(UNPICKLED.format(v=2), names)
        assert type(pickle.loads(written)) is names["A"]


def test_a_definition_whose_code_cannot_travel_is_refused_once_its_name_means_another(tmp_path: Path) -> None:
    with kernel() as names:
        exec(UNPICKLED.format(v=1) + "\nclass A: pass", names)
        with pytest.raises(DataError, match=r"`a` \(A\) cannot be kept"):
            formats.save("a", names["a"], tmp_path / "a")


def test_a_definition_told_by_another_version_of_python_is_known_by_name() -> None:
    with kernel() as names:
        exec("class A: v = 2", names)
        assert pickling.definition("A", True, b"unreadable here", "cpython-27:0000") is names["A"]
        with pytest.raises(pickle.UnpicklingError):
            pickling.definition("A", True, b"unreadable here", f"{sys.implementation.cache_tag}:0000")


def test_a_name_that_is_no_definition_any_more_is_made_from_its_code() -> None:
    with kernel() as names:
        exec("def f(): return 1\nclass A: v = 1", names)
        written = pickling.pickled([names["f"], names["A"]])
    with kernel() as names:
        exec("f = A = 5", names)
        made, cls = pickle.loads(written)
        assert (made(), cls.v) == (1, 1)


def test_a_cached_property_and_a_class_inside_work_in_a_class_that_was_made_from_its_code() -> None:
    with kernel() as names:
        source = "import functools\nclass A:\n    @functools.cached_property\n    def f(self): return []\n"
        exec(f"{source}    class In: pass\na, inner = A(), A.In()", names)
        written = pickling.pickled([names["a"], names["inner"]])
    with kernel():
        a, inner = pickle.loads(written)
        assert a.f is a.f
        assert (type(inner).__qualname__, type(inner).__name__) == ("A.In", "In")


def test_a_value_gives_the_same_bytes_after_its_class_got_another_namesake() -> None:
    with kernel() as names:
        exec("class A:\n    v = 1\na = A()", names)
        before = pickling.pickled(names["a"])
        exec("class A:\n    v = 2", names)
        assert pickling.pickled(names["a"]) == before


COMPARED = "k = [1]\ndef g(): return k\nclass A:\n    n = 0\n    def f(self): return g()\nvalue = [A(), g]"


@pytest.mark.parametrize(
    ("use", "changed"),
    [
        ("globals().setdefault('k', []).append(2)", False),
        ("k = 5\ndef g(): return k", False),
        ("import json, xml.dom", False),
        ("type(value[0]).n = 1", True),
        ("value[1].n = 1", True),
        ("value[0].n = 1", True),
    ],
)
@pytest.mark.parametrize("defined", [COMPARED, ""])
def test_a_value_has_changed_if_its_definitions_have_and_not_if_their_globals_have(
    use: str, changed: bool, defined: str
) -> None:
    with kernel() as names:
        exec(COMPARED, names)
        written = pickling.pickled(names["value"])
    with kernel() as names:
        exec(defined, names)
        names["value"] = pickle.loads(written)
        exec(use, names)
        # As when it is saved under another name.
        pickle.loads(pickling.pickled(names["value"]))
        with definitions.Sent.comparing():
            assert (pickling.pickled(names["value"]) != written) is changed
        assert not definitions.Sent.compared


def test_a_cached_function_travels_with_its_limits_and_without_its_cache() -> None:
    with kernel() as names:
        exec("import functools\n@functools.lru_cache(5, typed=True)\ndef f(x): return x\nf(1)", names)
        exec("made = [functools.lru_cache(functools.partial(max, 3)), functools.lru_cache(len)]", names)
        written = pickling.pickled([names["f"], *names["made"]])
    with kernel():
        made, partial, length = pickle.loads(written)
        assert made.cache_parameters() == {"maxsize": 5, "typed": True}
        assert made.cache_info().currsize == 0
        assert (made(2), partial(1), length("abc")) == (2, 3, 3)


ENUM = "import enum\nclass A(enum.Enum):\n    X = {n}\na = A.X"
DATA = "import dataclasses\n@dataclasses.dataclass\nclass A:\n    x: int = 1\n    def f(self): return {n}\na = A()"


@pytest.mark.parametrize("source", [ENUM, DATA])
def test_a_value_in_an_open_format_is_refused_where_its_class_has_another_namesake(source: str, tmp_path: Path) -> None:
    with kernel() as names:
        exec(source.format(n=1), names)
        saved = formats.save("a", names["a"], tmp_path / "a")
        assert saved.format == "json"
    with kernel() as names:
        exec(source.format(n=2), names)
        with pytest.raises(DataError, match="`A`"):
            formats.load("a", saved.format, tmp_path / "a", saved.sha256, saved.extra)
    with kernel() as names:
        exec(source.format(n=1), names)
        assert formats.load("a", saved.format, tmp_path / "a", saved.sha256, saved.extra) == names["a"]


def test_steps_keep_old_definitions_apart_from_new_ones_of_the_same_name(project: Path) -> None:
    path = notebook(
        project / "notebooks" / "again.ipynb",
        # The class stands lower in its cell here than where later steps carry it.
        ("first = 1\ndef f(x):\n    return x + 1\ng = f\nclass A:\n    v = 1\na = A()", "step:one"),
        ("def f(x):\n    return g(x) * 2\nclass A:\n    v = 2\nb = A()", "step:two prev:one"),
        ("told = [f(3), a.v, b.v, isinstance(a, A), isinstance(b, A), first]\ntold", "step:three prev:two"),
        ("again = [g(3), type(a).__name__]\nagain", "step:four prev:one"),
    )
    done = kaleyard.run(path, reporter=SilentReporter())
    assert done.state == "done", [s.error for s in done.steps.values() if s.error]
    assert json.loads(done.artifact("three", "told").read_text()) == [8, 1, 2, False, True, 1]
    assert json.loads(done.artifact("four", "again").read_text()) == [4, "A"]
