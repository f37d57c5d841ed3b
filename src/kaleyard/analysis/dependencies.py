"""What a step needs besides values: installed packages, modules and files of the project.

A step includes the modules it imports from the notebook's folder or the project's module folders, as whole packages
and with all that they import. It also includes project files that its code names by a literal relative path.
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

from kaleyard.analysis.effects.mutation import called_name
from kaleyard.analysis.files.file_flow import StepFiles
from kaleyard.notebook.magics import magic_calls

__all__ = ["Dependencies", "find_dependencies", "named_paths", "texts_in", "written_paths"]

# Calls that write to their path: such a file is a result, not a dependency.
_WRITING_CALLS = ("to_", "save", "write", "dump", "mkdir", "makedirs", "rmtree", "unlink", "touch", "imwrite", "imsave")
_WRITE_MODES = frozenset("wax")
# Kaleyard itself is never a module of the project: every step's image has it.
_OWN_PACKAGE = "kaleyard"
# Extensions included in IPython.
_EXTENSIONS = frozenset({"autoreload", "storemagic"})
_EXCLUDED = frozenset({".git", ".venv", "__pycache__", ".ipynb_checkpoints", ".kaleyard", "runs", "node_modules"})


@dataclass(slots=True)
class Dependencies:
    """Top-level modules of installed packages, with the cell that imports them, and paths from the project's root.

    `written_modules` are modules that the notebook's own cells write.
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
    value_modules: Iterable[str] = (),
    files: StepFiles | None = None,
) -> Dependencies:
    """What the code of a step needs; `code` has cell numbers with syntax trees, `defaults` its parameters' values.

    `folder` is the notebook's folder: relative paths start there, and modules are searched there first.
    `value_modules` are the top-level modules that the step's inputs were made with, `files` what it reads and writes.
    """
    search_path = [folder.resolve(), *(p.resolve() for p in module_path)]
    finder = _Finder(root.resolve(), folder.resolve(), search_path, files or StepFiles())
    for cell, tree in code:
        finder.add_code(cell, tree)
    for name in sorted(value_modules):
        finder.add_module(name, 0)
    for text in texts_in(list(defaults)):
        finder.add_path(text)
    for use in finder.step_files.uses:
        if use.reads and not use.spec.endswith("*"):
            finder.add_path(use.spec)
    return finder.needs


def texts_in(value: object) -> Iterator[str]:
    """The strings in a parameter's value, also inside lists and dicts."""
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
    search_path: list[Path]
    step_files: StepFiles
    needs: Dependencies = field(default_factory=Dependencies)

    def add_code(self, cell: int, tree: ast.AST) -> None:
        for name in _imported(tree):
            self.add_module(name, cell)
        written = written_paths(tree)
        for text, is_folder in named_paths(tree):
            if text not in written:
                self.add_path(text, folder_meant=is_folder)
        for word in _magic_words(tree):
            self.add_path(word)

    def add_module(self, name: str, cell: int) -> None:
        top = name.partition(".")[0]
        if top in sys.stdlib_module_names or top == _OWN_PACKAGE or top in self.needs.packages:
            return
        if self._path_from_root(f"{top}.py") in self.step_files.made:
            self.needs.written_modules.add(top)
            return
        location = next((f for f in (_locate(p, top) for p in self.search_path) if f), None)
        if location is None:
            self.needs.packages[top] = cell
            return
        for path in sorted(_sources(location)):
            name_in_project = self._name_in_project(path)
            if name_in_project is None or name_in_project in self.needs.modules:
                continue
            self.needs.modules.add(name_in_project)
            if path.suffix == ".py":
                self._add_imports(path, cell)

    def _add_imports(self, path: Path, cell: int) -> None:
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError, OSError):
            # Python reports the error when the step imports the module.
            return
        for name in _imported(tree):
            self.add_module(name, cell)

    def add_path(self, text: str, *, folder_meant: bool = False) -> None:
        """Add the file, or the files of the folder or pattern, that a literal names, if they are in the project."""
        if not text or len(text) > 255 or "\n" in text or "\0" in text or text.startswith(("/", "~")):  # noqa: PLR2004
            return
        if any(c in text for c in "*?["):
            self._add_pattern(text)
            return
        path = self.folder / text
        if self.step_files.is_made(self._path_from_root(text)):
            return
        try:
            if path.is_file():
                self._add_file(path)
            elif path.is_dir() and (folder_meant or "/" in text):
                for inner in sorted(path.rglob("*")):
                    if inner.is_file():
                        self._add_file(inner)
        except OSError:
            return

    def _path_from_root(self, text: str) -> str:
        """Convert a path from the notebook's folder to one from the project's root."""
        return Path(os.path.relpath(self.folder / text, self.root)).as_posix()

    def _add_pattern(self, text: str) -> None:
        try:
            for path in sorted(self.folder.glob(text)):
                if path.is_file():
                    self._add_file(path)
        except (ValueError, NotImplementedError, OSError):
            return

    def _add_file(self, path: Path) -> None:
        name = self._name_in_project(path)
        if name is not None and path.suffix not in (".ipynb", ".pyc"):
            self.needs.files.add(name)

    def _name_in_project(self, path: Path) -> str | None:
        resolved = path.resolve()
        if not resolved.is_relative_to(self.root):
            return None
        relative = resolved.relative_to(self.root)
        return None if _EXCLUDED.intersection(relative.parts) else relative.as_posix()


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
    for method, texts in magic_calls(tree):
        # `%load_ext name` imports a module; IPython's own extensions need no package.
        if method == "run_line_magic" and texts[:1] == ["load_ext"] and texts[1] not in _EXTENSIONS:
            yield texts[1]


