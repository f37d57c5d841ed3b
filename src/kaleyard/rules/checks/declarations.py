"""Rules about parameters and metrics."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from kaleyard.analysis.effects.mutation import bound_names
from kaleyard.analysis.notebook_analysis import NotebookAnalysis
from kaleyard.analysis.step_code import StepCode
from kaleyard.errors import Location
from kaleyard.rules.findings import Finding, Rule

__all__ = ["RULES"]


class NonLiteralParameter(Rule[NotebookAnalysis]):
    """Write one `NAME = literal` per line; compute derived values in a step."""

    code = "KY301"
    title = "parameter without a literal default"
    why = "The default decides the parameter's type, and it must be known without running any code."
    example = (("SEED = 6 * 7", "pipeline-parameters"), ("print(1)", "step:show"))

    def check(self, subject: NotebookAnalysis) -> Iterable[Finding]:
        """Lines of parameter cells that are not `NAME = literal`."""
        for problem in subject.parameters.problems:
            yield self.finding(Location(subject.notebook.name, problem.cell), problem.what, line=problem.line)


class UndefinedMetric(Rule[NotebookAnalysis]):
    """Write one `print(name)` per line, with the name of a number that a step computes."""

    code = "KY302"
    title = "metric that no step defines"
    why = "A metric is the value of a variable at the end of the step that defines it."
    example = (("score = 0.5", "step:test"), ("print(scroe)", "pipeline-metrics"))

    def check(self, subject: NotebookAnalysis) -> Iterable[Finding]:
        """Lines of metrics cells that are not `print(name)` with a value of a step."""
        for problem in subject.metrics.problems:
            yield self.finding(Location(subject.notebook.name, problem.cell), problem.what, line=problem.line)
        defined = {m for s in subject.steps for m in s.metrics}
        for name, cell in subject.metrics.metrics.items():
            if name not in defined:
                yield self.finding(Location(subject.notebook.name, cell), f"no step defines the metric `{name}`")


class ReassignedParameter(Rule[NotebookAnalysis]):
    """Give the new value a name of its own."""

    code = "KY303"
    title = "parameter modified in a step"
    why = "A run with another value of the parameter would report that value, and use this one."
    severity = "warning"
    example = (("SEED = 42", "pipeline-parameters"), ("SEED = 7\nprint(SEED)", "step:show"))

    def check(self, subject: NotebookAnalysis) -> Iterable[Finding]:
        """Parameters that a step or a shared cell assigns or changes."""
        names = {p.name for p in subject.parameters.parameters}
        for step in subject.code.values():
            for name in sorted(names & step.names.gives):
                cell, line = step.names.sites.get(name) or step.names.changes.get(name) or (0, 1)
                location = Location(subject.notebook.name, cell or None, step.name)
                yield self.finding(location, f"the parameter `{name}` is modified", line=line)
        shared = next((s.shared for s in subject.code.values()), ())
        for fragment in shared:
            for name in sorted(names & fragment.names.gives):
                location = Location(subject.notebook.name, fragment.cell)
                yield self.finding(location, f"the parameter `{name}` is modified", line=fragment.line)


class MetricNotNumber(Rule[NotebookAnalysis]):
    """Print one number: `print(score)` where `score = float(...)`."""

    code = "KY304"
    title = "metric that is not a number"
    why = "Metrics are compared between runs, and stored on a cluster, as numbers."
    example = (("scores = [0.5, 0.6]", "step:test"), ("print(scores)", "pipeline-metrics"))

    def check(self, subject: NotebookAnalysis) -> Iterable[Finding]:
        """Metrics whose last value is a literal string, list or the like."""
        for step in subject.steps:
            for name in step.metrics:
                value = _last_value(subject.code[step.name], name)
                kind = _KINDS.get(type(value)) if value is not None else None
                if isinstance(value, ast.Constant) and not isinstance(value.value, (bool, int, float)):
                    kind = "None" if value.value is None else f"a {type(value.value).__name__}"
                if kind and value is not None:
                    location = Location(subject.notebook.name, subject.metrics.metrics[name], step.name)
                    yield self.finding(location, f"the metric `{name}` is {kind}, not a number")


_KINDS: dict[type[ast.expr], str] = {
    ast.List: "a list",
    ast.ListComp: "a list",
    ast.Tuple: "a tuple",
    ast.Dict: "a dict",
    ast.DictComp: "a dict",
    ast.Set: "a set",
    ast.SetComp: "a set",
    ast.GeneratorExp: "a generator",
    ast.JoinedStr: "a str",
    ast.Lambda: "a function",
}


def _last_value(step: StepCode, name: str) -> ast.expr | None:
    """The expression that the step assigns to the name last, if that is a plain top-level assignment."""
    fragment = next((u for u in reversed(step.units) if name in u.names.makes | u.names.may_make), None)
    node = fragment.nodes[-1] if fragment else None
    if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and name in bound_names(t) for t in node.targets):
        return node.value
    return None


RULES: tuple[type[Rule[NotebookAnalysis]], ...] = (
    NonLiteralParameter,
    UndefinedMetric,
    ReassignedParameter,
    MetricNotNumber,
)
