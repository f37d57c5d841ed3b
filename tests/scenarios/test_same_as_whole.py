"""Random notebooks: the steps print, each in a fresh namespace, what the whole notebook prints in one."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from kaleyard.errors import CheckError
from kernels_unneeded import assert_same
from notebook_builder import NotebookCells

NUMBERS, LISTS, DICTS, FUNCTIONS, BOXES = "abc", "pqr", "mn", "fgh", "xy"


class Writer:
    """Writes statements that run: it knows which names are bound, and of which kind."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.bound: set[str] = set()
        self.doers: dict[str, str] = {}
        self.needs: dict[str, set[str]] = {}

    def one(self, names: str) -> str:
        return self.draw(st.sampled_from(sorted(names)))

    def there(self, names: str) -> str | None:
        found = sorted(self.bound & set(names))
        return self.draw(st.sampled_from(found)) if found else None

    def number(self) -> str:
        name = self.there(NUMBERS + "K")
        literal = str(self.draw(st.integers(0, 9)))
        return self.draw(st.sampled_from([literal, name, f"{name} + {literal}"])) if name else literal

    def expression(self) -> str:
        some = [self.number()]
        if name := self.there(LISTS):
            some += [f"len({name})", f"sum({name})"]
        if name := self.there(DICTS):
            some += [f"sum({name}.values())"]
        if (name := self.callable("value")) is not None:
            some += [f"{name}()"]
        return self.draw(st.sampled_from(some))

    def callable(self, kind: str) -> str | None:
        found = sorted(n for n, k in self.doers.items() if k == kind and self.needs[n] <= self.bound)
        return self.draw(st.sampled_from(found)) if found else None

    def statement(self) -> str:
        kind = self.draw(st.sampled_from(list(KINDS)))
        written: str | None = KINDS[kind](self)
        return written or f"print({self.expression()})"


def assign(w: Writer) -> str:
    value, name = w.expression(), w.one(NUMBERS)
    w.bound.add(name)
    return f"{name} = {value}"


def new_list(w: Writer) -> str:
    value, name, other = w.number(), w.one(LISTS), w.there(LISTS)
    w.bound.add(name)
    return f"{name} = [{value}]" if other is None else f"{name} = [*{other}, {value}]"


def new_dict(w: Writer) -> str:
    value, name = w.number(), w.one(DICTS)
    w.bound.add(name)
    return f"{name} = {{'k': {value}}}"


def add(w: Writer) -> str | None:
    name = w.there(NUMBERS)
    return name and f"{name} += {w.number()}"


def extend(w: Writer) -> str | None:
    name = w.there(LISTS)
    return name and w.draw(
        st.sampled_from([f"{name}.append({w.number()})", f"{name} += [{w.number()}]", f"{name}[0] = 5"])
    )


def put(w: Writer) -> str | None:
    name = w.there(DICTS)
    return name and w.draw(
        st.sampled_from([f"{name}['k'] += 1", f"{name}[str({w.number()})] = 3", f"{name}.update(z=1)"])
    )


def branch(w: Writer) -> str | None:
    name = w.there(NUMBERS)
    if name is None:
        return None
    inner = [add(w) or "pass", extend(w) or "pass", put(w) or "pass"]
    return f"if {w.expression()} > 4:\n    {name} = {w.number()}\nelse:\n    {w.draw(st.sampled_from(inner))}"


def loop(w: Writer) -> str | None:
    name = w.there(NUMBERS)
    return name and f"for i in range(3):\n    {name} = {name} + i\n    {extend(w) or 'pass'}"


def alias(w: Writer) -> str | None:
    name = w.there(LISTS)
    return name and f"t = {name}\nt.append({w.number()})\ndel t"


def share(w: Writer) -> str | None:
    name, other = w.there(LISTS), w.one(LISTS)
    w.bound.update({other} if name else ())
    return name and f"{other} = {name}"


def remove(w: Writer) -> str | None:
    name = w.there(NUMBERS + LISTS)
    if name is None or w.draw(st.integers(0, 3)):
        return None
    w.bound.discard(name)
    return f"del {name}"