def _locate(folder: Path, top: str) -> Path | None:
    for candidate in (folder / top / "__init__.py", folder / f"{top}.py"):
        if candidate.is_file():
            return candidate
    package = folder / top
    return package if package.is_dir() and any(package.glob("*.py")) else None


def _sources(location: Path) -> Iterator[Path]:
    """The module's file, or all files of its package, including data files that its code may read."""
    if location.is_file() and location.name != "__init__.py":
        yield location
        return
    folder = location if location.is_dir() else location.parent
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix != ".pyc" and not _EXCLUDED.intersection(path.parts):
            yield path


def named_paths(tree: ast.AST) -> Iterator[tuple[str, bool]]:
    """Strings that may be paths, with whether they may be folders: constants, `Path("a") / "b"`, `join("a", "b")`."""
    covered: set[int] = set()
    for node in ast.walk(tree):  # from the outside in
        if id(node) in covered:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value, False
        elif isinstance(node, (ast.BinOp, ast.Call)):
            text = _constant_path(node)
            if text:
                covered.update(id(part) for part in ast.walk(node))
                yield text, isinstance(node, ast.Call)


def _magic_words(tree: ast.AST) -> Iterator[str]:
    """The words in the lines of shell commands and magics, which may be files."""
    for method, texts in magic_calls(tree):
        line = texts[0] if method in ("system", "getoutput") else " ".join(texts[1:2])
        try:
            yield from shlex.split(line)
        except ValueError:
            yield from line.split()


def _constant_path(node: ast.expr) -> str | None:
    """The path of a constant expression with pathlib or os.path; None for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        left, right = _constant_path(node.left), _constant_path(node.right)
        return f"{left}/{right}" if left and right else None
    if isinstance(node, ast.Call) and called_name(node.func) in ("Path", "PurePath", "PosixPath", "join", "joinpath"):
        parts = [_constant_path(a) for a in node.args]
        owner = node.func.value if isinstance(node.func, ast.Attribute) and node.func.attr == "joinpath" else None
        base = _constant_path(owner) if owner else ""
        if parts and all(parts) and base is not None:
            return "/".join([*([base] if base else []), *(p for p in parts if p)])
    return None


def written_paths(tree: ast.AST) -> set[str]:
    """The literal paths that the code writes to, directly or through a variable."""
    paths_by_name: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            text = _constant_path(node.value)
            if text:
                paths_by_name[node.targets[0].id] = text
    paths: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _writes(node):
            targets = [*node.args, *(k.value for k in node.keywords)]
            targets += [node.func.value] if isinstance(node.func, ast.Attribute) else []
            for target in targets:
                text = paths_by_name.get(target.id) if isinstance(target, ast.Name) else _constant_path(target)
                if text:
                    paths.add(text)
    return paths


def _writes(call: ast.Call) -> bool:
    function = called_name(call.func)
    if function == "open":
        positional = call.args[:1] if isinstance(call.func, ast.Attribute) else call.args[1:2]
        modes = [a.value for a in [*positional, *(k.value for k in call.keywords)] if isinstance(a, ast.Constant)]
        return any(isinstance(m, str) and _WRITE_MODES & set(m) for m in modes)
    return function.startswith(_WRITING_CALLS)
