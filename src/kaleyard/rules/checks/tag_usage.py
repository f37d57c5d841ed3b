"""Rules about tags, and the steps they make."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from kaleyard.analysis.notebook_analysis import kale_tags
from kaleyard.errors import Location
from kaleyard.notebook.document import Notebook
from kaleyard.notebook.tags import NETWORK_LABEL, problem
from kaleyard.rules.findings import Finding, Rule
from kaleyard.runtime.contract import RESERVED

__all__ = ["RULES", "UnreadableCell"]


class UnreadableCell(Rule[Notebook]):
    """Mend the cell, or tag it `skip` if it is not part of the pipeline."""

    code = "KY100"
    title = "cell that cannot be read"
    example = (("total = = 1", "step:sum"),)

    def check(self, subject: Notebook) -> Iterable[Finding]:
        """Nothing by itself: `check` makes this finding of an error of reading."""
        del subject
        return ()


class UnknownTag(Rule[Notebook]):
    """Use the tag that was meant; tags of other tools are let through unless they look like one of ours."""

    code = "KY101"
    title = "tag that is nearly one of the language"
    example = (("total = 1", "Step:sum"), ("print(1)", "step:sum"))

    def check(self, subject: Notebook) -> Iterable[Finding]:
        """Tags that are nearly right, with the likely word."""
        for cell in subject.code_cells:
            for tag in cell.tags:
                found = problem(tag)
                if found:
                    place = Location(subject.name, cell.number)
                    yield self.found(place, found.what, advice=f"Did you mean `{found.meant}`?")


class MissingPrevious(Rule[Notebook]):
    """Name a step that stands above; `prev:` is only needed where no value flows but the order matters."""

    code = "KY102"
    title = "`prev:` to a step that is not there, or comes later"
    example = (("print(1)", "step:load"), ("print(2)", "step:train prev:laod"))

    def check(self, subject: Notebook) -> Iterable[Finding]:
        """`prev:` tags whose step does not stand above."""
        steps = _step_cells(subject)
        for cell in subject.code_cells:
            tags = kale_tags(cell)
            own = next((t[5:] for t in tags if t.startswith("step:")), None)
            if own is None and any(problem(tag) for tag in cell.tags):
                continue  # a tag that is nearly right is told already, and may well be the step's
            for other in (t[5:] for t in tags if t.startswith("prev:")):
                place = Location(subject.name, cell.number, own)
                if own is None:
                    yield self.found(place, f"`prev:{other}` on a cell without a step", advice="Add a `step:` tag.")
                elif other == own:
                    yield self.found(place, f"step {own} cannot come before itself", advice="Remove the tag.")
                elif other not in steps:
                    near = difflib.get_close_matches(other, steps, n=1)
                    advice = f"Did you mean `prev:{near[0]}`?" if near else f"There are: {', '.join(steps)}."
                    yield self.found(place, f"`prev:{other}`: there is no step {other}", advice=advice)
                elif steps[other] > cell.number:
                    yield self.found(place, f"`prev:{other}`: step {other} comes later, in cell {steps[other]}")


class SeveralSteps(Rule[Notebook]):
    """Give each cell one step; split the cell if two steps need parts of it."""

    code = "KY103"
    title = "cell with several roles"
    example = (("print(1)", "step:load step:train"),)

    def check(self, subject: Notebook) -> Iterable[Finding]:
        """Cells that are tagged as more than one thing."""
        for cell in subject.code_cells:
            tags = kale_tags(cell)
            roles = [t for t in tags if ":" not in t or t.startswith(("step:", "notebook:"))]
            if len(roles) > 1:
                words = " and ".join(f"`{r}`" for r in roles)
                yield self.found(Location(subject.name, cell.number), f"this cell is tagged {words}")


class ReservedStep(Rule[Notebook]):
    """Rename the step."""

    code = "KY104"
    title = "step name that is taken"
    example = (("print(1)", "step:kaleyard_notebook"),)

    def check(self, subject: Notebook) -> Iterable[Finding]:
        """Names with our prefix, names of a step and a composed notebook, names that are one name on a cluster."""
        taken: dict[str, str] = {}
        for cell in subject.code_cells:
            for tag in kale_tags(cell):
                word, _, name = tag.partition(":")
                if word not in ("step", "notebook"):
                    continue
                place = Location(subject.name, cell.number, name)
                if name.startswith(RESERVED):
                    yield self.found(place, f"the name `{name}` starts with `{RESERVED}`")
                # A cluster knows a step by its name with dashes, and without those at the ends.
                there = "-".join(part for part in name.split("_") if part)
                other = taken.setdefault(there, tag)
                if other != tag:
                    yield self.found(place, f"`{tag}` and `{other}` have the same name on a cluster")


class SplitStep(Rule[Notebook]):
    """Keep the cells of a step together: in the pipeline they run one after the other, before the steps between."""

    code = "KY105"
    title = "step that comes back after another step's cells"
    severity = "warning"
    example = (("a = 1", "step:load"), ("b = 2", "step:other"), ("c = a", "step:load"))

    def check(self, subject: Notebook) -> Iterable[Finding]:
        """Step tags that come again once another step has begun."""
        begun: set[str] = set()
        current = ""
        for cell in subject.code_cells:
            name = next((t for t in kale_tags(cell) if t.startswith(("step:", "notebook:"))), current)
            if name != current and name in begun:
                step = name.partition(":")[2]
                what = f"step {step} comes back after step {current.partition(':')[2]}"
                yield self.found(Location(subject.name, cell.number, step), what)
            begun.add(name)
            current = name


class LabelForTag(Rule[Notebook]):
    """Use the tag: it means the same."""

    code = "KY106"
    title = "label that has a tag of its own"
    severity = "warning"
    example = (("print(1)", "step:load label:kaleyard/network:on"),)

    def check(self, subject: Notebook) -> Iterable[Finding]:
        """The label `kaleyard/network`, which `network:` sets."""
        for cell in subject.code_cells:
            for tag in cell.tags:
                word, _, value = tag.rpartition(":")
                if word == f"label:{NETWORK_LABEL}":
                    what = f"`{tag}` has a tag of its own"
                    yield self.found(Location(subject.name, cell.number), what, advice=f"Write `network:{value}`.")


def _step_cells(notebook: Notebook) -> dict[str, int]:
    """The first cell of every step and composed notebook, by name."""
    found: dict[str, int] = {}
    for cell in notebook.code_cells:
        for tag in kale_tags(cell):
            word, _, name = tag.partition(":")
            if word in ("step", "notebook"):
                found.setdefault(name, cell.number)
    return found


RULES: tuple[type[Rule[Notebook]], ...] = (
    UnreadableCell,
    UnknownTag,
    MissingPrevious,
    SeveralSteps,
    ReservedStep,
    SplitStep,
    LabelForTag,
)