def define(w: Writer) -> str:
    name = w.one(FUNCTIONS)
    number, items = w.there(NUMBERS), w.there(LISTS)
    bodies: list[tuple[str, str, set[str]]] = [("value", f"def {name}(): return {w.draw(st.integers(0, 9))}", set())]
    if number:
        bodies += [
            ("value", f"def {name}(): return {number} * 2", {number}),
            ("value", f"def {name}(x={number}): return x * 2", set()),
            ("value", f"{name} = lambda: {number} - 1", {number}),
            ("do", f"def {name}():\n    global {number}\n    {number} = {number} + 1", {number}),
        ]
    if items:
        bodies += [
            ("do", f"def {name}(): {items}.append(7)", {items}),
            ("value", f"def {name}(): return sum({items})", {items}),
        ]
    bodies += [("list", f"def {name}(x): x.append(8)", set())]
    inner = w.callable("do")
    if inner and inner != name:
        bodies += [("do", f"def {name}(): {inner}()", {*w.needs[inner], inner})]
    kind, text, needs = w.draw(st.sampled_from(bodies))
    # Whoever calls the one that is gone would call the new one.
    stale = {n for n, told in w.needs.items() if name in told}
    for other in stale | {name}:
        w.doers.pop(other, None)
    w.doers[name], w.needs[name] = kind, needs
    w.bound.add(name)
    return text


def call(w: Writer) -> str | None:
    name, items = w.callable("list"), w.there(LISTS)
    if name and items:
        return f"{name}({items})"
    name = w.callable("do")
    return name and f"{name}()"


def define_class(w: Writer) -> str:
    # The same name for classes that differ, and values of each.
    name = w.one(BOXES)
    w.bound.add(name)
    return (
        f"class Box:\n    size = {w.draw(st.integers(1, 2))}\n    def __init__(self): self.n = [1]\n"
        f"    def put(self, x): self.n.append(x + {w.draw(st.integers(1, 2))})\n"
        f"    def two(self): self.put(2)\n{name} = Box()"
    )


def use_class(w: Writer) -> str | None:
    name = w.there(BOXES)
    if name is None:
        return None
    return f"{name}.{w.draw(st.sampled_from(['put(3)', 'two()']))}\nprint({name}.n, {name}.size)"


def hold(w: Writer) -> str | None:
    """A function under a second name, which its first may lose to another function."""
    found = sorted(n for n, k in w.doers.items() if k == "value" and not w.needs[n])
    if not found:
        return None
    w.bound.add("held")
    return f"held = {w.draw(st.sampled_from(found))}"


def use_held(w: Writer) -> str | None:
    return "print(held())" if "held" in w.bound else None


def show(w: Writer) -> str:
    return f"print({w.expression()})"


KINDS = {
    f.__name__: f
    for f in (
        assign,
        new_list,
        new_dict,
        add,
        extend,
        put,
        branch,
        loop,
        alias,
        share,
        remove,
        define,
        call,
        define_class,
        hold,
    )
} | {"use_class": use_class, "use_held": use_held, "show": show, "more": show, "again": call}


@st.composite
def notebooks(draw: st.DrawFn) -> list[NotebookCells]:
    w = Writer(draw)
    cells: list[NotebookCells] = [("K = 6", "pipeline-parameters")] if draw(st.booleans()) else []
    w.bound.update("K" if cells else "")
    count = draw(st.integers(2, 6))
    # One after the other where a name is made twice: else it is told as ambiguous.
    chained = draw(st.booleans())
    if draw(st.booleans()):
        cells.append(("\n".join(w.statement() for _ in range(draw(st.integers(1, 5)))), "functions"))
    for index in range(count):
        source = "\n".join(w.statement() for _ in range(draw(st.integers(1, 5))))
        tags = f"step:s{index}" + (f" prev:s{index - 1}" if index and chained else "")
        cells.append((source + "\nprint(sorted(k for k in " + str(sorted(w.bound)) + "))", tags))
        cells.append((f"print({', '.join(sorted(w.bound & set('abcpqrmnK')))})", ""))
        if draw(st.integers(0, 9)) == 0:
            cells.append((draw(st.sampled_from([define, define, Writer.statement]))(w), "functions"))
    return cells


# More examples find more, with KALEYARD_EXAMPLES=5000 set; shrinking takes minutes.
@settings(
    max_examples=int(os.environ.get("KALEYARD_EXAMPLES", "60")),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(cells=notebooks())
def test_steps_print_what_the_whole_notebook_prints(cells: list[NotebookCells]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            assert_same(Path(folder), *cells)
        except CheckError as error:
            codes = sorted({w for w in str(error).split() if w.startswith("KY")})
            event(f"refused: {codes}")
        else:
            event("same")
