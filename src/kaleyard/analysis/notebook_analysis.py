"""Reads a notebook into a `Pipeline`, with the facts that the rules check."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from kaleyard.analysis.closure import classes_with_data, is_class, keeps_state
from kaleyard.analysis.dataflow import resolve
from kaleyard.analysis.dependencies import Dependencies, find_dependencies
from kaleyard.analysis.effects.code_fragments import CodeFragment
from kaleyard.analysis.effects.name_effects import NameEffects, Scope
from kaleyard.analysis.files.file_flow import file_flow
from kaleyard.analysis.notebook_parts import GENERATED, NotebookAnalysis, kale_tags, read_part
from kaleyard.analysis.provenance import Provenance
from kaleyard.analysis.stale_globals import StaleGlobals
from kaleyard.analysis.step_code import StepCode, StepFlow
from kaleyard.config import Project
from kaleyard.notebook.document import Notebook
from kaleyard.notebook.kale_adapter import OutlineStep
from kaleyard.notebook.parameters import CellProblem
from kaleyard.pipeline import Cell, FileInput, Input, Parameter, Pipeline, Step
from kaleyard.runtime.contract import RAISES, RANDOM_STATE

__all__ = ["NotebookAnalysis", "kale_tags", "read"]


def read(path: Path, project: Project, repair: Callable[[Notebook], Notebook] | None = None) -> NotebookAnalysis:
    """The analysis of the notebook at `path`, with the notebooks it is composed of.

    A notebook without `step:` cells is one step. `repair` changes each notebook before it is analyzed. Raises
    NotebookError if a notebook cannot be read; undefined names and the like are recorded for the rules.
    """
    reading = read_part(path, project, repair=repair)
    parts = list(reading.walk())
    code = {name: c for part in parts for name, c in part.code.items()}
    code = {name: code[name] for name in reading.order}
    flows = resolve(list(code.values()))
    origins, outdated = Provenance(code, flows), StaleGlobals(code)
    for part in parts:
        part.flows = {name: flows[name] for name in part.code}
        part.origins, part.outdated = origins, outdated
        _add_results(part)
    parameters = _parameters(parts)
    folders = {name: _folder(part) for part in parts for name in part.code}
    files = file_flow(list(code.values()), flows, folders, {p.name: p.default for p in parameters})
    evolving = _evolving(list(code.values()))
    optional = _optional(code, flows)
    for part in parts:
        part.optional = optional
        part.evolving = evolving
        part.files = {name: files[name] for name in part.code}
    pipeline = _pipeline(reading, parameters)
    for part in parts:
        part.pipeline = pipeline
    return reading


def _add_results(reading: NotebookAnalysis) -> None:
    """Add the variable in a step's last line to its outputs, as Kale does."""
    for name, code in reading.code.items():
        body = next((tree.body for number, tree in reversed(code.trees) if number != GENERATED and tree.body), [])
        last = body[-1] if body else None
        if isinstance(last, ast.Expr) and isinstance(last.value, ast.Name):
            value = last.value.id
            if value in code.names.makes | code.names.may_make and value not in code.names.imports:
                reading.flows[name].outputs.add(value)


def _metrics_by_step(
    metrics: Iterable[str], code: Mapping[str, StepCode], flows: Mapping[str, StepFlow]
) -> dict[str, list[str]]:
    """The metrics of each step: the last one that makes the metric or, for a parameter, uses it."""
    by_step: dict[str, list[str]] = {}
    for name in metrics:
        makers = [s.name for s in code.values() if name in s.names.makes | s.names.may_make]
        makers = makers or [n for n in code if name in flows[n].parameters]
        if makers:
            by_step.setdefault(makers[-1], []).append(name)
    return by_step


def _parameters(parts: Sequence[NotebookAnalysis]) -> list[Parameter]:
    """The parameters of all notebooks. The composing notebook's defaults win; other defaults must agree."""
    parameters: dict[str, Parameter] = {}
    composing = {p.name for p in parts[0].parameters.parameters}
    for part in parts:
        for parameter in part.parameters.parameters:
            first = parameters.setdefault(parameter.name, parameter)
            if first.type != parameter.type:
                message = f"`{parameter.name}` has type {parameter.type} here and {first.type} in another notebook"
            elif parameter.name not in composing and first.default != parameter.default:
                message = f"another notebook of this pipeline sets `{parameter.name} = {first.default!r}`"
            else:
                continue
            part.parameters.problems.append(CellProblem(parameter.cell, 1, message))
    return list(parameters.values())


