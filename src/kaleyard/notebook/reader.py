"""A notebook in, a `Pipeline` out, with all that the rules want to know on the way."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path

from kaleyard.errors import NotebookError, Place
from kaleyard.notebook.code import Unit, parse_cell, units
from kaleyard.notebook.flow import resolve
from kaleyard.notebook.known import Known
from kaleyard.notebook.needs import Needs, find_needs
from kaleyard.notebook.origins import Origins
from kaleyard.notebook.outline import Outline, OutlineStep, read_outline
from kaleyard.notebook.parameters import Declared, read_metrics, read_parameters
from kaleyard.notebook.paths import trace
from kaleyard.notebook.source import Notebook, NotebookCell, read_notebook
from kaleyard.notebook.stepcode import StepCode, StepFlow
from kaleyard.notebook.tags import is_ours, step_name
from kaleyard.pipeline import Cell, Input, Parameter, Pipeline, Step
from kaleyard.project import Project

__all__ = ["Reading", "kale_tags", "read"]

# papermill's name for what Kale calls pipeline-parameters.
_SAME_TAG = {"parameters": "pipeline-parameters"}
_SPECIAL = ("imports", "functions", "pipeline-parameters", "pipeline-metrics", "skip")


@dataclass
class Reading:
    """A notebook as it was read: its pipeline, and the facts that the rules judge.

    `needs` tells, by step, the packages, modules and files it uses; `flows` where its names come from.
    """

    project: Project
    notebook: Notebook
    outline: Outline
    pipeline: Pipeline
    code: dict[str, StepCode] = field(default_factory=dict)
    flows: dict[str, StepFlow] = field(default_factory=dict)
    needs: dict[str, Needs] = field(default_factory=dict)
    parameters: Declared = field(default_factory=Declared)
    metrics: Declared = field(default_factory=Declared)

    @cached_property
    def sources(self) -> dict[int, str]:
        """The cells' sources, by number."""
        return {c.number: c.source for c in self.notebook.cells}

    @cached_property
    def origins(self) -> Origins:
        """The modules behind the steps' values."""
        return Origins(self.code, self.flows)

    @cached_property
    def units_in(self) -> Counter[int]:
        """How many units each cell has: a cell all of whose units are carried stays as it was written."""
        every = {id(u): u for code in self.code.values() for u in (*code.shared, *code.units)}
        return Counter(u.cell for u in every.values())


def kale_tags(cell: NotebookCell) -> tuple[str, ...]:
    """The tags of a cell that are Kale's, papermill's `parameters` among them under Kale's name."""
    tags = dict.fromkeys(_SAME_TAG.get(t, t) for t in cell.tags)
    return tuple(t for t in tags if is_ours(t))


def read(path: Path, project: Project) -> Reading:
    """The notebook at `path`, read as a pipeline of `project`.

    A notebook without `step:` cells is one step. Raises NotebookError for what cannot be read at all; names that
    nothing makes and the like are facts of the reading, for the rules to judge.
    """
    notebook = read_notebook(path, project.relative(path))
    tags = _tags(notebook)
    name = step_name(path.stem).strip("_").replace("_", "-") or "pipeline"
    outline = read_outline(notebook, tags, name)
    if not outline.steps:
        raise NotebookError(
            "it has no steps", place=Place(notebook.name), fix="Tag a cell `step:NAME`, or write some code."
        )
    sources = {c.number: c.source for c in notebook.cells}
    declared = read_parameters(((n, sources[n]) for n in outline.parameters), notebook.name)
    metrics = read_metrics(((n, sources[n]) for n in outline.metrics), notebook.name)
    known = Known(lazy_notes=any(_has_future(c.source) for c in notebook.code_cells))
    shared: list[Unit] = []
    for number in sorted(outline.shared):
        shared += (more := units(number, sources[number], Place(notebook.name, number), known))
        known = _after(known, more)
    parameters = frozenset(p.name for p in declared.parameters)
    code: dict[str, StepCode] = {}
    waiting = list(shared)
    for step in outline.steps:
        # What stands above the step was made last; what stands below is known all the same.
        above = [u for u in waiting if u.cell < min(step.cells, default=0)]
        known, waiting = _after(known, above), waiting[len(above) :]
        code[step.name] = _step_code(step, notebook, sources, tuple(shared), parameters, known)
        known = known.then(code[step.name].names, apart=True)
    flows = resolve(list(code.values()))
    _add_results(outline, code, flows, sources)
    reading = Reading(project, notebook, outline, _empty(notebook, outline), code, flows)
    reading.parameters, reading.metrics = declared, metrics
    reading.pipeline = _pipeline(reading, _metrics_by_step(metrics.metrics, code))
    return reading


def _step_code(
    step: OutlineStep,
    notebook: Notebook,
    sources: Mapping[int, str],
    shared: tuple[Unit, ...],
    parameters: frozenset[str],
    known: Known,
) -> StepCode:
    trees = tuple((n, parse_cell(sources[n], Place(notebook.name, n, step.name))) for n in step.cells)
    own: list[Unit] = []
    names, then = trace(trees, known), known
    for number in step.cells:
        own += (more := units(number, sources[number], Place(notebook.name, number, step.name), then))
        then = _after(then, more)
    return StepCode(step.name, tuple(own), names, shared, parameters, step.prev, notebook.name, step.cells, trees)


def _after(known: Known, made: Iterable[Unit]) -> Known:
    for unit in made:
        known = known.then(unit.names)
    return known


def _has_future(source: str) -> bool:
    return "from __future__ import" in source and "annotations" in source


