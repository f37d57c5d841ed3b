"""What calling a function, or using a class, does to the names around it."""

from __future__ import annotations

import ast

import pytest

from kaleyard.analysis.effects.scopes import CallEffects, call_effects


def of(source: str) -> CallEffects:
    (node,) = ast.parse(source).body
    assert isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
    return call_effects(node)


@pytest.mark.parametrize(
    ("source", "reads"),
    [
        ("def f(x): return x + a", "a"),
        ("def f(x, *y, z=b, **k): return x, y, z, k", ""),
        ("def f(x, /, y): return x, y", ""),
        ("def f():\n    a = 1\n    return a", ""),
        ("def f():\n    if b: a = 1\n    return a", "b"),
        ("def f():\n    import a\n    return a", ""),
        ("def f():\n    global a\n    a = 1\n    return a", ""),
        ("def f():\n    global a\n    if b:\n        a = 1\n    return a", "a b"),
        ("def f():\n    global a\n    a += 1", "a"),
        ("def f():\n    def g(): return a\n    a = 1\n    return g", ""),
        ("def f():\n    n = 0\n    def g():\n        nonlocal n\n        n += 1\n    return g", ""),
        ("def f(): return [x for x in a if x in b]", "a b"),
        ("def f():\n    [y := x for x in a]\n    return y", "a"),
        ("def f(): return lambda x=a: x + b", "a b"),
        ("def f(): return lambda *, x=a, y: x + b", "a b"),
        ("def f():\n    def g(x, *, y, z=a): return b\n    return g", "a b"),
        ("def f():\n    try:\n        pass\n    except a as e:\n        return e", "a"),
        ("def f():\n    match a:\n        case {'k': k, **r}: return k, r\n        case [x, *y]: return x, y", "a"),
        ("def f():\n    for i, (j, k) in a: print(i, j, k)", "a print"),
        ("def f():\n    with a as b: return b", "a"),
        ("class A:\n    x = a\n    y = x", "a"),
        ("class A:\n    x = 1\n    def f(self): return x", "x"),
        ("async def f():\n    async for x in a: yield await b(x)", "a b"),
        ("def f():\n    from a import b, c as d\n    return b, d", ""),
        ("def f():\n    match a:\n        case [x] as y: return x, y", "a"),
        ("def f():\n    x: c = a\n    return x", "a"),
        ("def f(d):\n    d['k'] += a\n    d.x[b] += 1", "a b"),
        ("def f():\n    async def g(): return a\n    return g", "a"),
        ("def f():\n    class B(b):\n        x = a\n    return B", "a b"),
        ("def f(): return {x for x in a}, {x: y for x, y in b}, (x for x in c)", "a b c"),
        ("def f():\n    @a\n    def g(): pass\n    return g", "a"),
    ],
)
def test_free_names_are_read_from_the_notebook(source: str, reads: str) -> None:
    assert set(of(source).reads) == set(reads.split())


def test_a_function_tells_which_of_its_parameters_it_changes() -> None:
    found = of("def f(a, b, c):\n    a.append(1)\n    d = b\n    d['k'] = 1\n    c = c + 1\n    e.pop()")
    assert set(found.changed) == {"a", "b"}
    assert found.changes - {"a", "b", "d"} == {"e"}


def test_items_of_a_loop_are_parts_of_what_it_goes_through() -> None:
    assert of("def f(rows):\n    for row in rows: row.append(1)").changed == {"rows"}
    assert of("def f(rows): return [row.append(1) for row in rows]").changed == {"rows"}
    assert of("def f(rows):\n    rows += [1]").changed == {"rows"}
    assert of("def f(n):\n    n += 1").changed == set()


def test_a_function_inside_counts_for_the_one_around_it_with_what_is_not_its_own() -> None:
    found = of("def f(a):\n    def g(b):\n        h(a, b)\n        a.put(1)\n        b.get(1)\n    return g")
    assert found.passes == {("h", 0, "a")}
    assert {ask for ask in found.asks if ask[1] != "__call__"} == {("a", "put")}


def test_annotations_of_local_variables_are_no_names() -> None:
    assert of("def f():\n    x: a = 1\n    y: b").notes == set()


def test_a_function_tells_what_it_hands_on() -> None:
    assert of("def f(a):\n    b = a\n    g(1, b, k=a.x)").passes == {
        ("g", 1, "a"),
        ("g", "k", "a"),
    }


def test_a_class_tells_which_methods_change_its_instances() -> None:
    found = of(
        "class A:\n"
        "    def __init__(self): self.x = []\n"
        "    def put(self, x): self.x.append(x)\n"
        "    def twice(me, x): me.put(x)\n"
        "    def get(self): return self.x\n"
        "    @staticmethod\n"
        "    def no(): return 1"
    )
    assert found.methods == {"put", "twice"}


def test_a_method_that_changes_another_object_changes_no_instance() -> None:
    found = of(
        "class A:\n"
        "    def put(self, x): self.x.append(x)\n"
        "    def give(self, other): other.put(1)\n"
        "    def fill(self, other): other.append(1)"
    )
    assert found.methods == {"put"}


def test_annotations_are_told_apart() -> None:
    found = of("class A:\n    x: a\n    def f(self, y: b) -> c: return d")
    assert set(found.reads) == {"d"}
    assert set(found.notes) == {"a", "b", "c"}
    found = of("def f():\n    def g(x: a, /, y: b, *p: c, z: d, **k: e) -> h: return i\n    return g")
    assert (set(found.reads), set(found.notes)) == ({"i"}, {"a", "b", "c", "d", "e", "h"})
