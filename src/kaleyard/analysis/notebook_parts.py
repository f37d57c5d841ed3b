"""Reads one notebook of a pipeline: its outline, its code, and the notebooks it is composed of."""

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
from kaleyard.analysis.step_code import StepCode, StepFlow, save_aliases_together
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

# papermill's tags, with Kale's names for them.
_PAPERMILL_TAGS = {"parameters": "pipeline-parameters"}
_NO_STEP_TAGS = ("imports", "functions", "pipeline-parameters", "pipeline-metrics", "skip")
# The cell number of code that Kaleyard generates.
GENERATED = 0


@dataclass
class NotebookAnalysis:
    """A notebook's part of the pipeline, and the facts that the rules check.

    `code`, `flows`, `files` and `needs` describe this notebook's own steps, by name. `parts` are the notebooks it is
    composed of, `order` the names of all steps, including theirs, in cell order. `pipeline` is the whole pipeline.
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
        """The analysis itself and those of all its parts."""
        yield self
        for part in self.parts:
            yield from part.walk()

    @property
    def steps(self) -> tuple[Step, ...]:
        """The pipeline's steps in this notebook."""
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
        """The number of units in each cell; a cell keeps its source if all of them are carried."""
        return Counter(u.cell for u in self.own_units.values())


@dataclass(frozen=True)
class _ParentContext:
    """What a part gets from its parents: their paths and parameters, the name and cell of this use, and `repair`."""

    paths: tuple[Path, ...] = ()
    parameters: frozenset[str] = frozenset()
    name: str = ""
    use: Reference | None = None
    repair: Callable[[Notebook], Notebook] | None = None


def kale_tags(cell: NotebookCell) -> tuple[str, ...]:
    """The Kale tags of a cell, with papermill's `parameters` under Kale's name."""
    tags = dict.fromkeys(_PAPERMILL_TAGS.get(t, t) for t in cell.tags)
    return tuple(t for t in tags if is_ours(t))


def read_part(
    path: Path,
    project: Project,
    parent: _ParentContext | None = None,
    *,
    repair: Callable[[Notebook], Notebook] | None = None,
) -> NotebookAnalysis:
    """The notebook at `path` and those it is composed of, with their code traced but no names resolved.

    Raises NotebookError if a notebook cannot be read.
    """
    parent = parent or _ParentContext(repair=repair)
    notebook = read_notebook(path, project.relative(path))
    notebook = parent.repair(notebook) if parent.repair else notebook
    tags = _tags(notebook)
    name = step_name(path.stem).strip("_").replace("_", "-") or "pipeline"
    outline = read_outline(notebook, tags, name)
    if not outline.steps:
        hint = "Tag a cell `step:NAME`, or write some code."
        raise NotebookError("the notebook has no steps", place=Location(notebook.name), fix=hint)
    reading = NotebookAnalysis(project, notebook, outline, Pipeline(outline.name, notebook.name, ()))
    sources = reading.sources
    reading.parameters = read_parameters(((n, sources[n]) for n in outline.parameters), notebook.name)
    reading.metrics = read_metrics(((n, sources[n]) for n in outline.metrics), notebook.name)
    fixed_parameters = parent.use.parameters if parent.use else {}
    _check_fixed_parameters(reading, parent.use)
    reading.parameters.parameters = [p for p in reading.parameters.parameters if p.name not in fixed_parameters]
    parameters = parent.parameters | {p.name for p in reading.parameters.parameters}
    scalars = {p.name for p in reading.parameters.parameters if p.type not in ("list", "dict")}
    scope = Scope(lazy_notes=any(_has_future(c.source) for c in notebook.code_cells), scalars=frozenset(scalars))
    shared = [_constant(name, value) for name, value in sorted(fixed_parameters.items())]
    for number in sorted(outline.shared):
        shared += (fragments := units(number, sources[number], Location(notebook.name, number), scope))
        scope = _after(scope, fragments)
    _read_steps(reading, parent, tuple(shared), frozenset(parameters), scope)
    if parent.use:
        _rename_outputs(reading, parent.use, scope)
    return reading


def _check_fixed_parameters(reading: NotebookAnalysis, use: Reference | None) -> None:
    """Raise NotebookError for values of parameters that the notebook does not have, or of another type."""
    parameters = {p.name: p for p in reading.parameters.parameters}
    for name, value in use.parameters.items() if use else ():
        parameter = parameters.get(name)
        location = Location(reading.notebook.name, parameter.cell if parameter else None, use.name if use else None)
        if parameter is None:
            raise NotebookError(
                f"`notebook_parameters` sets `{name}`, but this notebook has no such parameter",
                place=location,
                fix=f"Its parameters: {', '.join(parameters) or 'none'}.",
            )
        if type(value).__name__ != parameter.type:
            raise NotebookError(
                f"`notebook_parameters` sets `{name}` to {value!r}, but its type is {parameter.type}",
                place=location,
                fix=f"Its default is {parameter.default!r}.",
            )


