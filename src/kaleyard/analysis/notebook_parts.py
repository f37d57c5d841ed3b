"""One notebook of a pipeline as it was read: its outline, its code, and the notebooks it is composed of."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from kaleyard.analysis.dependencies import Dependencies
from kaleyard.analysis.effects.code_fragments import CodeFragment, units
from kaleyard.analysis.effects.name_effects import NameEffects, Scope
from kaleyard.analysis.effects.statements import trace
from kaleyard.analysis.files.file_flow import StepFiles
from kaleyard.analysis.provenance import Provenance
from kaleyard.analysis.stale_globals import StaleGlobals
from kaleyard.analysis.step_code import StepCode, StepFlow, hand_on_together
from kaleyard.config import Project
from kaleyard.errors import Location, NotebookError
from kaleyard.notebook.cell_syntax import parse_cell
from kaleyard.notebook.composition import Reference, reference, refuse_circle
from kaleyard.notebook.document import Notebook, NotebookCell, read_notebook
from kaleyard.notebook.kale_adapter import Outline, OutlineStep, read_outline
from kaleyard.notebook.parameters import Declared, read_metrics, read_parameters
from kaleyard.notebook.tags import is_ours, step_name
from kaleyard.pipeline import Pipeline, Step
from kaleyard.runtime.contract import RAISES

__all__ = ["GENERATED", "NotebookAnalysis", "kale_tags", "read_part"]

# papermill's name for what Kale calls pipeline-parameters.
_SAME_TAG = {"parameters": "pipeline-parameters"}
_SPECIAL = ("imports", "functions", "pipeline-parameters", "pipeline-metrics", "skip")
# The number of a cell that stands in no notebook: Kaleyard wrote it.
GENERATED = 0


@dataclass
class NotebookAnalysis:
    """A notebook as it was read: its part of the pipeline, and the facts that the rules judge.

    `code`, `flows`, `files` and `needs` tell, by step, of this notebook's own steps; `parts` are the notebooks it is
    composed of, `order` the names of all steps, theirs included, in the order of the cells. `pipeline` is the whole.
    """

    project: Project
    notebook: Notebook
    outline: Outline
    pipeline: Pipeline
    code: dict[str, StepCode] = field(default_factory=dict)
    flows: dict[str, StepFlow] = field(default_factory=dict)
    needs: dict[str, Dependencies] = field(default_factory=dict)
    parameters: Declared = field(default_factory=Declared)
    metrics: Declared = field(default_factory=Declared)
    parts: list[NotebookAnalysis] = field(default_factory=list)
    order: list[str] = field(default_factory=list)
    files: dict[str, StepFiles] = field(default_factory=dict)
    evolving: frozenset[str] = frozenset()
    optional: dict[str, set[str]] = field(default_factory=dict)
    origins: Provenance = field(default_factory=lambda: Provenance({}, {}))
    outdated: StaleGlobals = field(default_factory=lambda: StaleGlobals({}))

    def walk(self) -> Iterator[NotebookAnalysis]:
        """The reading itself and those of all its parts."""
        yield self
        for part in self.parts:
            yield from part.walk()

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps of the pipeline that stand in this notebook."""
        return tuple(s for s in self.pipeline.steps if s.name in self.code)

    @cached_property
    def sources(self) -> dict[int, str]:
        """The cells' sources, by number."""
        return {c.number: c.source for c in self.notebook.cells}

    @cached_property
    def own_units(self) -> dict[int, CodeFragment]:
        """The units of this notebook's cells, by identity."""
        return {id(u): u for code in self.code.values() for u in (*code.shared, *code.units)}

    @cached_property
    def units_in(self) -> Counter[int]:
        """How many units each cell has: a cell all of whose units are carried stays as it was written."""
        return Counter(u.cell for u in self.own_units.values())


@dataclass(frozen=True)
class _ParentContext:
    """What the notebooks above hand down: their paths, their parameters, the name of this use, and what to repair."""

    paths: tuple[Path, ...] = ()
    parameters: frozenset[str] = frozenset()
    name: str = ""
    use: Reference | None = None
    repair: Callable[[Notebook], Notebook] | None = None