def _tags(notebook: Notebook) -> dict[int, tuple[str, ...]]:
    """Kale's tags by cell; in a notebook without steps the code cells are made one step."""
    tags = {c.number: kale_tags(c) for c in notebook.code_cells}
    if any(t.startswith(("step:", "notebook:")) for ts in tags.values() for t in ts):
        return tags
    name = step_name(notebook.path.stem)
    for cell in notebook.code_cells:
        if not set(tags[cell.number]) & set(_SPECIAL) and cell.source.strip():
            tags[cell.number] = (f"step:{name}", *tags[cell.number])
    return tags


def _add_results(
    outline: Outline, code: Mapping[str, StepCode], flows: Mapping[str, StepFlow], sources: Mapping[int, str]
) -> None:
    """A step's last bare expression is a result of it, as Kale has it."""
    for step in outline.steps:
        body = next((parse_cell(sources[n], Place()).body for n in reversed(step.cells) if sources[n].strip()), [])
        last = body[-1] if body else None
        if isinstance(last, ast.Expr) and isinstance(last.value, ast.Name):
            names = code[step.name].names
            value = last.value.id
            if value in names.makes | names.may_make and value not in names.imports:
                flows[step.name].outputs.add(value)


def _metrics_by_step(metrics: Iterable[str], code: Mapping[str, StepCode]) -> dict[str, list[str]]:
    """Each metric belongs to the last step that makes it."""
    found: dict[str, list[str]] = {}
    for name in metrics:
        makers = [s.name for s in code.values() if name in s.names.makes | s.names.may_make]
        if makers:
            found.setdefault(makers[-1], []).append(name)
    return found


def _empty(notebook: Notebook, outline: Outline) -> Pipeline:
    return Pipeline(outline.name, notebook.name, ())


def _pipeline(reading: Reading, metrics: Mapping[str, Sequence[str]]) -> Pipeline:
    outline, notebook = reading.outline, reading.notebook
    told = reading.parameters.parameters
    steps = tuple(_step(reading, s, metrics.get(s.name, ()), told) for s in outline.steps)
    return replace(
        reading.pipeline,
        steps=steps,
        parameters=tuple(told),
        description=outline.description,
        experiment=outline.experiment,
        volumes=tuple(outline.volumes),
        notebook=notebook.name,
    )


def _step(reading: Reading, step: OutlineStep, metrics: Sequence[str], parameters: Sequence[Parameter]) -> Step:
    flow, project, notebook = reading.flows[step.name], reading.project, reading.notebook
    needs = _needs(reading, step, [p.default for p in parameters if p.name in flow.parameters])
    reading.needs[step.name] = needs
    return Step(
        name=step.name,
        cells=(*_setup(flow.late, reading), *_own_cells(notebook, step)),
        setup=_setup(flow.setup, reading),
        parameters=tuple(p.name for p in parameters if p.name in flow.parameters),
        inputs=tuple(Input(n, flow.inputs[n]) for n in sorted(flow.inputs)),
        outputs=tuple(sorted(flow.outputs)),
        metrics=tuple(metrics),
        after=tuple(sorted(flow.upstream - set(flow.inputs.values()))),
        packages=tuple(sorted(needs.packages)),
        modules=tuple(sorted(needs.modules)),
        files=tuple(sorted(needs.files | _declared_files(project))),
        module_path=_module_path(reading),
        notebook=notebook.name,
        settings=step.settings,
    )


def _needs(reading: Reading, step: OutlineStep, defaults: Sequence[object]) -> Needs:
    project, notebook = reading.project, reading.notebook
    code: list[tuple[int, ast.AST]] = list(reading.code[step.name].trees)
    code += [(u.cell, node) for u in reading.flows[step.name].carried for node in u.nodes]
    places = [project.root / p for p in project.module_path]
    inputs = reading.flows[step.name].inputs
    behind = {m for name, maker in inputs.items() for m in reading.origins.modules(maker, name)}
    return find_needs(code, defaults, project.root, notebook.path.resolve().parent, places, behind)


@cache
def _declared_files(project: Project) -> frozenset[str]:
    found = (p for pattern in project.files for p in project.root.glob(pattern))
    return frozenset(project.relative(p) for p in found if p.is_file())


def _module_path(reading: Reading) -> tuple[str, ...]:
    project = reading.project
    folders = [reading.notebook.path.resolve().parent, *(project.root / p for p in project.module_path)]
    return tuple(dict.fromkeys(project.relative(f) for f in folders))


def _setup(carried: Sequence[Unit], reading: Reading) -> tuple[Cell, ...]:
    by_cell: dict[int, list[Unit]] = {}
    for unit in carried:
        by_cell.setdefault(unit.cell, []).append(unit)
    found = []
    for number, group in by_cell.items():
        complete = len(group) == reading.units_in[number]
        source = reading.sources[number] if complete else "\n".join(u.source for u in group)
        found.append(Cell(number, "code", source.strip("\n")))
    return tuple(found)


def _own_cells(notebook: Notebook, step: OutlineStep) -> tuple[Cell, ...]:
    """The step's code cells and the Markdown that belongs to it: right above its cells, and between them."""
    mine = set(step.cells)
    found: list[Cell] = []
    waiting: list[Cell] = []
    for cell in notebook.cells:
        if cell.kind == "markdown":
            waiting.append(Cell(cell.number, "markdown", cell.source))
        elif cell.kind == "code":
            if cell.number in mine:
                found += [*waiting, Cell(cell.number, "code", cell.source.strip("\n"))]
            waiting = []
    return tuple(found)
