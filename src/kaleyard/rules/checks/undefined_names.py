"""Rules about names: who makes them, and whether they mean one thing."""

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

_DELETED = "Remove the `del`, or make `{name}` again before this cell."


class MissingName(Rule[NotebookAnalysis]):
    """Make the name in an earlier step, or in a cell tagged `imports`, `functions` or `pipeline-parameters`."""

    code = "KY201"
    title = "name that nothing makes"
    example = (("total = 1", "step:sum"), ("print(totl)", "step:show"))

    def check(self, subject: NotebookAnalysis) -> Iterable[Finding]:
        """Names used that no step, import, function or parameter makes, or that an earlier step has deleted."""
        for flow in subject.flows.values():
            for missing in flow.missing:
                cell, line = missing.site
                place = Location(subject.notebook.name, cell or None, missing.step)
                if missing.deleted:
                    what = f"step {missing.deleted} deletes `{missing.name}`, and no step makes it again"
                    yield self.found(place, what, advice=_DELETED.format(name=missing.name), line=line)
                elif not _made_later(missing, subject):
                    near = difflib.get_close_matches(missing.name, sorted(_all_names(subject)), n=1, cutoff=0.75)
                    advice = self._advice(missing.name, subject)
                    advice = f"Did you mean `{near[0]}`? {self.advice()}" if near else advice
                    found = self.found(place, f"nothing makes the name `{missing.name}`", advice=advice, line=line)
                    # A branch that reads it may never be taken.
                    yield replace(found, severity="warning") if missing.loose else found

    def _advice(self, name: str, subject: NotebookAnalysis) -> str:
        skipped = [c.number for c in subject.notebook.code_cells if "skip" in c.tags and f"{name} =" in c.source]
        if skipped:
            return f"Cell {skipped[0]} makes it but is tagged `skip`. {self.advice()}"
        return self.advice()


class LaterName(Rule[NotebookAnalysis]):
    """Move the cells so that a value is made above its use; a step whose cells stand in two places starts once."""

    code = "KY202"
    title = "name made only by a later step, or a circle of steps"
    example = (("print(total)", "step:show"), ("total = 1", "step:sum"))

    def check(self, subject: NotebookAnalysis) -> Iterable[Finding]:
        """Names that only a later step makes; a circle where that step needs this one.

        A name that only a function reads, when it is called, is not needed before that.
        """
        for flow in subject.flows.values():
            for missing in flow.missing:
                cell, line = missing.site
                later = _made_later(missing, subject)
                if not later or missing.lazy or missing.deleted:
                    continue
                place = Location(subject.notebook.name, cell or None, missing.step)
                if missing.step in _ancestors(subject, later[0]):
                    what = (
                        f"steps {missing.step} and {later[0]} need each other: `{missing.name}` is made by {later[0]}"
                    )
                else:
                    what = f"`{missing.name}` is made by step {later[0]}, which comes later"
                yield self.found(place, what, line=line)


class AmbiguousName(Rule[NotebookAnalysis]):
    """Name only the step that is meant with `prev:`, or give the values different names."""

    code = "KY203"
    title = "name that several steps named by `prev:` make side by side"
    example = (
        ("model = 1", "step:linear"),
        ("model = 2", "step:forest"),
        ("print(model)", "step:show prev:linear prev:forest"),
    )

    def check(self, subject: NotebookAnalysis) -> Iterable[Finding]:
        """Names that several of the steps in `prev:` make, none after all the others."""
        for flow in subject.flows.values():
            for one in flow.ambiguous:
                what = f"`{one.name}` is made by steps {' and '.join(one.makers)}"
                place = Location(subject.notebook.name, one.site[0] or None, one.step)
                yield self.found(place, what, line=one.site[1])


class ReservedName(Rule[NotebookAnalysis]):
    """Rename the variable."""

    code = "KY204"
    title = "name that Kaleyard keeps for itself"
    example = (("kaleyard_x = 1", "step:make"), ("print(kaleyard_x)", "step:show"))

    def check(self, subject: NotebookAnalysis) -> Iterable[Finding]:
        """Values and parameters whose names start with our prefix."""
        names = {(n, s.name) for s in subject.steps for n in (*s.outputs, *s.metrics)}
        names |= {(p.name, "") for p in subject.pipeline.parameters}
        for name, step in sorted(names):
            if name != RANDOM_STATE and name.startswith((RESERVED, f"_{RESERVED}")):
                place = Location(subject.notebook.name, step=step or None)
                yield self.found(place, f"`{name}` starts with `{RESERVED}`")


class TwoMeanings(Rule[NotebookAnalysis]):
    """Give the two values different names, or make the function in the step that uses it."""

    code = "KY205"
    title = "name that means two things in one step"
    example = (("k = 1\ndef f(x=k): return x\nk = 2", "step:make"), ("print(f())", "step:show"))

    def check(self, subject: NotebookAnalysis) -> Iterable[Finding]:
        """Names whose value when carried code ran is not the one that the step uses."""
        for flow in subject.flows.values():
            for one in flow.conflicts:
                place = Location(subject.notebook.name, one.site[0] or None, one.step)
                yield self.found(place, f"`{one.name}`: {one.what}", line=one.site[1])


class PickedName(Rule[NotebookAnalysis]):
    """Name the other step with `prev:` if its value is meant; if not, give the two values different names."""

    code = "KY211"
    title = "name that `prev:` takes from a step that is not its last maker"
    severity = "warning"
    example = (("model = 1", "step:linear"), ("model = 2", "step:forest"), ("print(model)", "step:show prev:linear"))

    def check(self, subject: NotebookAnalysis) -> Iterable[Finding]:
        """Names that a parallel step makes anew below the step they are taken from."""
        for flow in subject.flows.values():
            for one in flow.picked:
                taken, last = one.makers
                what = (
                    f"`{one.name}` is made by steps {taken} and {last}, and `prev:` takes that of {taken}; "
                    f"the notebook run from top to bottom has that of {last} here"
                )
                place = Location(subject.notebook.name, one.site[0] or None, one.step)
                yield self.found(place, what, line=one.site[1])


def _made_later(missing: Missing, subject: NotebookAnalysis) -> list[str]:
    """The other steps that make a name that has no value in this one."""
    return [s.name for s in subject.code.values() if missing.name in s.names.gives and s.name != missing.step]


def _ancestors(reading: NotebookAnalysis, step: str) -> set[str]:
    found: set[str] = set()
    todo = [step]
    while todo:
        flow = reading.flows.get(todo.pop())
        for other in (flow.upstream if flow else set()) - found:
            found.add(other)
            todo.append(other)
    return found


def _all_names(reading: NotebookAnalysis) -> set[str]:
    names = {n for s in reading.code.values() for n in s.names.gives}
    names |= {n for s in reading.code.values() for u in s.shared for n in u.names.gives}
    return names | {p.name for p in reading.pipeline.parameters}


RULES: tuple[type[Rule[NotebookAnalysis]], ...] = (
    MissingName,
    LaterName,
    AmbiguousName,
    ReservedName,
    TwoMeanings,
    PickedName,
)
