"""Random pipelines, with real kernels: they give what the notebook gives, and run again what an edit touches.

`test_same_as_whole.py` asks the same of many more random notebooks, without kernels.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

import kaleyard
from kaleyard.local.record import Run
from kaleyard.local.reporter import SilentReporter
from notebook_builder import notebook


class Graph:
    """Steps that add up values of random earlier steps, some through a function, a parameter or a list."""

    def __init__(self, rng: random.Random, size: int) -> None:
        self.constants = [rng.randint(1, 9) for _ in range(size)]
        self.takes = [rng.sample(range(n), min(n, rng.randint(0, 2))) for n in range(size)]
        self.uses = [rng.choice(("plain", "function", "parameter", "grows")) for _ in range(size)]
        self.parameter = 3

    def source(self, n: int) -> str:
        total = " + ".join([str(self.constants[n]), *(f"v{i}[0]" for i in self.takes[n])])
        if self.uses[n] == "function":
            return f"v{n} = [double({total})]"
        if self.uses[n] == "parameter":
            return f"v{n} = [P * ({total})]"
        if self.uses[n] == "grows" and self.takes[n]:
            return f"v{self.takes[n][0]}.append({n})\nv{n} = [{total} + len(v{self.takes[n][0]})]"
        return f"v{n} = [{total}]"

    def cells(self) -> list[tuple[str, str]]:
        shared = [("def double(x):\n    return 2 * x", "functions"), (f"P = {self.parameter}", "pipeline-parameters")]
        return shared + [(self.source(n), f"step:s{n}") for n in range(len(self.constants))]

    def whole(self) -> dict[str, Any]:
        """What the notebook gives when it is run from top to bottom in one namespace: every value at the end."""
        namespace: dict[str, Any] = {}
        for source, _ in self.cells():
            exec(source, namespace)
        return {n: namespace[n] for n in namespace if n.startswith("v")}


def run(path: Path, *cells: tuple[str, str]) -> Run:
    return kaleyard.run(notebook(path, *cells), reporter=SilentReporter())


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_random_pipeline_gives_what_the_whole_notebook_gives(project: Path, seed: int) -> None:
    graph = Graph(random.Random(seed), 4)
    last = "result = [" + ", ".join(f"v{n}" for n in range(4)) + "]\nresult"
    done = run(project / "notebooks" / "random.ipynb", *graph.cells(), (last, "step:last"))
    assert done.state == "done", [s.error for s in done.steps.values() if s.error]
    expected = str([graph.whole()[f"v{n}"] for n in range(4)])
    assert "".join(done.artifact("last", "result").read_text().split()) == "".join(expected.split())


def test_an_edit_runs_again_what_it_changes_and_what_its_values_change(project: Path) -> None:
    rng = random.Random(11)
    graph = Graph(rng, 5)
    graph.uses = ["parameter", "plain", "function", "plain", "plain"]
    graph.takes = [[], [0], [], [1, 2], [2]]
    path = project / "notebooks" / "edited.ipynb"
    run(path, *graph.cells())
    for _ in range(4):
        sources, values = [graph.source(n) for n in range(5)], graph.whole()
        parameter = graph.parameter
        edited = rng.randrange(6)
        if edited == 5:
            graph.parameter += 1
        else:
            graph.constants[edited] += 1
        after = graph.whole()
        changed = {n for n in range(5) if graph.source(n) != sources[n]}
        changed |= {0} if graph.parameter != parameter else set()
        changed |= {n for n in range(5) if any(after[f"v{i}"] != values[f"v{i}"] for i in graph.takes[n])}
        done = run(path, ("Some *words*.", "markdown"), *graph.cells())
        assert {int(n[1:]) for n, s in done.steps.items() if s.state == "done"} == changed
        assert {s.state for s in done.steps.values()} <= {"done", "cached"}
