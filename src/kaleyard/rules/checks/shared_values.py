"""Rules about values that several steps share: a step may not change a value that another step also uses."""

from __future__ import annotations

from collections.abc import Iterable

from kaleyard.analysis.notebook_analysis import NotebookAnalysis
from kaleyard.analysis.step_code import StepCode
from kaleyard.errors import Location
from kaleyard.rules.findings import Finding, Rule

__all__ = ["RULES"]


class SharedCellUsesValue(Rule[NotebookAnalysis]):
    """Make the cell part of a step; cells tagged `imports` or `functions` run before a step's own code."""

    code = "KY206"
    title = "shared cell that uses a step's value"
    why = "Shared cells run again in each step, where they would see the value too early or change it several times."
    example = (("rows = [1]", "step:load"), ("rows.append(2)", "functions"), ("print(rows)", "step:show"))

    def check(self, subject: NotebookAnalysis) -> Iterable[Finding]:
        """Statements of shared cells that read or change a value of a step above."""
        steps = list(subject.code.values())
        for fragment in steps[0].shared if steps else ():
            if fragment.is_definition:
                continue
            for name in sorted({*fragment.names.reads, *fragment.names.through, *fragment.names.gives}):
                definer = next((s for s in steps if min(s.cells) < fragment.cell and name in s.names.gives), None)
                if definer is not None:
                    location = Location(subject.notebook.name, fragment.cell)
                    yield self.finding(
                        location, f"this cell uses `{name}`, which step {definer.name} defines", line=fragment.line
                    )
                    break


class RedefinedBelowUse(Rule[NotebookAnalysis]):
    """Give the later cells a step name of their own (`step:...`), so that they run in the notebook's order."""

    code = "KY208"
    title = "value redefined below a step that uses it"
    why = (
        "All cells of a step run together, where its first cell is, so the new value would reach the steps between "
        "too early."
    )
    example = (
        ("a = 1", "step:load"),
        ("print(a)", "step:show"),
        ("# kaleyard: disable=KY105\na = 2", "step:load"),
    )

    def check(self, subject: NotebookAnalysis) -> Iterable[Finding]:
        """Names that a step redefines below the cells of a step that uses or defines them."""
        steps = [s for s in subject.code.values() if s.cells]
        for step in steps:
            between = [s for s in steps if s is not step and step.cells[0] < s.cells[0] < step.cells[-1]]
            for name in sorted(step.names.gives) if between else ():
                redefined_in = step.given_in(name)
                for user in between:
                    uses = subject.flows[user.name].inputs.get(name) == step.name or name in user.names.gives
                    if uses and _works_on(name, user, redefined_in):
                        message = f"`{name}` is redefined here, below step {user.name}, which uses or defines it"
                        yield self.finding(Location(subject.notebook.name, redefined_in, step.name), message)
                        break


class ParallelChange(Rule[NotebookAnalysis]):
    """Change a copy, or use `prev:` to run one step after the other."""

    code = "KY209"
    title = "value changed in place while a parallel step uses it"
    why = (
        "Each step has its own copy of the value, so the other step does not see the change as it does in the notebook."
    )
    severity = "warning"
    example = (
        ("rows = [1]", "step:load"),
        ("rows.append(2)", "step:grow"),
        ("print(rows)", "step:show prev:load"),
    )

    def check(self, subject: NotebookAnalysis) -> Iterable[Finding]:
        """Values that a step changes, while a later step takes them as they were before."""
        order = list(subject.code.values())
        for index, step in enumerate(order):
            inputs = subject.flows[step.name].inputs
            for name, (cell, line) in sorted(step.names.changes.items()):
                if name not in inputs or name in step.names.makes:
                    continue
                users = [s.name for s in order[index + 1 :] if subject.flows[s.name].inputs.get(name) == inputs[name]]
                if users:
                    message = (
                        f"`{name}` is changed in place, but step {users[0]} uses it as step {inputs[name]} left it"
                    )
                    yield self.finding(Location(subject.notebook.name, cell, step.name), message, line=line)


class ModuleChange(Rule[NotebookAnalysis]):
    """Make it a separate top-level statement: it then runs again in each later step that uses the module."""

    code = "KY210"
    title = "module changed in one step and used in another"
    why = "The state of a module belongs to one process, and each step is a process of its own."
    severity = "warning"
    example = (
        ("import os", "imports"),
        ("with open('log.txt', 'w'):\n    os.environ['MODE'] = 'fast'", "step:load"),
        ("print(os.environ['MODE'])", "step:show"),
    )

    def check(self, subject: NotebookAnalysis) -> Iterable[Finding]:
        """Settings of modules, environment variables and search paths that are set in a step."""
        order = list(subject.code.values())
        for index, step in enumerate(order):
            for setting, (cell, line) in step.names.modules.items():
                root = setting.partition(".")[0]
                fragment = step.unit_at(cell, line)
                without = [
                    s for s in order[index + 1 :] if all(u is not fragment for u in subject.flows[s.name].carried)
                ]
                later = [s.name for s in without if root in s.names.reads]
                if later:
                    message = f"`{setting}` is changed in this step only, but step {later[0]} uses `{root}`"
                    yield self.finding(Location(subject.notebook.name, cell, step.name), message, line=line)


def _works_on(name: str, step: StepCode, before: int) -> bool:
    """Whether a cell of the step above cell number `before` reads or defines the name."""
    for names in (u.names for u in step.units if u.cell < before):
        later = {n for effects in names.definitions.values() for n in effects.reads}
        if name in names.gives or name in {*names.reads, *names.maybe_reads, *names.through} - later:
            return True
    return False


RULES: tuple[type[Rule[NotebookAnalysis]], ...] = (SharedCellUsesValue, RedefinedBelowUse, ParallelChange, ModuleChange)
