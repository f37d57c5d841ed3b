"""Rules about one value in several places: changed in place by parallel steps, or by cells of all steps."""

from __future__ import annotations

from collections.abc import Iterable

from kaleyard.analysis.notebook_analysis import NotebookAnalysis
from kaleyard.analysis.step_code import StepCode
from kaleyard.errors import Location
from kaleyard.rules.findings import Finding, Rule

__all__ = ["RULES"]


class SharedWork(Rule[NotebookAnalysis]):
    """Tag the cell as part of a step; cells tagged `imports` or `functions` go with steps, before their own code."""

    code = "KY206"
    title = "shared cell that works on a step's value"
    example = (("rows = [1]", "step:load"), ("rows.append(2)", "functions"), ("print(rows)", "step:show"))

    def check(self, subject: NotebookAnalysis) -> Iterable[Finding]:
        """Statements of shared cells that read or change what a step above made."""
        steps = list(subject.code.values())
        for unit in steps[0].shared if steps else ():
            if unit.is_definition:
                continue
            for name in sorted({*unit.names.reads, *unit.names.through, *unit.names.gives}):
                maker = next((s for s in steps if min(s.cells) < unit.cell and name in s.names.gives), None)
                if maker is not None:
                    place = Location(subject.notebook.name, unit.cell)
                    yield self.found(place, f"it works on `{name}`, which step {maker.name} makes", line=unit.line)
                    break


class LatePart(Rule[NotebookAnalysis]):
    """Give the later part of the step a name of its own (`step:...`), so that it runs where it stands."""

    code = "KY208"
    title = "step whose later part gives a value to steps before it"
    example = (
        ("a = 1", "step:load"),
        ("print(a)", "step:show"),
        ("# kaleyard: disable=KY105\na = 2", "step:load"),
    )

    def check(self, subject: NotebookAnalysis) -> Iterable[Finding]:
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
                        yield self.found(Location(subject.notebook.name, late, step.name), what)
                        break


class ParallelChange(Rule[NotebookAnalysis]):
    """Work on a copy, or say with `prev:` that one step comes after the other."""

    code = "KY209"
    title = "value changed in place that a parallel step also uses"
    severity = "warning"
    example = (
        ("rows = [1]", "step:load"),
        ("rows.append(2)", "step:grow"),
        ("print(rows)", "step:show prev:load"),
    )

    def check(self, subject: NotebookAnalysis) -> Iterable[Finding]:
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
                    yield self.found(Location(subject.notebook.name, cell, step.name), what, line=line)


class ModuleChange(Rule[NotebookAnalysis]):
    """Make it a statement of its own, outside of other code: it then runs in each later step that uses the module."""

    code = "KY210"
    title = "module changed in a step, and used in a later one"
    severity = "warning"
    example = (
        ("import os", "imports"),
        ("with open('log.txt', 'w'):\n    os.environ['MODE'] = 'fast'", "step:load"),
        ("print(os.environ['MODE'])", "step:show"),
    )

    def check(self, subject: NotebookAnalysis) -> Iterable[Finding]:
        """Settings of modules, environment variables and search paths set in a step."""
        order = list(subject.code.values())
        for index, step in enumerate(order):
            for what, (cell, line) in step.names.modules.items():
                root = what.partition(".")[0]
                unit = step.unit_at(cell, line)
                without = [s for s in order[index + 1 :] if all(u is not unit for u in subject.flows[s.name].carried)]
                later = [s.name for s in without if root in s.names.reads]
                if later:
                    told = f"`{what}` is changed in this step, and step {later[0]} uses `{root}`"
                    yield self.found(Location(subject.notebook.name, cell, step.name), told, line=line)


def _works_on(name: str, step: StepCode, before: int) -> bool:
    """Whether a cell of the step above that cell number reads the name or gives it a value."""
    for names in (u.names for u in step.units if u.cell < before):
        later = {n for what in names.definitions.values() for n in what.reads}
        if name in names.gives or name in {*names.reads, *names.maybe_reads, *names.through} - later:
            return True
    return False


RULES: tuple[type[Rule[NotebookAnalysis]], ...] = (SharedWork, LatePart, ParallelChange, ModuleChange)
