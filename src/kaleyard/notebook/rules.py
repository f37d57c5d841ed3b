"""The checks: each a class with a code, a title and its advice; the tables at the end say which there are.

`check` reads a notebook and asks every rule. No kernel starts, nothing is imported from the notebook.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from kaleyard.errors import CheckError, NotebookError, Place
from kaleyard.notebook.findings import Finding, Rule
from kaleyard.notebook.flow import StepCode
from kaleyard.notebook.names import Known
from kaleyard.notebook.paths import trace
from kaleyard.notebook.reader import Reading, kale_tags, read
from kaleyard.notebook.source import Notebook, read_notebook
from kaleyard.notebook.tags import problem
from kaleyard.pipeline import Pipeline
from kaleyard.project import Project
from kaleyard.runtime.contract import RESERVED

__all__ = ["READING_RULES", "TAG_RULES", "check", "load_pipeline"]


class UnreadableCell(Rule[Notebook]):
    """Mend the cell, or tag it `skip` if it is not part of the pipeline."""

    code = "KY100"
    title = "cell that cannot be read"

    def check(self, subject: Notebook) -> Iterable[Finding]:
        """Nothing by itself: `check` makes this finding of an error of reading."""
        del subject
        return ()


class UnknownTag(Rule[Notebook]):
    """Use the tag that was meant; tags of other tools are let through unless they look like one of ours."""

    code = "KY101"
    title = "tag that is nearly one of the language"

    def check(self, subject: Notebook) -> Iterable[Finding]:
        """Tags that are nearly right, with the likely word."""
        for cell in subject.code_cells:
            for tag in cell.tags:
                found = problem(tag)
                if found:
                    place = Place(subject.name, cell.number)
                    yield self.found(place, found.what, advice=f"Did you mean `{found.meant}`?")


class MissingPrevious(Rule[Notebook]):
    """Name a step that stands above; `prev:` is only needed where no value flows but the order matters."""

    code = "KY102"
    title = "`prev:` to a step that is not there, or comes later"

    def check(self, subject: Notebook) -> Iterable[Finding]:
        """`prev:` tags whose step does not stand above."""
        steps = _step_cells(subject)
        for cell in subject.code_cells:
            tags = kale_tags(cell)
            own = next((t[5:] for t in tags if t.startswith("step:")), None)
            for other in (t[5:] for t in tags if t.startswith("prev:")):
                place = Place(subject.name, cell.number, own)
                if own is None:
                    yield self.found(place, f"`prev:{other}` on a cell without a step", advice="Add a `step:` tag.")
                elif other == own:
                    yield self.found(place, f"step {own} cannot come before itself", advice="Remove the tag.")
                elif other not in steps:
                    near = difflib.get_close_matches(other, steps, n=1)
                    advice = f"Did you mean `prev:{near[0]}`?" if near else f"There are: {', '.join(steps) or 'none'}."
                    yield self.found(place, f"`prev:{other}`: there is no step {other}", advice=advice)
                elif steps[other] > cell.number:
                    yield self.found(place, f"`prev:{other}`: step {other} comes later, in cell {steps[other]}")


class SeveralSteps(Rule[Notebook]):
    """Give each cell one step; split the cell if two steps need parts of it."""

    code = "KY103"
    title = "cell with several roles"

    def check(self, subject: Notebook) -> Iterable[Finding]:
        """Cells that are tagged as more than one thing."""
        for cell in subject.code_cells:
            tags = kale_tags(cell)
            roles = [t for t in tags if ":" not in t or t.startswith(("step:", "notebook:"))]
            if len(roles) > 1:
                words = " and ".join(f"`{r}`" for r in roles)
                yield self.found(Place(subject.name, cell.number), f"this cell is tagged {words}")


class MissingName(Rule[Reading]):
    """Make the name in an earlier step, or in a cell tagged `imports`, `functions` or `pipeline-parameters`."""

    code = "KY201"
    title = "name that nothing makes"

    def check(self, subject: Reading) -> Iterable[Finding]:
        """Names used that no step, import, function or parameter makes; later steps that make them are told."""
        for flow in subject.flows.values():
            for missing in flow.missing:
                cell, line = missing.site
                later = [
                    s.name for s in subject.code.values() if missing.name in s.names.gives and s.name != missing.step
                ]
                if later:
                    continue
                place = Place(subject.notebook.name, cell or None, missing.step)
                near = difflib.get_close_matches(missing.name, sorted(_all_names(subject)), n=1, cutoff=0.75)
                advice = f"Did you mean `{near[0]}`? {self.advice()}" if near else self._advice(missing.name, subject)
                yield self.found(place, f"nothing makes the name `{missing.name}`", advice=advice, line=line)

    def _advice(self, name: str, subject: Reading) -> str:
        skipped = [c.number for c in subject.notebook.code_cells if "skip" in c.tags and f"{name} =" in c.source]
        if skipped:
            return f"Cell {skipped[0]} makes it but is tagged `skip`. {self.advice()}"
        return self.advice()


class LaterName(Rule[Reading]):
    """Move the cells so that a value is made above its use; a step whose cells stand in two places starts once."""

    code = "KY202"
    title = "name made only by a later step, or a circle of steps"

    def check(self, subject: Reading) -> Iterable[Finding]:
        """Names that only a later step makes; a circle where that step needs this one."""
        for flow in subject.flows.values():
            for missing in flow.missing:
                cell, line = missing.site
                later = [
                    s.name for s in subject.code.values() if missing.name in s.names.gives and s.name != missing.step
                ]
                if not later:
                    continue
                place = Place(subject.notebook.name, cell or None, missing.step)
                if missing.step in _ancestors(subject, later[0]):
                    what = (
                        f"steps {missing.step} and {later[0]} need each other: `{missing.name}` is made by {later[0]}"
                    )
                else:
                    what = f"`{missing.name}` is made by step {later[0]}, which comes later"
                yield self.found(place, what, line=line)


class AmbiguousName(Rule[Reading]):
    """Say which step is meant with `prev:`, or give the values different names."""

    code = "KY203"
    title = "name made by several earlier steps"

    def check(self, subject: Reading) -> Iterable[Finding]:
        """Names that several steps make, none after all the others."""
        for flow in subject.flows.values():
            for one in flow.ambiguous:
                what = f"`{one.name}` is made by steps {' and '.join(one.makers)}"
                place = Place(subject.notebook.name, one.site[0] or None, one.step)
                yield self.found(place, what, line=one.site[1])


class TwoMeanings(Rule[Reading]):
    """Give the two values different names, or make the function in the step that uses it."""

    code = "KY205"
    title = "name that means two things in one step"

    def check(self, subject: Reading) -> Iterable[Finding]:
        """Names whose value when carried code ran is not the one that the step uses."""
        for flow in subject.flows.values():
            for one in flow.conflicts:
                place = Place(subject.notebook.name, one.site[0] or None, one.step)
                yield self.found(place, f"`{one.name}`: {one.what}", line=one.site[1])


class SharedWork(Rule[Reading]):
    """Tag the cell as part of a step; cells tagged `imports` or `functions` go along with steps, before their own code."""

    code = "KY206"
    title = "shared cell that works on a step's value"

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

    def check(self, subject: Reading) -> Iterable[Finding]:
        """Names that are one object in the notebook, and two once they have travelled."""
        known = Known()
        steps = list(subject.code.values())
        for unit in steps[0].shared if steps else ():
            known = known.then(unit.names)
        for index, step in enumerate(steps):
            for name, (cell, line) in sorted(step.names.changes.items()):
                for other in sorted(_same(known.alias, name) - {name}):
                    reader = _reads_apart(subject, steps[index:], steps[:index], name, other)
                    if reader is not None:
                        what = f"`{name}` is changed in place, and step {reader} uses the same value as `{other}`"
                        yield self.found(Place(subject.notebook.name, cell, step.name), what, line=line)
            known = known.then(trace(((n, m) for n, m in step.trees), known))


def _same(alias: Mapping[str, set[str]], name: str) -> set[str]:
    found, todo = set[str](), [name]
    while todo:
        one = todo.pop()
        if one not in found:
            found.add(one)
            todo += [*alias.get(one, ()), *(n for n, roots in alias.items() if one in roots)]
    return found


def _reads_apart(
    subject: Reading, later: Sequence[StepCode], earlier: Sequence[StepCode], name: str, other: str
) -> str | None:
    """The step that takes `other` as it was before the first of `later` changed `name`, its equal."""
    before = {s.name for s in earlier}
    here = subject.flows[later[0].name].inputs
    for step in later:
        inputs = subject.flows[step.name].inputs
        if inputs.get(other) in before and (step is not later[0] or name in here):
            return step.name
    if name in here and other in later[0].names.gives and other not in here and other not in later[0].names.makes:
        return later[0].name
    return None


class ReservedName(Rule[Reading]):
    """Rename the variable."""

    code = "KY204"
    title = "name that Kaleyard keeps for itself"

    def check(self, subject: Reading) -> Iterable[Finding]:
        """Values and parameters whose names start with our prefix."""
        names = {(n, s.name) for s in subject.pipeline.steps for n in (*s.outputs, *s.metrics)}
        names |= {(p.name, "") for p in subject.pipeline.parameters}
        for name, step in sorted(names):
            if name.startswith((RESERVED, f"_{RESERVED}")):
                place = Place(subject.notebook.name, step=step or None)
                yield self.found(place, f"`{name}` starts with `{RESERVED}`")


class BadParameter(Rule[Reading]):
    """Write one `NAME = literal` a line; compute derived values in a step."""

    code = "KY301"
    title = "parameter that is not a plain literal"

    def check(self, subject: Reading) -> Iterable[Finding]:
        """Lines of parameter cells that declare no typed default."""
        for one in subject.parameters.problems:
            yield self.found(Place(subject.notebook.name, one.cell), one.what, line=one.line)


class BadMetric(Rule[Reading]):
    """Write one `print(name)` a line, with the name of a number that a step makes."""

    code = "KY302"
    title = "metric that is not made"

    def check(self, subject: Reading) -> Iterable[Finding]:
        """Lines of metrics cells that name no value of a step."""
        for one in subject.metrics.problems:
            yield self.found(Place(subject.notebook.name, one.cell), one.what, line=one.line)
        made = {m for s in subject.pipeline.steps for m in s.metrics}
        for name, cell in subject.metrics.metrics.items():
            if name not in made:
                yield self.found(Place(subject.notebook.name, cell), f"no step makes the metric `{name}`")


TAG_RULES: tuple[type[Rule[Notebook]], ...] = (UnreadableCell, UnknownTag, MissingPrevious, SeveralSteps)
READING_RULES: tuple[type[Rule[Reading]], ...] = (
    MissingName,
    LaterName,
    AmbiguousName,
    TwoMeanings,
    SharedWork,
    OneValueTwoNames,
    ReservedName,
    BadParameter,
    BadMetric,
)


def check(path: Path, project: Project) -> tuple[list[Finding], Reading | None]:
    """Every finding in the notebook, in the order of its cells; and its reading, None where tags forbid one.

    Raises NotebookError if the file cannot be read at all.
    """
    notebook = read_notebook(path, project.relative(path))
    found = [f for rule in TAG_RULES for f in rule().check(notebook)]
    reading = None
    if not any(f.severity == "error" for f in found):
        try:
            reading = read(path, project)
        except NotebookError as error:
            if error.place.cell is None:
                raise
            found.append(UnreadableCell().found(error.place, error.what))
        else:
            found += [f for rule in READING_RULES for f in rule().check(reading)]
    return sorted(found, key=lambda f: (f.place.cell or 0, f.line or 0, f.code)), reading


def load_pipeline(path: Path, project: Project) -> Pipeline:
    """The notebook's pipeline, once no rule finds an error; else CheckError with every finding."""
    found, reading = check(path, project)
    errors = [f for f in found if f.severity == "error"]
    if errors or reading is None:
        count = f"{len(errors)} finding{'s' if len(errors) != 1 else ''}"
        lines = "\n".join(str(f) for f in errors)
        raise CheckError(f"{count} in {project.relative(path)}; nothing was started\n{lines}")
    return reading.pipeline


def _step_cells(notebook: Notebook) -> dict[str, int]:
    """The first cell of every step and composed notebook, by name."""
    found: dict[str, int] = {}
    for cell in notebook.code_cells:
        for tag in kale_tags(cell):
            word, _, name = tag.partition(":")
            if word in ("step", "notebook"):
                found.setdefault(name, cell.number)
    return found


def _ancestors(reading: Reading, step: str) -> set[str]:
    found: set[str] = set()
    todo = [step]
    while todo:
        for other in reading.flows[todo.pop()].upstream - found:
            found.add(other)
            todo.append(other)
    return found


def _all_names(reading: Reading) -> set[str]:
    names = {n for s in reading.code.values() for n in s.names.gives}
    names |= {n for s in reading.code.values() for u in s.shared for n in u.names.gives}
    return names | {p.name for p in reading.pipeline.parameters}