def kale_tags(cell: NotebookCell) -> tuple[str, ...]:
    """The tags of a cell that are Kale's, papermill's `parameters` among them under Kale's name."""
    tags = dict.fromkeys(_SAME_TAG.get(t, t) for t in cell.tags)
    return tuple(t for t in tags if is_ours(t))


def read_part(
    path: Path,
    project: Project,
    above: _ParentContext | None = None,
    *,
    repair: Callable[[Notebook], Notebook] | None = None,
) -> NotebookAnalysis:
    """The notebook at `path` and those it is composed of, their code traced, nothing resolved yet.

    Raises NotebookError for what cannot be read.
    """
    above = above or _ParentContext(repair=repair)
    notebook = read_notebook(path, project.relative(path))
    notebook = above.repair(notebook) if above.repair else notebook
    tags = _tags(notebook)
    name = step_name(path.stem).strip("_").replace("_", "-") or "pipeline"
    outline = read_outline(notebook, tags, name)
    if not outline.steps:
        raise NotebookError(
            "it has no steps", place=Location(notebook.name), fix="Tag a cell `step:NAME`, or write some code."
        )
    reading = NotebookAnalysis(project, notebook, outline, Pipeline(outline.name, notebook.name, ()))
    sources = reading.sources
    reading.parameters = read_parameters(((n, sources[n]) for n in outline.parameters), notebook.name)
    reading.metrics = read_metrics(((n, sources[n]) for n in outline.metrics), notebook.name)
    fixed = above.use.parameters if above.use else {}
    _check_fixed(reading, above.use)
    reading.parameters.parameters = [p for p in reading.parameters.parameters if p.name not in fixed]
    parameters = above.parameters | {p.name for p in reading.parameters.parameters}
    scalars = {p.name for p in reading.parameters.parameters if p.type not in ("list", "dict")}
    known = Scope(lazy_notes=any(_has_future(c.source) for c in notebook.code_cells), scalars=frozenset(scalars))
    shared = [_constant(name, value) for name, value in sorted(fixed.items())]
    for number in sorted(outline.shared):
        shared += (more := units(number, sources[number], Location(notebook.name, number), known))
        known = _after(known, more)
    _read_steps(reading, above, tuple(shared), frozenset(parameters), known)
    if above.use:
        _rename_outputs(reading, above.use, known)
    return reading


def _check_fixed(reading: NotebookAnalysis, use: Reference | None) -> None:
    """Refuse values for parameters that the notebook does not have, or has of another type."""
    told = {p.name: p for p in reading.parameters.parameters}
    for name, value in use.parameters.items() if use else ():
        place = Location(reading.notebook.name, told[name].cell if name in told else None, use.name if use else None)
        if name not in told:
            raise NotebookError(
                f"`notebook_parameters` sets {name}, which this notebook does not have",
                place=place,
                fix=f"It has: {', '.join(told) or 'none'}.",
            )
        if type(value).__name__ != told[name].type:
            raise NotebookError(
                f"`notebook_parameters` sets {name}, of type {told[name].type}, to {value!r}",
                place=place,
                fix=f"Its default is {told[name].default!r}.",
            )


def _read_steps(
    reading: NotebookAnalysis,
    above: _ParentContext,
    shared: tuple[CodeFragment, ...],
    parameters: frozenset[str],
    known: Scope,
) -> None:
    """Read the steps in the order of their cells; a `notebook:` cell brings in the steps of its notebook."""
    notebook, outline = reading.notebook, reading.outline
    called: dict[str, list[str]] = {}
    waiting = list(shared)
    alone = len(outline.steps) == 1
    for index, step in enumerate(outline.steps):
        name = f"{above.name}_{step.name}" if above.name and not alone else above.name or step.name
        prev = tuple(full for p in step.prev for full in called.get(p, ()))
        if step.reference:
            part = _read_reference(reading, step, name, above, parameters)
            reading.parts.append(part)
            called[step.name] = part.order
            reading.order += part.order
            continue
        own = step.name
        outline.steps[index] = step = replace(step, name=name, prev=prev)  # noqa: PLW2901 - the same step, named
        # What stands above the step was made last; what stands below is known all the same.
        made = [u for u in waiting if u.cell < min(step.cells, default=0)]
        if index:
            _trace_again(made, known)
        known, waiting = _after(known, made, unaware=True), waiting[len(made) :]
        code = _step_code(step, notebook, reading.sources, shared, parameters, known)
        hand_on_together(code, known, reading.code.values())
        reading.code[name] = replace(code, use=f"{above.name}:{notebook.name}")
        known = known.then(reading.code[name].names)
        called[own] = [name]
        reading.order.append(name)
    outline.steps[:] = [s for s in outline.steps if not s.reference]


