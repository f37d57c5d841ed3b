"""Rules about what is declared: parameters and metrics."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from kaleyard.analysis.effects.mutation import bound_names
from kaleyard.analysis.notebook_analysis import NotebookAnalysis
from kaleyard.analysis.step_code import StepCode
from kaleyard.errors import Location
from kaleyard.rules.findings import Finding, Rule

__all__ = ["RULES"]


class BadParameter(Rule[NotebookAnalysis]):
    """Write one `NAME = literal` a line; compute derived values in a step."""

    code = "KY301"
    title = "parameter that is not a plain literal"
    example = (("SEED = 6 * 7", "pipeline-parameters"), ("print(1)", "step:show"))

    def check(self, subject: NotebookAnalysis) -> Iterable[Finding]:
        """Lines of parameter cells that declare no typed default."""
        for one in subject.parameters.problems:
            yield self.found(Location(subject.notebook.name, one.cell), one.what, line=one.line)


class BadMetric(Rule[NotebookAnalysis]):
    """Write one `print(name)` a line, with the name of a number that a step makes."""

    code = "KY302"
    title = "metric that is not made"
    example = (("score = 0.5", "step:test"), ("print(scroe)", "pipeline-metrics"))

    def check(self, subject: NotebookAnalysis) -> Iterable[Finding]:
        """Lines of metrics cells that name no value of a step."""
        for one in subject.metrics.problems:
            yield self.found(Location(subject.notebook.name, one.cell), one.what, line=one.line)
        made = {m for s in subject.steps for m in s.metrics}
        for name, cell in subject.metrics.metrics.items():
            if name not in made:
                yield self.found(Location(subject.notebook.name, cell), f"no step makes the metric `{name}`")


class ReassignedParameter(Rule[NotebookAnalysis]):
    """Give the new value a name of its own: a run that is told another value of the parameter looks as if it had it."""

    code = "KY303"
    title = "parameter that a step sets anew"
    severity = "warning"
    example = (("SEED = 42", "pipeline-parameters"), ("SEED = 7\nprint(SEED)", "step:show"))

    def check(self, subject: NotebookAnalysis) -> Iterable[Finding]:
        """Parameters that a step or a shared cell binds or changes."""
        names = {p.name for p in subject.parameters.parameters}
        for step in subject.code.values():
            for name in sorted(names & step.names.gives):
                cell, line = step.names.sites.get(name) or step.names.changes.get(name) or (0, 1)
                place = Location(subject.notebook.name, cell or None, step.name)
                yield self.found(place, f"the parameter `{name}` gets another value", line=line)
        shared = next((s.shared for s in subject.code.values()), ())
        for unit in shared:
            for name in sorted(names & unit.names.gives):
                place = Location(subject.notebook.name, unit.cell)
                yield self.found(place, f"the parameter `{name}` gets another value", line=unit.line)


class NoScalar(Rule[NotebookAnalysis]):
    """Print one number: `print(score)` where `score = float(...)`."""

    code = "KY304"
    title = "metric that is no number"
    example = (("scores = [0.5, 0.6]", "step:test"), ("print(scores)", "pipeline-metrics"))

    def check(self, subject: NotebookAnalysis) -> Iterable[Finding]:
        """Metrics whose last value is written out as a text, a list or the like."""
        for step in subject.steps:
            for name in step.metrics:
                value = _last_value(subject.code[step.name], name)
                kind = _KINDS.get(type(value)) if value is not None else None
                if isinstance(value, ast.Constant) and not isinstance(value.value, (bool, int, float)):
                    kind = "None" if value.value is None else f"a {type(value.value).__name__}"
                if kind and value is not None:
                    place = Location(subject.notebook.name, subject.metrics.metrics[name], step.name)
                    yield self.found(place, f"the metric `{name}` is {kind}, not a number")


_KINDS: dict[type[ast.expr], str] = {
    ast.List: "a list",
    ast.ListComp: "a list",
    ast.Tuple: "a tuple",
    ast.Dict: "a dict",
    ast.DictComp: "a dict",
    ast.Set: "a set",
    ast.SetComp: "a set",
    ast.GeneratorExp: "a generator",
    ast.JoinedStr: "a text",
    ast.Lambda: "a function",
}


def _last_value(step: StepCode, name: str) -> ast.expr | None:
    """What the step assigns to the name last, where that is one plain assignment at the top level."""
    unit = next((u for u in reversed(step.units) if name in u.names.makes | u.names.may_make), None)
    node = unit.nodes[-1] if unit else None
    if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and name in bound_names(t) for t in node.targets):
        return node.value
    return None


RULES: tuple[type[Rule[NotebookAnalysis]], ...] = (BadParameter, BadMetric, ReassignedParameter, NoScalar)
