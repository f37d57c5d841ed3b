"""One object under several names stays one: what a step changes under one name is seen under the others later."""

from __future__ import annotations

from pathlib import Path

import networkx as nx
import pytest
from PIL import Image

from kaleyard.runtime.exchange.aliases import shared_parts
from kaleyard.runtime.serializers.pickling.definitions import LoadedDefinitions
from kaleyard.runtime.serializers.pickling.stable_pickle import pickled
from kernels_unneeded import assert_same
from notebook_builder import NotebookCells

REGISTRY = "classes = {}\ndef register(cls):\n    classes[cls.__name__] = cls\n    return cls"
CASES: dict[str, list[NotebookCells]] = {
    "a registry that classes of two steps enter": [
        (REGISTRY, "step:make"),
        ("@register\nclass One: pass\none = One()", "step:first"),
        ("@register\nclass Two(One): pass\nprint(list(classes), isinstance(one, classes['One']))", "step:second"),
        ("print(list(classes), isinstance(one, classes['One']), classes['Two'] is Two)", "step:use"),
    ],
    "an object of a dict, with an array and a view of it": [
        (
            (
                "import numpy as np\nclass Grid:\n    def __init__(self):\n        self.cells = np.zeros(4)\n"
                "        self.row = self.cells[:2]"
            ),
            "functions",
        ),
        ("grids = {'a': Grid()}\nfor g in grids.values():\n    g.size = 4", "step:make"),
        ("print(grids['a'] is g)", "step:use"),
    ],
    "a graph changed, and read later by a function held in a value": [
        ("import networkx as nx\nfrom functools import partial", "imports"),
        ("G = nx.path_graph(3)\nfar = partial(nx.eccentricity, G)", "step:make"),
        ("G.add_edge(2, 3)\nnx.set_node_attributes(G, 1, 'age')", "step:grow"),
        ("print(far(0), dict(G.nodes(data=True)))", "step:use"),
    ],
    "changed, and read by the step itself": [("a = [1]\nb = a", "step:make"), ("1\nb.append(2)\nprint(a)", "step:use")],
    "changed, and read by a later step": [
        ("a = [1]\nb = a", "step:make"),
        ("b.append(2)", "step:grow"),
        ("print(a)", "step:use"),
    ],
    "through a third name": [
        ("a = [1]\nb = a\nc = b", "step:make"),
        ("c.append(2)", "step:grow"),
        ("print(a)", "step:use"),
    ],
    "the first name changed": [("a = [1]\nb = a", "step:make"), ("a.append(2)", "step:grow"), ("print(b)", "step:use")],
    "made in two steps": [
        ("a = [1]", "step:make"),
        ("b = a", "step:name"),
        ("b.append(2)", "step:grow"),
        ("print(a)", "step:use"),
    ],
    "the other name from a shared cell": [
        ("a = [1]", "functions"),
        ("b = a", "step:make"),
        ("b.append(2)", "step:grow"),
        ("print(a)", "step:use"),
    ],
    "the other name from a branch of a shared cell": [
        ("if len('a'):\n    a = [1]", "functions"),
        ("b = a", "step:make"),
        ("b.append(2)", "step:grow"),
        ("print(a)", "step:use"),
    ],
    "the other name from a shared cell, in the step itself": [
        ("a = [1]", "functions"),
        ("b = a", "step:make"),
        ("b.append(2)\nprint(a)", "step:grow"),
    ],
    "the name from a shared cell, the other a value": [
        ("a = [1]", "functions"),
        ("b = a", "step:make"),
        ("a.append(2)\nprint(b)", "step:grow"),
    ],
    "the name from a branch of a shared cell, the other a value": [
        ("if len('a'):\n    a = [1]", "functions"),
        ("b = a", "step:make"),
        ("a.append(2)\nprint(b)", "step:grow"),
    ],
    "by a name for a second name in a shared cell": [
        ("a = [1]\nb = a", "functions"),
        ("c = b", "step:make"),
        ("c.append(2)", "step:grow"),
        ("print(a)", "step:use"),
    ],
    "changed twice": [
        ("a = [1]\nb = a", "step:make"),
        ("b.append(2)\nb.append(3)", "step:grow"),
        ("print(a)", "step:use"),
    ],
    "changed, with the other name handed on": [
        ("a = [1]\nb = a", "step:make"),
        ("b.append(2)\nif b:\n    a.append(3)", "step:grow"),
        ("print(a, b)", "step:use"),
    ],
    "read under both": [("a = [1]\nb = a", "step:make"), ("print(a, b)", "step:use")],
    "the other one bound anew": [
        ("a = [1]\nb = a", "step:make"),
        ("b = [3]\nb.append(2)", "step:grow"),
        ("print(a, b)", "step:use"),
    ],
    "a copy": [("a = [1]\nb = list(a)", "step:make"), ("b.append(2)", "step:grow"), ("print(a, b)", "step:use")],
    "bound twice at once": [("a = b = [1]", "step:a"), ("b.append(2)", "step:b"), ("print(a, b)", "step:c")],
    "the changed one deleted": [("a = [1]\nb = a", "step:a"), ("b.append(2)\ndel b\nprint(a)", "step:b")],
    "through a third name that is deleted": [
        ("a = [1]\nb = a", "step:a"),
        ("t = b\nt.append(2)\ndel t, b", "step:b"),
        ("print(a)", "step:c"),
    ],
    "in a dict": [
        ("a = [1]\nheld = {'k': a}", "step:make"),
        ("held['k'].append(2)", "step:grow"),
        ("print(a, held)", "step:use"),
    ],
    "in a dict that gets more": [
        ("a = [1]\nheld = {'k': a}", "step:make"),
        ("held['z'] = 2", "step:grow"),
        ("a.append(3)", "step:more"),
        ("print(a, held)", "step:use"),
    ],
    "in a list, changed by its own name": [
        ("a, b = [1], [2]\nboth = [a, b]", "step:make"),
        ("a.append(5)", "step:grow"),
        ("print(both)", "step:use"),
    ],
    "in an object": [
        ("class Box:\n    def __init__(self, rows): self.rows = rows", "functions"),
        ("a = [1]\nbox = Box(a)", "step:make"),
        ("box.rows.append(2)", "step:grow"),
        ("print(a, box.rows)", "step:use"),
    ],
    "an item of a list": [
        ("names = ['x', 'y', 'z']\nfor n in names:\n    pass", "step:make"),
        ("names.reverse()", "step:turn"),
        ("print(n, names)", "step:use"),
    ],
    "an item that can be changed": [
        ("rows = [[1], [2]]\nfor row in rows:\n    pass", "step:make"),
        ("rows[1].append(3)", "step:grow"),
        ("print(row, rows)", "step:use"),
    ],
}


@pytest.mark.parametrize("case", CASES)
def test_one_object_under_several_names_stays_one(case: str, tmp_path: Path) -> None:
    assert_same(tmp_path, *CASES[case])


def test_what_a_library_notes_in_an_object_that_is_read_is_no_change_of_it() -> None:
    graph = nx.path_graph(3)
    with LoadedDefinitions.comparing():
        before = pickled(graph)
        assert len(graph[1]) == 2
        assert "adj" in vars(graph)
        assert pickled(graph) == before
        graph.add_edge(2, 3)
        assert pickled(graph) != before


def test_values_whose_attributes_cannot_be_asked_for_are_walked() -> None:
    picture = Image.new("L", (2, 2))
    picture.close()
    assert shared_parts({"picture": picture, "rows": [1]}) == ({}, {})
