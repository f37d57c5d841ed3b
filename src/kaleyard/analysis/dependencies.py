"""What a step needs besides values: installed packages, modules and files of the project.

A module found in the notebook's folder or in one of the project's module folders travels with the step, whole
package and all it imports in turn. So does a file of the project that the code names by a literal relative path.
"""

from __future__ import annotations

import ast
import os
import shlex
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kaleyard.analysis.files.file_flow import StepFiles
from kaleyard.notebook.magics import magic_calls

__all__ = ["Dependencies", "find_dependencies", "named_paths", "texts_in", "written_paths"]

# Calls that write to the path they get: what they name is a result, not something to bring along.
_WRITERS = ("to_", "save", "write", "dump", "mkdir", "makedirs", "rmtree", "unlink", "touch", "imwrite", "imsave")
_WRITE_MODES = frozenset("wax")
# Our own package is never a module of the project: a step's image has its runner anyway.
_OURS = "kaleyard"
# Extensions that come with IPython.
_EXTENSIONS = frozenset({"autoreload", "storemagic"})
_NEVER = frozenset({".git", ".venv", "__pycache__", ".ipynb_checkpoints", ".kaleyard", "runs", "node_modules"})


@dataclass(slots=True)
class Dependencies:
    """Top-level modules of installed packages, and paths relative to the project's root, each with its cell.

    `written_modules` are those that the notebook's own cells write.
    """

    packages: dict[str, int] = field(default_factory=dict)
    modules: set[str] = field(default_factory=set)
    written_modules: set[str] = field(default_factory=set)
    files: set[str] = field(default_factory=set)


def find_dependencies(
    code: Iterable[tuple[int, ast.AST]],
    defaults: Iterable[Any],
    root: Path,
    folder: Path,
    module_path: Iterable[Path],
    behind: Iterable[str] = (),
    files: StepFiles | None = None,
) -> Dependencies:
    """What the code of a step needs; `code` gives cell numbers with syntax, `defaults` its parameters' values.

    `folder` is the notebook's folder: relative paths start there, and modules are looked for there first.
    `behind` are the top-level modules that the step's inputs were made with, `files` what it reads and writes.
    """
    places = [folder.resolve(), *(p.resolve() for p in module_path)]
    finder = _Finder(root.resolve(), folder.resolve(), places, files or StepFiles())
    for cell, tree in code:
        finder.code(cell, tree)
    for name in sorted(behind):
        finder.module(name, 0)
    for text in texts_in(list(defaults)):
        finder.path(text)
    for use in finder.written.uses:
        if use.reads and not use.spec.endswith("*"):
            finder.path(use.spec)
    return finder.needs


def texts_in(value: object) -> Iterator[str]:
    """The texts in a parameter's value, those in its lists and dicts too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from texts_in(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from texts_in(item)


@dataclass(slots=True)
class _Finder:
    root: Path
    folder: Path
    places: list[Path]
    written: StepFiles
    needs: Dependencies = field(default_factory=Dependencies)

    def code(self, cell: int, tree: ast.AST) -> None:
        for name in _imported(tree):
            self.module(name, cell)
        written = written_paths(tree)
        for text, is_folder in named_paths(tree):
            if text not in written:
                self.path(text, folder_meant=is_folder)
        for word in _words(tree):
            self.path(word)

    def module(self, name: str, cell: int) -> None:
        top = name.partition(".")[0]
        if top in sys.stdlib_module_names or top == _OURS or top in self.needs.packages:
            return
        if self._from_root(f"{top}.py") in self.written.made:
            self.needs.written_modules.add(top)
            return
        found = next((f for f in (_locate(p, top) for p in self.places) if f), None)
        if found is None:
            self.needs.packages[top] = cell
            return
        for path in sorted(_sources(found)):
            name_in_project = self._name(path)
            if name_in_project is None or name_in_project in self.needs.modules:
                continue
            self.needs.modules.add(name_in_project)
            if path.suffix == ".py":
                self._imports_of(path, cell)

    def _imports_of(self, path: Path, cell: int) -> None:
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError, OSError):
            # The step itself will say what is wrong with the module, with Python's own words.
            return
        for name in _imported(tree):
            self.module(name, cell)

    def path(self, text: str, *, folder_meant: bool = False) -> None:
        """Take the file, the folder or the files that a literal names, if they are the project's."""
        if not text or len(text) > 255 or "\n" in text or "\0" in text or text.startswith(("/", "~")):  # noqa: PLR2004
            return
        if any(c in text for c in "*?["):
            self._pattern(text)
            return
        path = self.folder / text
        if self.written.is_made(self._from_root(text)):
            return
        try:
            if path.is_file():
                self._take(path)
            elif path.is_dir() and (folder_meant or "/" in text):
                for inner in sorted(path.rglob("*")):
                    if inner.is_file():
                        self._take(inner)
        except OSError:
            return

    def _from_root(self, text: str) -> str:
        """A path from the notebook's folder as one from the project's root."""
        return Path(os.path.relpath(self.folder / text, self.root)).as_posix()

    def _pattern(self, text: str) -> None:
        try:
            for path in sorted(self.folder.glob(text)):
                if path.is_file():
                    self._take(path)
        except (ValueError, NotImplementedError, OSError):
            return

    def _take(self, path: Path) -> None:
        name = self._name(path)
        if name is not None and path.suffix not in (".ipynb", ".pyc"):
            self.needs.files.add(name)

    def _name(self, path: Path) -> str | None:
        resolved = path.resolve()
        if not resolved.is_relative_to(self.root):
            return None
        relative = resolved.relative_to(self.root)
        return None if _NEVER.intersection(relative.parts) else relative.as_posix()


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
    for method, texts in magic_calls(tree):
        # `%load_ext name` imports; what IPython brings itself is no package of its own.
        if method == "run_line_magic" and texts[:1] == ["load_ext"] and texts[1] not in _EXTENSIONS:
            yield texts[1]


