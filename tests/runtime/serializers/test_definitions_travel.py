"""Values with the definitions of a notebook, in kernels where a name means the same, another thing or nothing."""

import json
import pickle
import sys
from pathlib import Path

import pytest

import kaleyard
from kaleyard.errors import DataError
from kaleyard.reporting.console import SilentReporter
from kaleyard.runtime import serializers as formats
from kaleyard.runtime.serializers.pickling import definitions
from kaleyard.runtime.serializers.pickling import stable_pickle as pickling
from kernels_unneeded import kernel
from notebook_builder import notebook

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
        with pytest.raises(DataError, match=r"`a` \(A\) cannot be saved"):
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
        ("type(value[0]).n = 1", False),  # the class is looked at by itself
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
        with definitions.LoadedDefinitions.comparing():
            before = pickling.pickled(pickle.loads(written))
            assert (pickling.pickled(names["value"]) != before) is changed
        assert not definitions.LoadedDefinitions.compared


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
