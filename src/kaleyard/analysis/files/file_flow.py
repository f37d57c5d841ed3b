"""Which step's files which later step reads: files travel from step to step as values do.

Paths here start from the project's root; `out/*` stands for all that start with "out/", `*` for any.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from kaleyard.analysis.files.file_paths import PathValues, plain_value
from kaleyard.analysis.files.file_uses import ANY, FileUse, FileUses
from kaleyard.analysis.step_code import StepCode, StepFlow

__all__ = ["StepFiles", "file_flow", "overlap", "rooted"]


@dataclass(slots=True)
class StepFiles:
    """What files a step reads and writes.

    `inputs` are, by earlier step, the paths it takes of what that wrote; `folders` are to be there when it starts;
    `project` are the paths that it reads and no earlier step surely writes; `written` those that it writes, and
    `replaced` those of them that it surely writes anew, whatever was there. `made` are those that it or an earlier
    step writes, `made_folders` the folders it makes.
    """

    inputs: dict[str, set[str]] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    project: set[str] = field(default_factory=set)
    written: set[str] = field(default_factory=set)
    replaced: set[str] = field(default_factory=set)
    made: set[str] = field(default_factory=set)
    made_folders: set[str] = field(default_factory=set)
    uses: list[FileUse] = field(default_factory=list)

    def is_made(self, path: str) -> bool:
        """Whether a path names what the pipeline writes, and no file of the project that the step reads."""
        return path not in self.project and any(w == path or w.startswith(path + "/") for w in self.made)


def file_flow(
    steps: Sequence[StepCode],
    flows: Mapping[str, StepFlow],
    folders: Mapping[str, str],
    parameters: Mapping[str, object],
) -> dict[str, StepFiles]:
    """Every step's files, by its name; `steps` stand in the notebook's order.

    `folders` are the notebooks' folders by step, relative to the project's root; `parameters` the defaults by name.
    """
    finders: dict[str, FileUses] = {}
    found: dict[str, StepFiles] = {}
    made: set[str] = set()
    for step in steps:
        finder = finders.get(step.use)
        if finder is None:
            finder = finders[step.use] = FileUses(PathValues({n: plain_value(v) for n, v in parameters.items()}))
            finder.learn(node for unit in step.shared for node in unit.nodes)
        files = StepFiles()
        carried = [u for u in flows[step.name].carried if not u.is_definition]
        uses = [use for unit in carried for use in finder.of(unit.cell, unit.nodes)]
        for cell, tree in step.trees:
            uses += finder.of(cell, tree.body)
        files.uses = uses
        base = folders[step.name]
        reads = {rooted(base, use.spec) for use in uses if use.reads}
        # A module that an earlier cell has written (`%%writefile tools.py`) is read when it is imported.
        units = (*step.units, *flows[step.name].carried)
        reads |= made & {rooted(base, f"{module}.py") for unit in units for module in unit.modules}
        files.written = {rooted(base, use.spec) for use in uses if use.writes and not use.folder} - {""}
        files.replaced = {rooted(base, use.spec) for use in uses if use.writes and use.sure and not use.folder}
        files.replaced = {spec for spec in files.replaced - reads if "*" not in spec}
        made |= files.written
        files.made = set(made)
        files.folders = _folders(uses, base)
        if ANY in files.written:
            # It may write into any folder that an earlier step has made.
            files.folders |= {f for other in found.values() for f in other.made_folders if "*" not in f}
            reads |= {ANY} if any(ANY in other.made_folders for other in found.values()) else set()
        files.made_folders = {rooted(base, use.spec) for use in uses if use.folder}
        _connect(reads - {""}, files, found)
        found[step.name] = files
    return found


def rooted(folder: str, spec: str) -> str:
    """A path from a notebook's folder as one from the project's root."""
    if spec == ANY or not spec:
        return spec
    wild = spec.endswith("*")
    head, slash, rest = spec.rpartition("/") if wild else (spec, "", "")
    path = posixpath.normpath(posixpath.join(folder, head))
    if not wild:
        return path
    return f"{'' if path == '.' else path + '/'}{rest}" if slash or path != "." else rest


def overlap(one: str, other: str) -> bool:
    """Whether two paths may be of one file: equal, one the folder of the other, or alike in what they start with."""
    first, second = one.removesuffix("*"), other.removesuffix("*")
    wild = (one.endswith("*"), other.endswith("*"))
    if one in (other, ANY) or other == ANY:
        return True
    if wild[0] and second.startswith(first):
        return True
    if wild[1] and first.startswith(second):
        return True
    return (not wild[0] and second.startswith(first + "/")) or (not wild[1] and first.startswith(second + "/"))


def _connect(reads: set[str], files: StepFiles, earlier: Mapping[str, StepFiles]) -> None:
    """Find which earlier steps wrote what this one reads: all that may have, down to one that surely has."""
    left = set(reads)
    for other, before in reversed(list(earlier.items())):
        taken = {spec for spec in left if any(overlap(spec, w) for w in before.written | before.made_folders)}
        if taken:
            files.inputs = {other: taken} | files.inputs
            left -= taken & before.replaced
    files.project = left


def _folders(uses: Iterable[FileUse], base: str) -> set[str]:
    """The folders of what a step writes, but those that it makes itself."""
    made = {rooted(base, use.spec) for use in uses if use.folder}
    found = set()
    for use in uses:
        if use.writes and not use.folder and use.spec != ANY:
            folder = posixpath.dirname(rooted(base, use.spec))
            inside = any(folder == m or folder.startswith(m.removesuffix("*") + "/") for m in made)
            if folder not in ("", ".") and not inside and not (made & {ANY}):
                found.add(folder)
    return found