def _read_reference(
    reading: NotebookAnalysis, step: OutlineStep, name: str, above: _ParentContext, parameters: frozenset[str]
) -> NotebookAnalysis:
    notebook = reading.notebook
    cell = next(c for c in notebook.cells if c.number == step.cells[0])
    use = reference(cell, notebook)
    paths = (*above.paths, notebook.path.resolve())
    refuse_circle(use, notebook, paths)
    return read_part(use.path, reading.project, _ParentContext(paths, parameters, name, use, above.repair))


def _constant(name: str, value: Any) -> CodeFragment:
    (unit,) = units(GENERATED, f"{name} = {value!r}", Location(), Scope())
    return unit


def _rename_outputs(reading: NotebookAnalysis, use: Reference, known: Scope) -> None:
    """Give values the names under which this use of the notebook hands them on, at the end of the steps they are of."""
    codes = {name: code for part in reading.walk() for name, code in part.code.items()}
    for name, outside in sorted(use.outputs.items()):
        maker = next((n for n in reversed(reading.order) if name in codes[n].names.gives), None)
        if maker is None:
            raise NotebookError(
                f"`notebook_outputs` renames `{name}`, which the notebook does not make",
                place=Location(reading.notebook.name, step=use.name),
                fix=f"Mend the metadata of cell {use.cell}.",
            )
        for part in reading.walk():
            if maker in part.code:
                part.code[maker] = _with_line(part.code[maker], f"{outside} = {name}", known)


def _with_line(code: StepCode, line: str, known: Scope) -> StepCode:
    more = units(GENERATED, line, Location(), known)
    trees = (*code.trees, (GENERATED, parse_cell(line, Location())))
    cells = (*code.cells, GENERATED)
    return replace(code, units=(*code.units, *more), trees=trees, names=trace(trees, known), cells=cells)


def _step_code(
    step: OutlineStep,
    notebook: Notebook,
    sources: Mapping[int, str],
    shared: tuple[CodeFragment, ...],
    parameters: frozenset[str],
    known: Scope,
) -> StepCode:
    trees = tuple((n, parse_cell(sources[n], Location(notebook.name, n, step.name))) for n in step.cells)
    own: list[CodeFragment] = []
    raising = {c.number for c in notebook.code_cells if RAISES in c.tags}
    names, then = trace(((n, _may_end(t) if n in raising else t) for n, t in trees), known), known
    for number in step.cells:
        own += (more := units(number, sources[number], Location(notebook.name, number, step.name), then))
        then = _after(then, more)
    return StepCode(step.name, tuple(own), names, shared, parameters, step.prev, cells=step.cells, trees=trees)


def _may_end(tree: ast.Module) -> ast.Module:
    """The code of a cell that may raise anywhere, with the notebook going on behind it."""
    handler = ast.ExceptHandler(None, None, [ast.Pass()])
    body: list[ast.stmt] = [ast.Try(tree.body, [handler], [], [])] if tree.body else []
    return ast.fix_missing_locations(ast.Module(body, tree.type_ignores))


def _trace_again(units: Iterable[CodeFragment], known: Scope) -> None:
    """Find out once more what units of shared cells do, with what the steps above them have defined in view."""
    for unit in units:
        names = trace([(unit.cell, ast.Module(list(unit.nodes), []))], known)
        for slot in fields(NameEffects):
            setattr(unit.names, slot.name, getattr(names, slot.name))
        known = known.then(names)


def _after(known: Scope, made: Iterable[CodeFragment], *, unaware: bool = False) -> Scope:
    for unit in made:
        known = known.then(unit.names, unaware=unaware)
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