def _locate(place: Path, top: str) -> Path | None:
    for candidate in (place / top / "__init__.py", place / f"{top}.py"):
        if candidate.is_file():
            return candidate
    folder = place / top
    return folder if folder.is_dir() and any(folder.glob("*.py")) else None


def _sources(found: Path) -> Iterator[Path]:
    """The module's file, or every file of its package (data files of a package are read by its code)."""
    if found.is_file() and found.name != "__init__.py":
        yield found
        return
    folder = found if found.is_dir() else found.parent
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix != ".pyc" and not _NEVER.intersection(path.parts):
            yield path


def named_paths(tree: ast.AST) -> Iterator[tuple[str, bool]]:
    """Texts that may be paths, with whether a folder is meant: constants, `Path("a") / "b"`, `join("a", "b")`."""
    inside: set[int] = set()
    for node in ast.walk(tree):  # from the outside in
        if id(node) in inside:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value, False
        elif isinstance(node, (ast.BinOp, ast.Call)):
            text = _folded(node)
            if text:
                inside.update(id(part) for part in ast.walk(node))
                yield text, isinstance(node, ast.Call)


def _words(tree: ast.AST) -> Iterator[str]:
    """The words of shell lines and of lines of magics: some may be files."""
    for method, texts in magic_calls(tree):
        line = texts[0] if method in ("system", "getoutput") else " ".join(texts[1:2])
        try:
            yield from shlex.split(line)
        except ValueError:
            yield from line.split()


def _folded(node: ast.expr) -> str | None:
    """The path a constant expression of pathlib or os.path makes, None for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        left, right = _folded(node.left), _folded(node.right)
        return f"{left}/{right}" if left and right else None
    if isinstance(node, ast.Call) and _word(node.func) in ("Path", "PurePath", "PosixPath", "join", "joinpath"):
        parts = [_folded(a) for a in node.args]
        base = (
            _folded(node.func.value) if _word(node.func) == "joinpath" and isinstance(node.func, ast.Attribute) else ""
        )
        if parts and all(parts) and base is not None:
            return "/".join([*([base] if base else []), *(p for p in parts if p)])
    return None


def _word(func: ast.expr) -> str:
    return func.attr if isinstance(func, ast.Attribute) else func.id if isinstance(func, ast.Name) else ""


def written_paths(tree: ast.AST) -> set[str]:
    """The literals that the code writes to, directly or through a variable."""
    holds: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            text = _folded(node.value)
            if text:
                holds[node.targets[0].id] = text
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _writes(node):
            targets = [*node.args, *(k.value for k in node.keywords)]
            targets += [node.func.value] if isinstance(node.func, ast.Attribute) else []
            for target in targets:
                text = holds.get(target.id) if isinstance(target, ast.Name) else _folded(target)
                if text:
                    found.add(text)
    return found


def _writes(call: ast.Call) -> bool:
    word = _word(call.func)
    if word == "open":
        given = call.args[:1] if isinstance(call.func, ast.Attribute) else call.args[1:2]
        modes = [a.value for a in [*given, *(k.value for k in call.keywords)] if isinstance(a, ast.Constant)]
        return any(isinstance(m, str) and _WRITE_MODES & set(m) for m in modes)
    return word.startswith(_WRITERS) or word == "dump"
