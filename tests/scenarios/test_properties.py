"""Random pipelines, with real kernels: they give what the notebook gives, and run again what an edit touches.

`test_same_as_whole.py` asks the same of many more random notebooks, without kernels.
"""

from __future__ import annotations

import os
import random
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import kaleyard
from kaleyard.records.run_record import Run
from kaleyard.reporting.console import SilentReporter
from notebook_builder import notebook


class Graph:
    """Steps that add up values of random earlier steps, some through a function, a parameter or a list."""

    def __init__(self, rng: random.Random, size: int) -> None:
        self.constants = [rng.randint(1, 9) for _ in range(size)]
        self.takes = [rng.sample(range(n), min(n, rng.randint(0, 2))) for n in range(size)]
        self.uses = [rng.choice(("plain", "function", "parameter", "grows")) for _ in range(size)]
        self.parameter = 3
        self.function = "2 * x"
        self.words = ""
        self.plus_nothing: set[int] = set()

    def source(self, n: int) -> str:
        total = " + ".join([str(self.constants[n]), *(f"v{i}[0]" for i in self.takes[n])])
        if n in self.plus_nothing:
            total = f"0 + {total}"
        if self.uses[n] == "function":
            return f"v{n} = [double({total})]"
        if self.uses[n] == "parameter":
            return f"v{n} = [P * ({total})]"
        if self.uses[n] == "grows" and self.takes[n]:
            return f"v{self.takes[n][0]}.append({n})\nv{n} = [{total} + len(v{self.takes[n][0]})]"
        return f"v{n} = [{total}]"

    def cells(self) -> list[tuple[str, str]]:
        shared = [
            (f"def double(x):\n    return {self.function}", "functions"),
            (f"P = {self.parameter}", "pipeline-parameters"),
        ]
        shared += [(self.words, "markdown")] if self.words else []
        return shared + [(self.source(n), f"step:s{n}") for n in range(len(self.constants))]

    def contents(self) -> dict[int, tuple[str, ...]]:
        """By step, what makes it another one: its code, what it uses of the shared cells, whether it hands on."""
        shared = {"parameter": (str(self.parameter),), "function": (self.function,)}
        told = {}
        for n in range(len(self.constants)):
            handed_on = str(any(n in others for others in self.takes))
            told[n] = (self.source(n), *shared.get(self.uses[n], ()), handed_on)
        return told

    def watched(self, n: int) -> set[int]:
        """Inputs that later steps also take: those that the step has to be seen not to change."""
        return {i for i in self.takes[n] if any(i in takes for takes in self.takes[n + 1 :])}

    def edit(self, what: str, rng: random.Random) -> None:
        """Change the notebook in one way."""
        n = rng.randrange(len(self.constants))
        if what == "constant":
            self.constants[n] += 1
        elif what == "parameter":
            self.parameter += 1
        elif what == "function":
            self.function = "3 * x"
        elif what == "words":
            self.words = "Other words."
        elif what == "same value":
            self.plus_nothing.add(n)
        elif what == "more":
            self.constants.append(5)
            self.takes.append([n])
            self.uses.append("plain")
        elif what == "fewer":
            for part in (self.constants, self.takes, self.uses):
                part.pop()

    def whole(self) -> dict[str, Any]:
        """What the notebook gives when it is run from top to bottom in one namespace: every value at the end."""
        namespace: dict[str, Any] = {}
        for source, tags in self.cells():
            exec(source if tags != "markdown" else "", namespace)
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


EDITS = ("constant", "parameter", "function", "words", "same value", "more", "fewer")


# Real kernels run every example, so there are few; `KALEYARD_EXAMPLES=50` asks for more.
@settings(
    max_examples=int(os.environ.get("KALEYARD_EXAMPLES", "3")),
    phases=[Phase.explicit, Phase.generate],
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
)
@given(seed=st.integers(0, 10_000), edits=st.lists(st.sampled_from(EDITS), min_size=3, max_size=3, unique=True))
def test_an_edit_runs_again_what_it_changes_and_what_its_values_change(
    project: Path, seed: int, edits: list[str]
) -> None:
    rng = random.Random(seed)
    graph = Graph(rng, 4)
    graph.uses = [rng.choice(("plain", "function", "parameter")) for _ in range(4)]
    # A folder of its own, so that no other example has filled the cache.
    root = Path(tempfile.mkdtemp(dir=project))
    (root / "pyproject.toml").write_text("[tool.kaleyard]\n", encoding="utf-8")
    path = root / "edited.ipynb"
    seen: dict[object, set[int]] = {}
    for edit in ["none", *edits]:
        graph.edit(edit, rng)
        values, new = graph.whole(), set()
        for n, content in graph.contents().items():
            key = (n, content, str([values[f"v{i}"] for i in graph.takes[n]]))
            if key not in seen or not graph.watched(n) <= seen[key]:
                new.add(n)
                seen[key] = graph.watched(n)
        done = run(path, ("Some *words*.", "markdown"), *graph.cells())
        assert {int(n[1:]) for n, s in done.steps.items() if s.state == "done"} == new, (edit, graph.cells())
        assert {s.state for s in done.steps.values()} <= {"done", "cached"}
        assert len(done.steps) == len(graph.constants)
