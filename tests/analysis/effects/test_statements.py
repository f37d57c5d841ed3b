"""What statements read, make and change, path by path."""

from __future__ import annotations

import ast

import pytest

from kaleyard.analysis.effects.name_effects import NameEffects, Scope
from kaleyard.analysis.effects.statements import trace


def names(source: str, known: Scope | None = None) -> NameEffects:
    return trace([(1, ast.parse(source))], known)


@pytest.mark.parametrize(
    ("source", "reads", "makes", "may_make"),
    [
        ("x = y", "y", "x", ""),
        ("x += 1", "x", "x", ""),
        ("x: int = y", "int y", "x", ""),
        ("x: int", "int", "", ""),
        ("a, (b, *c) = d", "d", "a b c", ""),
        ("if a:\n    b = 1\nelse:\n    b = 2", "a", "b", ""),
        ("if a:\n    b = 1", "a", "", "b"),
        ("if a:\n    b = 1\nelse:\n    raise E", "a E", "b", ""),
        ("for i in a:\n    b = i", "a", "", "i b"),
        ("while True:\n    b = 1\n    break", "", "b", ""),
        ("while a:\n    b = 1", "a", "", "b"),
        ("try:\n    b = a\nexcept E as e:\n    b = 0", "a E", "b", ""),
        ("try:\n    b = a\nexcept E as e:\n    pass", "a E", "", "b"),
        ("with a as b:\n    c = b", "a", "b c", ""),
        ("match a:\n    case {'k': k, **rest}:\n        b = k\n    case _:\n        b = 0", "a", "b", "k rest"),
        ("if (n := a) > 1: pass", "a", "n", ""),
        ("[last := x for x in a]", "a", "last", ""),
        ("[x for x in a if x in b]", "a b", "", ""),
        ("{k: v for k, v in a}", "a", "", ""),
        ("del a", "a", "", ""),
        ("a = 1\ndel a", "", "", ""),
        ("import a.b, c as d", "", "a d", ""),
        ("def f(x=a): return x + b", "a", "f", ""),
        ("def f(): return b\nf()", "b", "f", ""),
        ("class A(B):\n    x = a\n    def f(self): return c", "B a", "A", ""),
        ("class A:\n    x = 1\n    y = x", "", "A", ""),
        ("f = lambda x: x + a", "", "f", ""),
        ("g(lambda x: x + a)", "g a", "", ""),
        ("print(f'{a!r:>{b}}')", "print a b", "", ""),
        ("def f():\n    global n\n    n = 1\nf()", "", "f", "n"),
        ("print(x)\nx = 1", "print x", "x", ""),
        ("try:\n    a = 1\nfinally:\n    b = 2", "", "a b", ""),
        ("async def f(): return a\nawait f()", "a", "f", ""),
    ],
)
def test_names_are_read_made_and_perhaps_made(source: str, reads: str, makes: str, may_make: str) -> None:
    tree = compile(source, "", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    found = trace([(1, tree)])
    assert (set(found.reads), found.makes, found.may_make) == (
        set(reads.split()),
        set(makes.split()),
        set(may_make.split()),
    )


@pytest.mark.parametrize(
    ("source", "changes"),
    [
        ("a.append(1)", "a"),
        ("a.b.c = 1", "a"),
        ("a['k'] += 1", "a"),
        ("del a[0]", "a"),
        ("a.drop(inplace=True)", "a"),
        ("a.drop(inplace=False)", ""),
        ("a += [1]", "a"),
        ("a += 1", ""),
        ("import random\nrandom.shuffle(a)", "a"),
        ("next(a)", "a"),
        ("setattr(a, 'x', 1)", "a"),
        ("map(a.append, b)", "a"),
        ("f = a.append", "a f"),
        ("b = a\nb.append(1)", "a b"),
        ("b = a['k']\nb.append(1)", "a b"),
        ("b = a[1:]\nb[0] = 1", "a b"),
        ("b = c or a\nb.append(1)", "a b c"),
        ("b = a\nb = []\nb.append(1)", "b"),
        ("for b in a:\n    b.x = 1", "a b"),
        ("for k, v in a.items():\n    v.append(1)", "a k v"),
        ("for i, v in enumerate(zip(a, b)):\n    v.append(1)", "a b i v"),
        ("[v.append(1) for v in a]", "a"),
        ("v = a\nv.append(1)\ndel v", "a"),
        ("def f(x): x.append(1)\nf(a)", "a"),
        ("def f(*, x): x.append(1)\nf(x=a)", "a"),
        ("def f(x): g(x)\ndef g(x): x.append(1)\nf(a)", "a"),
        ("def f(x):\n    y = x\n    y.append(1)\nf(a)", "a"),
        ("def f(x): x = []; x.append(1)\nf(1)", ""),
        ("def f(): a.append(1)\nf()", "a"),
        ("def f(): a.append(1)", ""),
        ("class A:\n    def put(self, x): self.x = x\na.put(1)", "a"),
        ("class A:\n    def put(self): self.go()\n    def go(self): self.x = 1\na.put()", "a"),
        ("class A:\n    def get(self): return self.x\na.get()", ""),
        ("import a\na.b = 1", ""),
        ("import re\nre.compile('a')", ""),
    ],
)
def test_values_are_changed_in_place(source: str, changes: str) -> None:
    assert set(names(source).changes) == set(changes.split())


def test_a_function_made_before_tells_what_its_call_changes() -> None:
    known = Scope().then(names("log = []\ndef note(x): log.append(x)\ndef reset():\n    global n\n    n = 0"))
    found = names("note(1)\nreset()", known)
    assert (set(found.changes), found.may_make) == ({"log"}, {"n"})


def test_a_change_inside_a_module_is_told_apart() -> None:
    found = names("import os, numpy as np\nos.environ['A'] = '1'\nos.environ.update(B='2')\nnp.append(a, 1)")
    assert list(found.modules) == ["os.environ"]


def test_annotations_that_are_not_evaluated_are_not_missed() -> None:
    source = "def f(x: Missing) -> Missing: ...\nclass A:\n    x: Missing"
    assert "Missing" in names(source).reads
    found = names(source, Scope(lazy_notes=True))
    assert "Missing" not in found.reads
    assert "Missing" in found.maybe_reads


def test_names_of_one_object_are_known_at_the_end() -> None:
    assert names("a = []\nb = a\nc = d = []").alias == {"b": {"a"}, "c": {"d"}, "d": {"c"}}
    assert names("a = []\nb = a\na = []").alias == {}