def _pipeline(reading: NotebookAnalysis, parameters: Sequence[Parameter]) -> Pipeline:
    outline = reading.outline
    steps: dict[str, Step] = {}
    for part in reading.walk():
        steps |= {step.name: _step(part, step, parameters) for step in part.outline.steps}
    for part in reading.walk():
        code = {name: c for p in part.walk() for name, c in p.code.items()}
        flows = {name: f for p in part.walk() for name, f in p.flows.items()}
        metrics = _metrics_by_step(part.metrics.metrics, {n: code[n] for n in part.order}, flows)
        for name, names in metrics.items():
            steps[name] = replace(steps[name], metrics=(*steps[name].metrics, *names))
    return replace(
        reading.pipeline,
        steps=tuple(steps[name] for name in reading.order),
        parameters=tuple(parameters),
        description=outline.description,
        experiment=outline.experiment,
        volumes=tuple(outline.volumes),
    )


def _step(reading: NotebookAnalysis, step: OutlineStep, parameters: Sequence[Parameter]) -> Step:
    flow, project, notebook = reading.flows[step.name], reading.project, reading.notebook
    needs = _needs(reading, step, [p.default for p in parameters if p.name in flow.parameters])
    reading.needs[step.name] = needs
    return Step(
        name=step.name,
        cells=(
            *_with_inline_cells(_own_cells(notebook, step), _setup(flow.inline, reading)),
            *_output_renames(reading.code[step.name]),
        ),
        setup=_setup(flow.setup, reading),
        late_setup=_setup(flow.late, reading),
        early=tuple(sorted(flow.early)),
        parameters=tuple(p.name for p in parameters if p.name in flow.parameters),
        inputs=tuple(
            Input(n, m, reading.outdated.names(m, step.name), n in reading.optional.get(m, ()))
            for n, m in _inputs_in_load_order(flow)
        ),
        optional=tuple(sorted(reading.optional.get(step.name, set()) & flow.outputs)),
        outputs=tuple(sorted(flow.outputs)),
        together=_alias_groups(sorted(flow.outputs), reading.code[step.name].names),
        evolving=_step_classes(flow, reading),
        remade=_recomputed_shared(flow, reading.code[step.name].use),
        random_state=flow.random_state if RANDOM_STATE in flow.outputs else (),
        after=tuple(sorted(flow.upstream - set(flow.inputs.values()) - set(reading.files[step.name].inputs))),
        packages=tuple(sorted(needs.packages)),
        modules=tuple(sorted(needs.modules)),
        files=tuple(sorted(needs.files | _declared_files(project))),
        module_path=_module_path(reading),
        file_inputs=tuple(FileInput(s, tuple(sorted(p))) for s, p in reading.files[step.name].inputs.items()),
        folders=tuple(sorted(reading.files[step.name].folders)),
        notebook=notebook.name,
        settings=step.settings,
    )


def _optional(code: Mapping[str, StepCode], flows: Mapping[str, StepFlow]) -> dict[str, set[str]]:
    """By step, the outputs that it makes on some paths only and that no step always reads."""
    required = {(maker, name) for f in flows.values() for name, maker in f.inputs.items() if name not in f.optional}
    return {
        step: {n for n in flows[step].outputs & c.names.may_make if (step, n) not in required}
        for step, c in code.items()
    }


def _evolving(steps: Sequence[StepCode]) -> frozenset[str]:
    """The classes that are defined once, if a step changes one of them after its definition; else none."""
    units = {id(u): u for step in steps for u in (*step.shared, *step.units)}.values()
    defined = Counter(n for u in units for n in u.names.definitions if is_class(u, n))
    changed_classes = {n for step in steps for n in step.names.changes if n in defined}
    return frozenset(n for n, count in defined.items() if count == 1) if changed_classes else frozenset()


def _step_classes(flow: StepFlow, reading: NotebookAnalysis) -> tuple[str, ...]:
    """The evolving classes that the step carries."""
    return tuple(sorted(reading.evolving & {n for u in flow.carried for n in u.names.definitions}))


def _inputs_in_load_order(flow: StepFlow) -> list[tuple[str, str]]:
    """The inputs with their makers in load order: classes first, because other values may be instances of them."""
    classes = {n for u in flow.carried for n in u.names.definitions}
    return sorted(flow.inputs.items(), key=lambda pair: (pair[0] not in classes, pair[0]))