def _read_steps(
    reading: NotebookAnalysis,
    parent: _ParentContext,
    shared: tuple[CodeFragment, ...],
    parameters: frozenset[str],
    scope: Scope,
) -> None:
    """Read the steps in cell order; a `notebook:` cell adds the steps of its notebook."""
    notebook, outline = reading.notebook, reading.outline
    full_names: dict[str, list[str]] = {}
    remaining = list(shared)
    only_step = len(outline.steps) == 1
    for index, step in enumerate(outline.steps):
        name = f"{parent.name}_{step.name}" if parent.name and not only_step else parent.name or step.name
        prev = tuple(full for p in step.prev for full in full_names.get(p, ()))
        if step.reference:
            part = _read_reference(reading, step, name, parent, parameters)
            reading.parts.append(part)
            full_names[step.name] = part.order
            reading.order += part.order
            continue
        short_name = step.name
        outline.steps[index] = step = replace(step, name=name, prev=prev)  # noqa: PLW2901 - the same step, named
        # Shared cells above the step may change names again; those below are already in scope.
        fragments_above = [u for u in remaining if u.cell < min(step.cells, default=0)]
        if index:
            _retrace(fragments_above, scope)
        scope, remaining = _after(scope, fragments_above, untracked=True), remaining[len(fragments_above) :]
        code = _step_code(step, notebook, reading.sources, shared, parameters, scope)
        save_aliases_together(code, scope, reading.code.values())
        reading.code[name] = replace(code, use=f"{parent.name}:{notebook.name}")
        scope = scope.then(reading.code[name].names)
        full_names[short_name] = [name]
        reading.order.append(name)
    outline.steps[:] = [s for s in outline.steps if not s.reference]


def _read_reference(
    reading: NotebookAnalysis, step: OutlineStep, name: str, parent: _ParentContext, parameters: frozenset[str]
) -> NotebookAnalysis:
    notebook = reading.notebook
    cell = next(c for c in notebook.cells if c.number == step.cells[0])
    use = reference(cell, notebook)
    paths = (*parent.paths, notebook.path.resolve())
    refuse_circle(use, notebook, paths)
    return read_part(use.path, reading.project, _ParentContext(paths, parameters, name, use, parent.repair))


def _constant(name: str, value: Any) -> CodeFragment:
    (unit,) = units(GENERATED, f"{name} = {value!r}", Location(), Scope())
    return unit


def _rename_outputs(reading: NotebookAnalysis, use: Reference, scope: Scope) -> None:
    """Add lines to the steps of a part that rename its outputs as this use of the notebook says."""
    code_by_step = {name: code for part in reading.walk() for name, code in part.code.items()}
    for name, outer_name in sorted(use.outputs.items()):
        step = next((n for n in reversed(reading.order) if name in code_by_step[n].names.gives), None)
        if step is None:
            raise NotebookError(
                f"`notebook_outputs` renames `{name}`, but no step of this notebook assigns it",
                place=Location(reading.notebook.name, step=use.name),
                fix=f"Fix the metadata of cell {use.cell}.",
            )
        for part in reading.walk():
            if step in part.code:
                part.code[step] = _append_line(part.code[step], f"{outer_name} = {name}", scope)


def _append_line(code: StepCode, line: str, scope: Scope) -> StepCode:
    fragments = units(GENERATED, line, Location(), scope)
    trees = (*code.trees, (GENERATED, parse_cell(line, Location())))
    cells = (*code.cells, GENERATED)
    return replace(code, units=(*code.units, *fragments), trees=trees, names=trace(trees, scope), cells=cells)


def _step_code(
    step: OutlineStep,
    notebook: Notebook,
    sources: Mapping[int, str],
    shared: tuple[CodeFragment, ...],
    parameters: frozenset[str],
    scope: Scope,
) -> StepCode:
    trees = tuple((n, parse_cell(sources[n], Location(notebook.name, n, step.name))) for n in step.cells)
    own_units: list[CodeFragment] = []
    raising = {c.number for c in notebook.code_cells if RAISES in c.tags}
    names, current = trace(((n, _may_raise(t) if n in raising else t) for n, t in trees), scope), scope
    for number in step.cells:
        own_units += (fragments := units(number, sources[number], Location(notebook.name, number, step.name), current))
        current = _after(current, fragments)
    return StepCode(step.name, tuple(own_units), names, shared, parameters, step.prev, cells=step.cells, trees=trees)


def _may_raise(tree: ast.Module) -> ast.Module:
    """The code of a cell tagged `raises-exception`, which may stop anywhere, as a `try` statement."""
    handler = ast.ExceptHandler(None, None, [ast.Pass()])
    body: list[ast.stmt] = [ast.Try(tree.body, [handler], [], [])] if tree.body else []
    return ast.fix_missing_locations(ast.Module(body, tree.type_ignores))


def _retrace(fragments: Iterable[CodeFragment], scope: Scope) -> None:
    """Trace units of shared cells again, in the scope of the steps above them."""
    for unit in fragments:
        names = trace([(unit.cell, ast.Module(list(unit.nodes), []))], scope)
        for slot in fields(NameEffects):
            setattr(unit.names, slot.name, getattr(names, slot.name))
        scope = scope.then(names)


def _after(scope: Scope, fragments: Iterable[CodeFragment], *, untracked: bool = False) -> Scope:
    for unit in fragments:
        scope = scope.then(unit.names, untracked=untracked)
    return scope


def _has_future(source: str) -> bool:
    return "from __future__ import" in source and "annotations" in source


def _tags(notebook: Notebook) -> dict[int, tuple[str, ...]]:
    """Kale's tags by cell; in a notebook without steps, all code cells get the same `step:` tag."""
    tags = {c.number: kale_tags(c) for c in notebook.code_cells}
    if any(t.startswith(("step:", "notebook:")) for ts in tags.values() for t in ts):
        return tags
    name = step_name(notebook.path.stem)
    for cell in notebook.code_cells:
        if not set(tags[cell.number]) & set(_NO_STEP_TAGS) and cell.source.strip():
            tags[cell.number] = (f"step:{name}", *tags[cell.number])
    return tags
