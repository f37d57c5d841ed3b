"""Rules about undefined, ambiguous and reserved names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import replace

from kaleyard.analysis.notebook_analysis import NotebookAnalysis
from kaleyard.analysis.step_code import Missing
from kaleyard.errors import Location
from kaleyard.rules.findings import Finding, Rule
from kaleyard.runtime.contract import RANDOM_STATE, RESERVED

__all__ = ["RULES"]

_DELETED = "Remove the `del`, or define `{name}` again before this cell."


class UndefinedName(Rule[NotebookAnalysis]):
    """Define it in an earlier step, or in a cell tagged `imports`, `functions` or `pipeline-parameters`."""

    code = "KY201"
    title = "undefined name"
    why = "Each step runs in a process of its own, where the use of an undefined name raises `NameError`."
    example = (("total = 1", "step:sum"), ("print(totl)", "step:show"))

    def check(self, subject: NotebookAnalysis) -> Iterable[Finding]:
        """Names that no step, import, function or parameter defines, and names that an earlier step deletes."""
        for flow in subject.flows.values():
            for missing in flow.missing:
                cell, line = missing.site
                location = Location(subject.notebook.name, cell or None, missing.step)
                if missing.deleted:
                    message = f"`{missing.name}` is deleted by step {missing.deleted} and not defined again"
                    yield self.finding(location, message, advice=_DELETED.format(name=missing.name), line=line)
                elif not _defined_later(missing, subject):
                    near = difflib.get_close_matches(missing.name, sorted(_all_names(subject)), n=1, cutoff=0.75)
                    advice = self._advice(missing.name, subject)
                    advice = f"Did you mean `{near[0]}`? {self.advice()}" if near else advice
                    finding = self.finding(location, f"undefined name `{missing.name}`", advice=advice, line=line)
                    # It is read in a branch that may not run.
                    yield replace(finding, severity="warning") if missing.loose else finding

    def _advice(self, name: str, subject: NotebookAnalysis) -> str:
        skipped = [c.number for c in subject.notebook.code_cells if "skip" in c.tags and f"{name} =" in c.source]
        if skipped:
            return f"Cell {skipped[0]} defines it but is tagged `skip`. {self.advice()}"
        return self.advice()


class LaterDefinition(Rule[NotebookAnalysis]):
    """Move the cells so that the name is defined above its use; all cells of a step run where its first cell is."""

    code = "KY202"
    title = "name defined only by a later step"
    why = "Steps run in the order of the notebook: the value does not exist yet, or two steps wait for each other."
    example = (("print(total)", "step:show"), ("total = 1", "step:sum"))

    def check(self, subject: NotebookAnalysis) -> Iterable[Finding]:
        """Names that only a later step defines, with a note if that step depends on this one.

        A name that only a function reads is not needed until the function is called.
        """
        for flow in subject.flows.values():
            for missing in flow.missing:
                cell, line = missing.site
                later = _defined_later(missing, subject)
                if not later or missing.lazy or missing.deleted:
                    continue
                location = Location(subject.notebook.name, cell or None, missing.step)
                if missing.step in _ancestors(subject, later[0]):
                    both = f"steps {missing.step} and {later[0]} depend on each other"
                    message = f"{both}: `{missing.name}` is defined by {later[0]}"
                else:
                    message = f"`{missing.name}` is defined by step {later[0]}, which comes later"
                yield self.finding(location, message, line=line)


class AmbiguousName(Rule[NotebookAnalysis]):
    """Name only the intended step with `prev:`, or give the values different names."""

    code = "KY203"
    title = "ambiguous name"
    why = "The steps run in parallel, so it is undefined which of their values this step would get."
    example = (
        ("model = 1", "step:linear"),
        ("model = 2", "step:forest"),
        ("print(model)", "step:show prev:linear prev:forest"),
    )

    def check(self, subject: NotebookAnalysis) -> Iterable[Finding]:
        """Names that several of the steps in `prev:` define, none of which runs after all the others."""
        for flow in subject.flows.values():
            for ambiguous in flow.ambiguous:
                message = f"`{ambiguous.name}` is defined by steps {' and '.join(ambiguous.makers)}"
                location = Location(subject.notebook.name, ambiguous.site[0] or None, ambiguous.step)
                yield self.finding(location, message, line=ambiguous.site[1])


class ReservedName(Rule[NotebookAnalysis]):
    """Rename the variable."""

    code = "KY204"
    title = "reserved variable name"
    why = "Step notebooks use names with this prefix, and a variable of that name could overwrite one of theirs."
    example = (("kaleyard_x = 1", "step:make"), ("print(kaleyard_x)", "step:show"))

    def check(self, subject: NotebookAnalysis) -> Iterable[Finding]:
        """Values and parameters whose names start with Kaleyard's prefix."""
        names = {(n, s.name) for s in subject.steps for n in (*s.outputs, *s.metrics)}
        names |= {(p.name, "") for p in subject.pipeline.parameters}
        for name, step in sorted(names):
            if name != RANDOM_STATE and name.startswith((RESERVED, f"_{RESERVED}")):
                location = Location(subject.notebook.name, step=step or None)
                yield self.finding(location, f"`{name}` starts with `{RESERVED}`")


