"""Which files each step reads from earlier steps: files pass between steps as values do.

Paths here start at the project's root; `out/*` means every path that starts with "out/", `*` means any path.
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
    """The files that a step reads and writes.

    - `inputs`: by earlier step, the paths that this step reads from it.
    - `folders`: folders that must exist when the step starts.
    - `project`: paths that it reads and that no earlier step always writes.
    - `written`: paths that it writes; `replaced`: those that it always overwrites without reading them.
    - `made`: paths that it or an earlier step writes; `made_folders`: folders that it creates.
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
        """Whether the pipeline writes the path, and it is not a project file that the step reads."""
        return path not in self.project and any(w == path or w.startswith(path + "/") for w in self.made)


def file_flow(
    steps: Sequence[StepCode],
    flows: Mapping[str, StepFlow],
    folders: Mapping[str, str],
    parameters: Mapping[str, object],
) -> dict[str, StepFiles]:
    """Every step's files, by step name; `steps` are in the notebook's order.

    `folders` are the notebooks' folders by step, from the project's root; `parameters` are the defaults by name.
    """
    finders: dict[str, FileUses] = {}
    by_step: dict[str, StepFiles] = {}
    written: set[str] = set()
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
        folder = folders[step.name]
        reads = {rooted(folder, use.spec) for use in uses if use.reads}
        # Importing a module reads its file, which an earlier cell may have written (`%%writefile tools.py`).
        units = (*step.units, *flows[step.name].carried)
        reads |= written & {rooted(folder, f"{module}.py") for unit in units for module in unit.modules}
        files.written = {rooted(folder, use.spec) for use in uses if use.writes and not use.folder} - {""}
        files.replaced = {rooted(folder, use.spec) for use in uses if use.writes and use.sure and not use.folder}
        files.replaced = {spec for spec in files.replaced - reads if "*" not in spec}
        written |= files.written
        files.made = set(written)
        files.folders = _folders(uses, folder)
        if ANY in files.written:
            # It may write into any folder that an earlier step created.
            files.folders |= {f for earlier in by_step.values() for f in earlier.made_folders if "*" not in f}
            reads |= {ANY} if any(ANY in earlier.made_folders for earlier in by_step.values()) else set()
        files.made_folders = {rooted(folder, use.spec) for use in uses if use.folder}
        _connect(reads - {""}, files, by_step)
        by_step[step.name] = files
    return by_step


def rooted(folder: str, spec: str) -> str:
    """Convert a path from a notebook's folder to one from the project's root."""
    if spec == ANY or not spec:
        return spec
    wild = spec.endswith("*")
    head, slash, rest = spec.rpartition("/") if wild else (spec, "", "")
    path = posixpath.normpath(posixpath.join(folder, head))
    if not wild:
        return path
    return f"{'' if path == '.' else path + '/'}{rest}" if slash or path != "." else rest


def overlap(first: str, second: str) -> bool:
    """Whether two paths may name the same file: equal, one inside the other, or matching up to a `*`."""
    first_start, second_start = first.removesuffix("*"), second.removesuffix("*")
    wild = (first.endswith("*"), second.endswith("*"))
    if first in (second, ANY) or second == ANY:
        return True
    if wild[0] and second_start.startswith(first_start):
        return True
    if wild[1] and first_start.startswith(second_start):
        return True
    return (not wild[0] and second_start.startswith(first_start + "/")) or (
        not wild[1] and first_start.startswith(second_start + "/")
    )


def _connect(reads: set[str], files: StepFiles, earlier: Mapping[str, StepFiles]) -> None:
    """Find the earlier steps that may have written what this one reads, up to the last one that always writes it."""
    unresolved = set(reads)
    for step, source in reversed(list(earlier.items())):
        matches = {spec for spec in unresolved if any(overlap(spec, w) for w in source.written | source.made_folders)}
        if matches:
            files.inputs = {step: matches} | files.inputs
            unresolved -= matches & source.replaced
    files.project = unresolved


def _folders(uses: Iterable[FileUse], notebook_folder: str) -> set[str]:
    """The folders that a step writes into and does not create itself."""
    made_folders = {rooted(notebook_folder, use.spec) for use in uses if use.folder}
    folders = set()
    for use in uses:
        if use.writes and not use.folder and use.spec != ANY:
            folder = posixpath.dirname(rooted(notebook_folder, use.spec))
            covered = any(folder == m or folder.startswith(m.removesuffix("*") + "/") for m in made_folders)
            if folder not in ("", ".") and not covered and not (made_folders & {ANY}):
                folders.add(folder)
    return folders
