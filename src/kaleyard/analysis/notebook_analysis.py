"""A notebook in, a `Pipeline` out, with all that the rules want to know on the way."""

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
    """The notebook at `path`, read as a pipeline of `project`, with the notebooks it is composed of.

    A notebook without `step:` cells is one step. Raises NotebookError for what cannot be read at all; names that
    nothing makes and the like are facts of the reading, for the rules to judge. `repair` changes each notebook first.
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
    """A step's last bare expression is a result of it, as Kale has it."""
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
    """Each metric belongs to the last step that makes it; a parameter told as one, to the last step that uses it."""
    found: dict[str, list[str]] = {}
    for name in metrics:
        makers = [s.name for s in code.values() if name in s.names.makes | s.names.may_make]
        makers = makers or [n for n in code if name in flows[n].parameters]
        if makers:
            found.setdefault(makers[-1], []).append(name)
    return found


def _parameters(parts: Sequence[NotebookAnalysis]) -> list[Parameter]:
    """The parameters of all notebooks: the composing one's win; two others may not differ."""
    found: dict[str, Parameter] = {}
    own = {p.name for p in parts[0].parameters.parameters}
    for part in parts:
        for parameter in part.parameters.parameters:
            known = found.setdefault(parameter.name, parameter)
            if known.type != parameter.type:
                what = f"{parameter.name} is of type {parameter.type} here and {known.type} in another notebook"
            elif parameter.name not in own and known.default != parameter.default:
                what = f"another notebook of this pipeline has {parameter.name} = {known.default!r}"
            else:
                continue
            part.parameters.problems.append(CellProblem(parameter.cell, 1, what))
    return list(found.values())


def _pipeline(reading: NotebookAnalysis, parameters: Sequence[Parameter]) -> Pipeline:
    outline = reading.outline
    steps: dict[str, Step] = {}
    for part in reading.walk():
        steps |= {step.name: _step(part, step, parameters) for step in part.outline.steps}
    for part in reading.walk():
        codes = {name: c for p in part.walk() for name, c in p.code.items()}
        flows = {name: f for p in part.walk() for name, f in p.flows.items()}
        metrics = _metrics_by_step(part.metrics.metrics, {n: codes[n] for n in part.order}, flows)
        for name, told in metrics.items():
            steps[name] = replace(steps[name], metrics=(*steps[name].metrics, *told))
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
            *_in_place(_own_cells(notebook, step), _setup(flow.inline, reading)),
            *_renamings(reading.code[step.name]),
        ),
        setup=_setup(flow.setup, reading),
        late_setup=_setup(flow.late, reading),
        early=tuple(sorted(flow.early)),
        parameters=tuple(p.name for p in parameters if p.name in flow.parameters),
        inputs=tuple(
            Input(n, m, reading.outdated.names(m, step.name), n in reading.optional.get(m, ()))
            for n, m in _in_order(flow)
        ),
        optional=tuple(sorted(reading.optional.get(step.name, set()) & flow.outputs)),
        outputs=tuple(sorted(flow.outputs)),
        together=_together(sorted(flow.outputs), reading.code[step.name].names),
        evolving=_own_classes(flow, reading),
        remade=_remade(flow, reading.code[step.name].use),
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
    """By step, the outputs that it makes on some paths only, and that no step surely reads."""
    needed = {(maker, name) for f in flows.values() for name, maker in f.inputs.items() if name not in f.optional}
    return {
        step: {n for n in flows[step].outputs & c.names.may_make if (step, n) not in needed} for step, c in code.items()
    }


def _evolving(steps: Sequence[StepCode]) -> frozenset[str]:
    """The classes that are defined once, if steps change any after it was defined; else none."""
    units = {id(u): u for step in steps for u in (*step.shared, *step.units)}.values()
    defined = Counter(n for u in units for n in u.names.definitions if is_class(u, n))
    changed = {n for step in steps for n in step.names.changes if n in defined}
    return frozenset(n for n, count in defined.items() if count == 1) if changed else frozenset()


def _own_classes(flow: StepFlow, reading: NotebookAnalysis) -> tuple[str, ...]:
    """The evolving classes that the step has."""
    return tuple(sorted(reading.evolving & {n for u in flow.carried for n in u.names.definitions}))


