"""Rules about files: a step runs in a fresh folder with the project's files that it names, and nothing else."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from kaleyard.analysis.dependencies import named_paths, written_paths
from kaleyard.analysis.files.file_flow import overlap, rooted
from kaleyard.analysis.notebook_analysis import NotebookAnalysis
from kaleyard.errors import Location
from kaleyard.rules.findings import Finding, Rule

__all__ = ["RULES"]


class UndeclaredFile(Rule[NotebookAnalysis]):
    """Name it by a literal path from the notebook's folder, or declare it under `files` in `[tool.kaleyard]`."""

    code = "KY403"
    title = "file of the project that is read but not declared"
    severity = "warning"
    example = (("name = min('a')\nprint(open(f'tables/of_{name}.csv').read())", "step:load"),)
    files = ("tables/of_a.csv",)

    def check(self, subject: NotebookAnalysis) -> Iterable[Finding]:
        """Computed paths into folders of the project, absolute paths into it, and paths meant from its root."""
        folder, root = subject.notebook.path.resolve().parent, subject.project.root.resolve()
        for step in subject.steps:
            files = set(step.files)
            for cell, tree in subject.code[step.name].trees:
                for line, text, whole in _paths(tree):
                    path = rooted(_folder_name(subject), text if whole else f"{text}/*")
                    if any(overlap(path, written) for written in subject.files[step.name].made):
                        continue  # the pipeline writes it
                    what = _undeclared(text, whole, folder, root, files)
                    if what:
                        yield self.found(Location(subject.notebook.name, cell, step.name), what, line=line)


class AbsolutePath(Rule[NotebookAnalysis]):
    """Use a path relative to the notebook, such as `../output/x.csv`: a file with such a path travels by itself."""

    code = "KY404"
    title = "file with an absolute path that two steps share"
    severity = "warning"
    example = (
        ("with open('/tmp/out.txt', 'w') as file:\n    file.write('1')", "step:write"),
        ("print(open('/tmp/out.txt').read())", "step:read"),
    )

    def check(self, subject: NotebookAnalysis) -> Iterable[Finding]:
        """Absolute paths that one step writes and a later one names: they are there only on the same machine."""
        writers: dict[str, str] = {}
        for step, code in subject.code.items():
            own: set[str] = set()
            for cell, tree in code.trees:
                own |= {p for p in written_paths(tree) if p.startswith(("/", "~"))}
                for node in tree.body:
                    for text in sorted({p for p, _ in named_paths(node)}):
                        if text in writers and text not in own:
                            what = f"step {writers[text]} writes `{text}`, which a container of this step does not have"
                            place = Location(subject.notebook.name, cell, step)
                            yield self.found(place, what, line=node.lineno)
                            own.add(text)
            for text in own:
                writers.setdefault(text, step)


def _folder_name(subject: NotebookAnalysis) -> str:
    return PurePosixPath(subject.notebook.name).parent.as_posix()


def _paths(tree: ast.AST) -> Iterator[tuple[int, str, bool]]:
    """Texts with a slash: line, text, whether it is whole; of f-strings, what stands before the first value."""
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    whole = (n for n in ast.walk(tree) if isinstance(n, ast.Constant) and id(n) not in inside)
    for constant in whole:
        text = constant.value
        if isinstance(text, str) and "/" in text and "\n" not in text and len(text) < 255:  # noqa: PLR2004
            yield constant.lineno, text, True
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr) and len(node.values) > 1:
            first = node.values[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str) and "/" in first.value:
                yield node.lineno, first.value.rpartition("/")[0], False


def _undeclared(text: str, whole: bool, folder: Path, root: Path, files: set[str]) -> str:
    """What is wrong with a path, or nothing."""
    try:
        if text.startswith("/"):
            # Whether it is there does not matter: it may be a part of a path, or the place of a result.
            inside = root in (path := Path(text).resolve(), *path.parents) and root != Path("/")
            return f"`{text}` is an absolute path into the project, which no other machine has" if inside else ""
        if whole:
            lost = not (folder / text).exists() and (root / text).is_file() and text not in files
            return f"`{text}` is meant from the project's folder, not from the notebook's" if lost else ""
        path = (folder / text).resolve()
        if path.is_dir() and path != root and path.is_relative_to(root):
            below = path.relative_to(root).as_posix() + "/"
            if not any(f.startswith(below) for f in files):
                return f"a file in `{text}` is named by a computed path"
    except OSError:
        pass
    return ""


RULES: tuple[type[Rule[NotebookAnalysis]], ...] = (UndeclaredFile, AbsolutePath)
