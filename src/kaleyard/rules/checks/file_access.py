"""Rules about files: a step runs in an empty folder with only the project files that it names."""

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
    """Name it by a literal path relative to the notebook, or list it under `files` in `[tool.kaleyard]`."""

    code = "KY403"
    title = "undeclared project file"
    why = "A step runs in an empty folder with only those files of the project that its code or the settings name."
    severity = "warning"
    example = (("name = min('a')\nprint(open(f'tables/of_{name}.csv').read())", "step:load"),)
    files = ("tables/of_a.csv",)

    def check(self, subject: NotebookAnalysis) -> Iterable[Finding]:
        """Computed paths into folders of the project, absolute paths into it, and paths relative to its root."""
        folder, root = subject.notebook.path.resolve().parent, subject.project.root.resolve()
        for step in subject.steps:
            files = set(step.files)
            for cell, tree in subject.code[step.name].trees:
                for line, text, complete in _paths(tree):
                    path = rooted(_folder_name(subject), text if complete else f"{text}/*")
                    if any(overlap(path, written) for written in subject.files[step.name].made):
                        continue  # an earlier step writes it
                    message = _undeclared(text, complete, folder, root, files)
                    if message:
                        yield self.finding(Location(subject.notebook.name, cell, step.name), message, line=line)


class AbsolutePath(Rule[NotebookAnalysis]):
    """Use a path relative to the notebook, such as `../output/x.csv`: such files are passed between steps."""

    code = "KY404"
    title = "absolute path shared by two steps"
    why = "Each step may run in a container of its own, where files at absolute paths of another step do not exist."
    severity = "warning"
    example = (
        ("with open('/tmp/out.txt', 'w') as file:\n    file.write('1')", "step:write"),
        ("print(open('/tmp/out.txt').read())", "step:read"),
    )

    def check(self, subject: NotebookAnalysis) -> Iterable[Finding]:
        """Absolute paths that one step writes and a later step names."""
        writers: dict[str, str] = {}
        for step, code in subject.code.items():
            written: set[str] = set()
            for cell, tree in code.trees:
                written |= {p for p in written_paths(tree) if p.startswith(("/", "~"))}
                for node in tree.body:
                    for text in sorted({p for p, _ in named_paths(node)}):
                        if text in writers and text not in written:
                            message = f"step {writers[text]} writes `{text}`, which this step's container does not have"
                            location = Location(subject.notebook.name, cell, step)
                            yield self.finding(location, message, line=node.lineno)
                            written.add(text)
            for text in written:
                writers.setdefault(text, step)


def _folder_name(subject: NotebookAnalysis) -> str:
    return PurePosixPath(subject.notebook.name).parent.as_posix()


def _paths(tree: ast.AST) -> Iterator[tuple[int, str, bool]]:
    """Strings with a slash: line, text, whether it is complete; of f-strings, the folder before the first value."""
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    constants = (n for n in ast.walk(tree) if isinstance(n, ast.Constant) and id(n) not in inside)
    for constant in constants:
        text = constant.value
        if isinstance(text, str) and "/" in text and "\n" not in text and len(text) < 255:  # noqa: PLR2004
            yield constant.lineno, text, True
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr) and len(node.values) > 1:
            first = node.values[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str) and "/" in first.value:
                yield node.lineno, first.value.rpartition("/")[0], False


def _undeclared(text: str, complete: bool, folder: Path, root: Path, files: set[str]) -> str:
    """What is wrong with a path; "" if nothing is."""
    try:
        if text.startswith("/"):
            # It need not exist: it may be part of a path, or a file that the step writes.
            inside = root in (path := Path(text).resolve(), *path.parents) and root != Path("/")
            return f"`{text}` is an absolute path into the project, which other machines do not have" if inside else ""
        if complete:
            misplaced = not (folder / text).exists() and (root / text).is_file() and text not in files
            return f"`{text}` is relative to the project's folder, not to the notebook's" if misplaced else ""
        path = (folder / text).resolve()
        if path.is_dir() and path != root and path.is_relative_to(root):
            below = path.relative_to(root).as_posix() + "/"
            if not any(f.startswith(below) for f in files):
                return f"a file in `{text}` is named by a computed path"
    except OSError:
        pass
    return ""


RULES: tuple[type[Rule[NotebookAnalysis]], ...] = (UndeclaredFile, AbsolutePath)