def _in_order(flow: StepFlow) -> list[tuple[str, str]]:
    """The inputs with their makers in the order they are loaded: classes first, since other values may be of them."""
    classes = {n for u in flow.carried for n in u.names.definitions}
    return sorted(flow.inputs.items(), key=lambda pair: (pair[0] not in classes, pair[0]))


def _together(outputs: Sequence[str], names: NameEffects) -> tuple[tuple[str, ...], ...]:
    """The groups of a step's outputs that may be one object, or hold one another."""
    known = Scope(alias=names.alias, held=names.held)
    groups = {tuple(n for n in outputs if n in known.same(name)) for name in outputs}
    return tuple(sorted(group for group in groups if len(group) > 1))


def _remade(flow: StepFlow, use: str) -> tuple[tuple[str, str], ...]:
    """Values of shared cells that the step makes again, as other steps do: a change of them stays in one step."""
    made = {n for u in flow.setup if keeps_state(u) for n in u.names.makes | u.names.may_make}
    made |= {n for u in flow.setup for n in classes_with_data(u)}
    return tuple((name, use) for name in sorted(made - set(flow.inputs)))


def _needs(reading: NotebookAnalysis, step: OutlineStep, defaults: Sequence[object]) -> Dependencies:
    project, notebook = reading.project, reading.notebook
    code: list[tuple[int, ast.AST]] = list(reading.code[step.name].trees)
    code += [(u.cell, node) for u in reading.flows[step.name].carried for node in u.nodes]
    places = [project.root / p for p in project.module_path]
    inputs = reading.flows[step.name].inputs
    behind = {m for name, maker in inputs.items() for m in reading.origins.modules(maker, name)}
    files = reading.files[step.name]
    return find_dependencies(code, defaults, project.root, notebook.path.resolve().parent, places, behind, files)


def _folder(reading: NotebookAnalysis) -> str:
    """The notebook's folder, from the project's root."""
    path = reading.notebook.path.resolve().parent
    root = reading.project.root.resolve()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


@cache
def _declared_files(project: Project) -> frozenset[str]:
    found = (p for pattern in project.files for p in project.root.glob(pattern))
    return frozenset(project.relative(p) for p in found if p.is_file())


def _module_path(reading: NotebookAnalysis) -> tuple[str, ...]:
    project = reading.project
    folders = [reading.notebook.path.resolve().parent, *(project.root / p for p in project.module_path)]
    return tuple(dict.fromkeys(project.relative(f) for f in folders))


def _setup(carried: Sequence[CodeFragment], reading: NotebookAnalysis) -> tuple[Cell, ...]:
    """The carried units as cells: those of one cell together, and whole if all of it is carried."""
    by_cell: dict[int, list[CodeFragment]] = {}
    for position, unit in enumerate(carried):
        # What comes from another notebook, or from none, has no number here.
        key = unit.cell if id(unit) in reading.own_units and unit.cell else -position - 1
        by_cell.setdefault(key, []).append(unit)
    found = []
    for key, group in by_cell.items():
        complete = key > 0 and len(group) == reading.units_in[key]
        source = reading.sources[key] if complete else "\n".join(u.source for u in group)
        found.append(Cell(max(key, GENERATED), "code", source.strip("\n")))
    return tuple(found)


def _in_place(own: Sequence[Cell], shared: Sequence[Cell]) -> list[Cell]:
    """The step's cells with those of shared cells between them, in the notebook's order."""
    found, waiting = list[Cell](), list(shared)
    for cell in own:
        while waiting and waiting[0].number < cell.number:
            found.append(waiting.pop(0))
        found.append(cell)
    return found + waiting


def _renamings(code: StepCode) -> tuple[Cell, ...]:
    """The lines that give the step's values the names they have outside of its notebook."""
    return tuple(Cell(GENERATED, "code", u.source) for u in code.units if u.cell == GENERATED)


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
                found += [*waiting, Cell(cell.number, "code", cell.source.strip("\n"), RAISES in cell.tags)]
            waiting = []
    return tuple(found)