def _alias_groups(outputs: Sequence[str], names: NameEffects) -> tuple[tuple[str, ...], ...]:
    """The groups of a step's outputs that may be the same object, or hold each other."""
    scope = Scope(alias=names.alias, held=names.held)
    groups = {tuple(n for n in outputs if n in scope.same(name)) for name in outputs}
    return tuple(sorted(group for group in groups if len(group) > 1))


def _recomputed_shared(flow: StepFlow, use: str) -> tuple[tuple[str, str], ...]:
    """Mutable values of shared cells that the step recomputes, as other steps do: a change stays in one step."""
    names = {n for u in flow.setup if keeps_state(u) for n in u.names.makes | u.names.may_make}
    names |= {n for u in flow.setup for n in classes_with_data(u)}
    return tuple((name, use) for name in sorted(names - set(flow.inputs)))


def _needs(reading: NotebookAnalysis, step: OutlineStep, defaults: Sequence[object]) -> Dependencies:
    project, notebook = reading.project, reading.notebook
    code: list[tuple[int, ast.AST]] = list(reading.code[step.name].trees)
    code += [(u.cell, node) for u in reading.flows[step.name].carried for node in u.nodes]
    module_folders = [project.root / p for p in project.module_path]
    inputs = reading.flows[step.name].inputs
    value_modules = {m for name, maker in inputs.items() for m in reading.origins.modules(maker, name)}
    files = reading.files[step.name]
    return find_dependencies(
        code, defaults, project.root, notebook.path.resolve().parent, module_folders, value_modules, files
    )


def _folder(reading: NotebookAnalysis) -> str:
    """The notebook's folder, from the project's root."""
    path = reading.notebook.path.resolve().parent
    root = reading.project.root.resolve()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


@cache
def _declared_files(project: Project) -> frozenset[str]:
    paths = (p for pattern in project.files for p in project.root.glob(pattern))
    return frozenset(project.relative(p) for p in paths if p.is_file())


def _module_path(reading: NotebookAnalysis) -> tuple[str, ...]:
    project = reading.project
    folders = [reading.notebook.path.resolve().parent, *(project.root / p for p in project.module_path)]
    return tuple(dict.fromkeys(project.relative(f) for f in folders))


def _setup(carried: Sequence[CodeFragment], reading: NotebookAnalysis) -> tuple[Cell, ...]:
    """The carried units as cells, grouped by cell; a cell keeps its source if all its units are carried."""
    by_cell: dict[int, list[CodeFragment]] = {}
    for position, unit in enumerate(carried):
        # Units of another notebook, and generated ones, have no cell number here.
        key = unit.cell if id(unit) in reading.own_units and unit.cell else -position - 1
        by_cell.setdefault(key, []).append(unit)
    cells = []
    for key, group in by_cell.items():
        is_whole = key > 0 and len(group) == reading.units_in[key]
        source = reading.sources[key] if is_whole else "\n".join(u.source for u in group)
        cells.append(Cell(max(key, GENERATED), "code", source.strip("\n")))
    return tuple(cells)


def _with_inline_cells(own: Sequence[Cell], shared: Sequence[Cell]) -> list[Cell]:
    """The step's cells and its inline shared cells, in the notebook's order."""
    cells, remaining = list[Cell](), list(shared)
    for cell in own:
        while remaining and remaining[0].number < cell.number:
            cells.append(remaining.pop(0))
        cells.append(cell)
    return cells + remaining


def _output_renames(code: StepCode) -> tuple[Cell, ...]:
    """The generated lines that rename the step's outputs for the composing notebook."""
    return tuple(Cell(GENERATED, "code", u.source) for u in code.units if u.cell == GENERATED)


def _own_cells(notebook: Notebook, step: OutlineStep) -> tuple[Cell, ...]:
    """The step's code cells with the Markdown cells directly above each of them."""
    numbers = set(step.cells)
    cells: list[Cell] = []
    markdown: list[Cell] = []
    for cell in notebook.cells:
        if cell.kind == "markdown":
            markdown.append(Cell(cell.number, "markdown", cell.source))
        elif cell.kind == "code":
            if cell.number in numbers:
                cells += [*markdown, Cell(cell.number, "code", cell.source.strip("\n"), RAISES in cell.tags)]
            markdown = []
    return tuple(cells)
