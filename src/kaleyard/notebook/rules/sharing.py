"""Rules about one value in several places: changed in place, under two names, by cells of all steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from kaleyard.errors import Place
from kaleyard.notebook.findings import Finding, Rule
from kaleyard.notebook.known import Known
from kaleyard.notebook.paths import trace
from kaleyard.notebook.reader import Reading
from kaleyard.notebook.stepcode import StepCode

__all__ = ["RULES"]


class SharedWork(Rule[Reading]):
    """Tag the cell as part of a step; cells tagged `imports` or `functions` go with steps, before their own code."""

    code = "KY206"
    title = "shared cell that works on a step's value"
    example = (("rows = [1]", "step:load"), ("rows.append(2)", "functions"), ("print(rows)", "step:show"))

    def check(self, subject: Reading) -> Iterable[Finding]:
        """Statements of shared cells that read or change what a step above made."""
        steps = list(subject.code.values())
        for unit in steps[0].shared if steps else ():
            if unit.is_definition:
                continue
            for name in sorted({*unit.names.reads, *unit.names.through, *unit.names.gives}):
                maker = next((s for s in steps if min(s.cells) < unit.cell and name in s.names.gives), None)
                if maker is not None:
                    place = Place(subject.notebook.name, unit.cell)
                    yield self.found(place, f"it works on `{name}`, which step {maker.name} makes", line=unit.line)
                    break


class OneValueTwoNames(Rule[Reading]):
    """Use one of the names from there on, or make the other a copy: each value travels on its own."""

    code = "KY207"
    title = "value under two names, changed in place by a later step"
    example = (("a = [1]\nb = a", "step:load"), ("b.append(2)", "step:grow"), ("print(a)", "step:show"))

    def check(self, subject: Reading) -> Iterable[Finding]:
        """Names that are one object in the notebook, and two once they have travelled."""
        known = Known()
        steps = list(subject.code.values())
        for unit in steps[0].shared if steps else ():
            known = known.then(unit.names)
        for index, step in enumerate(steps):
            flow = subject.flows[step.name]
            given = {*flow.inputs, *(n for u in flow.carried for n in u.names.makes | u.names.may_make)}
            # A name that is deleted in the end has no value to hand on; its value may still have changed.
            changes = {n: site for u in step.units for n, site in u.names.changes.items()} | step.names.changes
            for name, (cell, line) in sorted(changes.items()):
                if name not in given:
                    # The step binds it itself, whatever had that name before.
                    continue
                for other in sorted(_same(known.alias, name) - {name}):
                    reader = _reads_apart(subject, steps[index:], steps[:index], name, other)
                    if reader is not None:
                        what = f"`{name}` is changed in place, and step {reader} uses the same value as `{other}`"
                        yield self.found(Place(subject.notebook.name, cell, step.name), what, line=line)
            known = known.then(trace(((n, m) for n, m in step.trees), known))


class LatePart(Rule[Reading]):
    """Give the later part of the step a name of its own (`step:...`), so that it runs where it stands."""

    code = "KY208"
    title = "step whose later part gives a value to steps before it"
    example = (
        ("a = 1", "step:load"),
        ("print(a)", "step:show"),
        ("# kaleyard: disable=KY105\na = 2", "step:load"),
    )

    def check(self, subject: Reading) -> Iterable[Finding]:
        """Names that a step gives anew below the cells of a step that takes or gives them."""
        steps = [s for s in subject.code.values() if s.cells]
        for step in steps:
            between = [s for s in steps if s is not step and step.cells[0] < s.cells[0] < step.cells[-1]]
            for name in sorted(step.names.gives) if between else ():
                late = step.given_in(name)
                for other in between:
                    takes = subject.flows[other.name].inputs.get(name) == step.name or name in other.names.gives
                    if takes and _works_on(name, other, late):
                        what = f"`{name}` has a new value here, below step {other.name}, which uses or makes it"
                        yield self.found(Place(subject.notebook.name, late, step.name), what)
                        break


class ParallelChange(Rule[Reading]):
    """Work on a copy, or say with `prev:` that one step comes after the other."""

    code = "KY209"
    title = "value changed in place that a parallel step also uses"
    severity = "warning"
    example = (
        ("rows = [1]", "step:load"),
        ("rows.append(2)", "step:grow"),
        ("print(rows)", "step:show prev:load"),
    )

    def check(self, subject: Reading) -> Iterable[Finding]:
        """Values that a step changes, and a later step takes as they were before."""
        order = list(subject.code.values())
        for index, step in enumerate(order):
            inputs = subject.flows[step.name].inputs
            for name, (cell, line) in sorted(step.names.changes.items()):
                if name not in inputs or name in step.names.makes:
                    continue
                others = [s.name for s in order[index + 1 :] if subject.flows[s.name].inputs.get(name) == inputs[name]]
                if others:
                    what = f"`{name}` is changed in place, and step {others[0]} takes it as step {inputs[name]} made it"
                    yield self.found(Place(subject.notebook.name, cell, step.name), what, line=line)


class ModuleChange(Rule[Reading]):
    """Do it in a cell tagged `imports` or `functions`, so that every step does it: each starts with fresh modules."""

    code = "KY210"
    title = "module changed in a step, and used in a later one"
    severity = "warning"
    example = (
        ("import os", "imports"),
        ("os.environ['MODE'] = 'fast'", "step:load"),
        ("print(os.environ['MODE'])", "step:show"),
    )

    def check(self, subject: Reading) -> Iterable[Finding]:
        """Settings of modules, environment variables and search paths set in a step."""
        order = list(subject.code.values())
        for index, step in enumerate(order):
            for what, (cell, line) in step.names.modules.items():
                root = what.partition(".")[0]
                later = [s.name for s in order[index + 1 :] if root in s.names.reads]
                if later:
                    told = f"`{what}` is changed in this step, and step {later[0]} uses `{root}`"
                    yield self.found(Place(subject.notebook.name, cell, step.name), told, line=line)


def _same(alias: Mapping[str, frozenset[str]], name: str) -> set[str]:
    found, todo = set[str](), [name]
    while todo:
        one = todo.pop()
        if one not in found:
            found.add(one)
            todo += [*alias.get(one, ()), *(n for n, roots in alias.items() if one in roots)]
    return found


def _works_on(name: str, step: StepCode, before: int) -> bool:
    """Whether a cell of the step above that cell number reads the name or gives it a value."""
    for names in (u.names for u in step.units if u.cell < before):
        later = {n for what in names.definitions.values() for n in what.reads}
        if name in names.gives or name in {*names.reads, *names.maybe_reads, *names.through} - later:
            return True
    return False


def _reads_apart(
    subject: Reading, later: Sequence[StepCode], earlier: Sequence[StepCode], name: str, other: str
) -> str | None:
    """The step that takes `other` as it was before the first of `later` changed `name`, its equal."""
    before = {s.name for s in earlier}
    here = subject.flows[later[0].name].inputs
    for step in later:
        flow = subject.flows[step.name]
        carried = any(other in u.names.makes | u.names.may_make for u in flow.carried)
        old = flow.inputs.get(other) in before or (carried and other not in flow.inputs)
        # In the step that changes it, two names from shared cells are still one object.
        if old and (step is not later[0] or name in here or other in flow.inputs):
            return step.name
    return None


RULES: tuple[type[Rule[Reading]], ...] = (SharedWork, OneValueTwoNames, LatePart, ParallelChange, ModuleChange)