class ConflictingValues(Rule[NotebookAnalysis]):
    """Give the two values different names, or define the function in the step that uses it."""

    code = "KY205"
    title = "name with two values in one step"
    why = "Code that runs again in this step saw another value of this name than the step's own cells use."
    example = (("k = 1\ndef f(x=k): return x\nk = 2", "step:make"), ("print(f())", "step:show"))

    def check(self, subject: NotebookAnalysis) -> Iterable[Finding]:
        """Names with another value for code that runs again in the step than for its own cells."""
        for flow in subject.flows.values():
            for conflict in flow.conflicts:
                location = Location(subject.notebook.name, conflict.site[0] or None, conflict.step)
                yield self.finding(location, f"`{conflict.name}`: {conflict.what}", line=conflict.site[1])


class EarlierDefinition(Rule[NotebookAnalysis]):
    """Name the other step with `prev:` to use its value; otherwise give the two values different names."""

    code = "KY211"
    title = "`prev:` selects an earlier definition"
    why = "The step gets another value here than when the notebook runs from top to bottom."
    severity = "warning"
    example = (("model = 1", "step:linear"), ("model = 2", "step:forest"), ("print(model)", "step:show prev:linear"))

    def check(self, subject: NotebookAnalysis) -> Iterable[Finding]:
        """Names that a parallel step redefines below the step they are taken from."""
        for flow in subject.flows.values():
            for ambiguous in flow.picked:
                selected, last = ambiguous.makers
                message = (
                    f"`{ambiguous.name}` is defined by steps {selected} and {last}, and `prev:` selects that of "
                    f"{selected}; run from top to bottom, the notebook uses that of {last}"
                )
                location = Location(subject.notebook.name, ambiguous.site[0] or None, ambiguous.step)
                yield self.finding(location, message, line=ambiguous.site[1])


def _defined_later(missing: Missing, subject: NotebookAnalysis) -> list[str]:
    """The other steps that define a name that is missing in this one."""
    return [s.name for s in subject.code.values() if missing.name in s.names.gives and s.name != missing.step]


def _ancestors(subject: NotebookAnalysis, step: str) -> set[str]:
    ancestors: set[str] = set()
    todo = [step]
    while todo:
        flow = subject.flows.get(todo.pop())
        for upstream in (flow.upstream if flow else set()) - ancestors:
            ancestors.add(upstream)
            todo.append(upstream)
    return ancestors


def _all_names(subject: NotebookAnalysis) -> set[str]:
    names = {n for s in subject.code.values() for n in s.names.gives}
    names |= {n for s in subject.code.values() for u in s.shared for n in u.names.gives}
    return names | {p.name for p in subject.pipeline.parameters}


RULES: tuple[type[Rule[NotebookAnalysis]], ...] = (
    UndefinedName,
    LaterDefinition,
    AmbiguousName,
    ReservedName,
    ConflictingValues,
    EarlierDefinition,
)
