"""Rules about tags and the steps they define."""

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
    """Fix the cell, or tag it `skip` if it is not part of the pipeline."""

    code = "KY100"
    title = "unreadable cell"
    why = "A cell that cannot be parsed has no known inputs or outputs, so the notebook cannot become a pipeline."
    example = (("total = = 1", "step:sum"),)

    def check(self, subject: Notebook) -> Iterable[Finding]:
        """Nothing: `check` reports this finding when it catches an error while reading."""
        del subject
        return ()


class UnknownTag(Rule[Notebook]):
    """Use the suggested tag; tags of other tools are ignored unless they resemble one of Kaleyard's."""

    code = "KY101"
    title = "misspelled tag"
    why = "Kaleyard would ignore the misspelled tag and run the cell as part of another step, or not at all."
    example = (("total = 1", "Step:sum"), ("print(1)", "step:sum"))

    def check(self, subject: Notebook) -> Iterable[Finding]:
        """Misspelled tags, each with a suggestion."""
        for cell in subject.code_cells:
            for tag in cell.tags:
                tag_problem = problem(tag)
                if tag_problem:
                    location = Location(subject.name, cell.number)
                    yield self.finding(location, tag_problem.what, advice=f"Did you mean `{tag_problem.meant}`?")


class MissingPrevious(Rule[Notebook]):
    """Name a step above; `prev:` is only needed where the order matters and no value is passed."""

    code = "KY102"
    title = "`prev:` to a missing or later step"
    why = "Steps run in the order of the notebook, so a step cannot wait for one that is missing or below it."
    example = (("print(1)", "step:load"), ("print(2)", "step:train prev:laod"))

    def check(self, subject: Notebook) -> Iterable[Finding]:
        """`prev:` tags whose step is not above the cell."""
        steps = _step_cells(subject)
        for cell in subject.code_cells:
            tags = kale_tags(cell)
            own = next((t[5:] for t in tags if t.startswith("step:")), None)
            if own is None and any(problem(tag) for tag in cell.tags):
                continue  # KY101 reports the misspelled tag, which may be the step's
            for previous in (t[5:] for t in tags if t.startswith("prev:")):
                location = Location(subject.name, cell.number, own)
                if own is None:
                    yield self.finding(
                        location, f"`prev:{previous}` on a cell without a step", advice="Add a `step:` tag."
                    )
                elif previous == own:
                    yield self.finding(location, f"step {own} cannot depend on itself", advice="Remove the tag.")
                elif previous not in steps:
                    near = difflib.get_close_matches(previous, steps, n=1)
                    advice = f"Did you mean `prev:{near[0]}`?" if near else f"The steps are: {', '.join(steps)}."
                    yield self.finding(location, f"`prev:{previous}`: there is no step {previous}", advice=advice)
                elif steps[previous] > cell.number:
                    yield self.finding(
                        location, f"`prev:{previous}`: step {previous} comes later, in cell {steps[previous]}"
                    )


class SeveralRoles(Rule[Notebook]):
    """Give each cell one step; split the cell if two steps need parts of it."""

    code = "KY103"
    title = "cell with several roles"
    why = "A cell is either shared or part of one step; with several roles it is unclear which step runs it."
    example = (("print(1)", "step:load step:train"),)

    def check(self, subject: Notebook) -> Iterable[Finding]:
        """Cells whose tags give them more than one role."""
        for cell in subject.code_cells:
            tags = kale_tags(cell)
            roles = [t for t in tags if ":" not in t or t.startswith(("step:", "notebook:"))]
            if len(roles) > 1:
                words = " and ".join(f"`{r}`" for r in roles)
                yield self.finding(Location(subject.name, cell.number), f"this cell is tagged {words}")


class ReservedStep(Rule[Notebook]):
    """Rename the step."""

    code = "KY104"
    title = "reserved or duplicate step name"
    why = (
        "Names with Kaleyard's prefix are its own, and two names that differ only in underscores are one name on a "
        "cluster."
    )
    example = (("print(1)", "step:kaleyard_notebook"),)

    def check(self, subject: Notebook) -> Iterable[Finding]:
        """Names with Kaleyard's prefix, and names that are the same name on a cluster."""
        taken: dict[str, str] = {}
        for cell in subject.code_cells:
            for tag in kale_tags(cell):
                word, _, name = tag.partition(":")
                if word not in ("step", "notebook"):
                    continue
                location = Location(subject.name, cell.number, name)
                if name.startswith(RESERVED):
                    yield self.finding(location, f"the name `{name}` starts with `{RESERVED}`")
                # On a cluster, dashes replace the underscores of a name, and are stripped from its ends.
                cluster_name = "-".join(part for part in name.split("_") if part)
                first_tag = taken.setdefault(cluster_name, tag)
                if first_tag != tag:
                    yield self.finding(location, f"`{tag}` and `{first_tag}` have the same name on a cluster")


class SplitStep(Rule[Notebook]):
    """Move the cells of the step together, or give the later cells a step name of their own."""

    code = "KY105"
    title = "separated cells of a step"
    why = "All cells of a step run together, where its first cell is, so its later cells run before the steps between."
    severity = "warning"
    example = (("a = 1", "step:load"), ("b = 2", "step:other"), ("c = a", "step:load"))

    def check(self, subject: Notebook) -> Iterable[Finding]:
        """Step tags that are repeated after another step has begun."""
        seen: set[str] = set()
        current = ""
        for cell in subject.code_cells:
            name = next((t for t in kale_tags(cell) if t.startswith(("step:", "notebook:"))), current)
            if name != current and name in seen:
                step = name.partition(":")[2]
                message = f"step {step} comes back after step {current.partition(':')[2]}"
                yield self.finding(Location(subject.name, cell.number, step), message)
            seen.add(name)
            current = name


class LabelForTag(Rule[Notebook]):
    """Use the `network:` tag instead of the label."""

    code = "KY106"
    title = "label instead of its tag"
    why = "The tag sets this label, and two ways to say the same thing can contradict each other."
    severity = "warning"
    example = (("print(1)", "step:load label:kaleyard/network:on"),)

    def check(self, subject: Notebook) -> Iterable[Finding]:
        """The label `kaleyard/network`, which `network:` sets."""
        for cell in subject.code_cells:
            for tag in cell.tags:
                word, _, value = tag.rpartition(":")
                if word == f"label:{NETWORK_LABEL}":
                    message = f"`{tag}` has a tag of its own"
                    yield self.finding(Location(subject.name, cell.number), message, advice=f"Write `network:{value}`.")


def _step_cells(notebook: Notebook) -> dict[str, int]:
    """The first cell of every step and composed notebook, by name."""
    cells: dict[str, int] = {}
    for cell in notebook.code_cells:
        for tag in kale_tags(cell):
            word, _, name = tag.partition(":")
            if word in ("step", "notebook"):
                cells.setdefault(name, cell.number)
    return cells


RULES: tuple[type[Rule[Notebook]], ...] = (
    UnreadableCell,
    UnknownTag,
    MissingPrevious,
    SeveralRoles,
    ReservedStep,
    SplitStep,
    LabelForTag,
)
