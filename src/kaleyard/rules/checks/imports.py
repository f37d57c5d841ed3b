"""Rules about what a step finds in its image: packages, modules of the project, the base image."""

from __future__ import annotations

import ast
import difflib
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from kaleyard.analysis.notebook_analysis import NotebookAnalysis
from kaleyard.base_images import base_image, locked_digests
from kaleyard.errors import Location
from kaleyard.installed_packages import providers
from kaleyard.notebook.magics import magic_calls
from kaleyard.rules.findings import Finding, Rule

__all__ = ["RULES"]

_IMPORT_ERRORS = frozenset({"ImportError", "ModuleNotFoundError", "Exception", "BaseException"})
_INSTALL = re.compile(r"^\s*(?:\S*python3?\s+-m\s+)?(pip3?|uv|conda|mamba|apt|apt-get)\s+(?:\S+\s+)*?install\b")
# Every image contains Kaleyard's runner: importing it needs no dependency.
_OURS = "kaleyard"


class MissingPackage(Rule[NotebookAnalysis]):
    """Add the package that provides it to the dependencies in pyproject.toml, update the lock file, and install it."""

    code = "KY401"
    title = "import of a package that is not installed"
    why = "The import fails when the step runs, here as well as in its image."
    example = (("import nosuchpackage", "imports"), ("nosuchpackage.run()", "step:run"))

    def check(self, subject: NotebookAnalysis) -> Iterable[Finding]:
        """Imports of modules that belong to neither Python, nor the project, nor an installed package."""
        reported: set[tuple[int, str]] = set()
        for step, cell, line, module in _step_imports(subject):
            top = module.partition(".")[0]
            if top not in subject.needs[step].packages or top in providers() or (cell, top) in reported:
                continue
            reported.add((cell, top))
            near = difflib.get_close_matches(top, sorted({*providers(), *sys.stdlib_module_names}), n=1, cutoff=0.85)
            advice = f"Did you mean `{near[0]}`? {self.advice()}" if near else ""
            location = Location(subject.notebook.name, cell, step)
            yield self.finding(location, f"no installed package provides `{top}`", advice=advice, line=line)


class MissingModule(Rule[NotebookAnalysis]):
    """Put the module beside the notebook, or in a folder of `module-path` in `[tool.kaleyard]`; import it by name."""

    code = "KY402"
    title = "project module that is missing or invalid"
    why = "Modules of the project are copied into each step's image; one that is missing or invalid fails there."
    example = (("from . import helpers", "imports"), ("helpers.run()", "step:run"))

    def check(self, subject: NotebookAnalysis) -> Iterable[Finding]:
        """Relative imports, missing modules of the project, and modules with invalid syntax."""
        reported: set[tuple[int, str]] = set()
        for step, cell, line, module in _step_imports(subject):
            message = self._problem(module, subject, step)
            if message and (cell, module) not in reported:
                reported.add((cell, module))
                yield self.finding(Location(subject.notebook.name, cell, step), message, line=line)

    @staticmethod
    def _problem(module: str, subject: NotebookAnalysis, step: str) -> str:
        if module.startswith("."):
            return "a notebook is not in a package, so relative imports fail"
        top = module.partition(".")[0]
        needs = subject.needs[step]
        if top in sys.stdlib_module_names or top in needs.packages or top in needs.written_modules or top == _OURS:
            return ""
        folders = [subject.notebook.path.resolve().parent]
        folders += [subject.project.root / p for p in subject.project.module_path]
        files = [f for f in (_file_of(folder, module) for folder in folders) if f]
        if not files:
            return f"the project has no module `{module}`"
        return next((w for w in (_unreadable(f) for f in files) if w), "")


class InstallsPackages(Rule[NotebookAnalysis]):
    """Add the package to the dependencies in pyproject.toml, and remove the line."""

    code = "KY405"
    title = "package installed when a step runs"
    why = "An image contains exactly the locked packages, and its steps may have no network."
    severity = "warning"
    example = (("%pip install somepackage", "imports"), ("print(1)", "step:run"))

    def check(self, subject: NotebookAnalysis) -> Iterable[Finding]:
        """`%pip install`, `!pip install` and the like in cells that steps run."""
        reported: set[int] = set()
        for step, flow in subject.flows.items():
            own = [(cell, node) for cell, tree in subject.code[step].trees for node in tree.body]
            for cell, node in [*own, *((u.cell, n) for u in flow.carried for n in u.nodes)]:
                for _, texts in magic_calls(node):
                    if cell not in reported and _INSTALL.search(" ".join(texts)):
                        reported.add(cell)
                        message = f"`{' '.join(texts).strip()}` installs when the step runs"
                        yield self.finding(Location(subject.notebook.name, cell, step), message, line=node.lineno)


class UnlockedBaseImage(Rule[NotebookAnalysis]):
    """Run `kaleyard lock` and commit `images.lock`."""

    code = "KY406"
    title = "base image without a locked digest"
    why = (
        "An image's name can point to another image tomorrow. Without a locked digest, `build` takes the one that the "
        "registry has that day, so images of two days may differ."
    )
    severity = "warning"
    example = (("print(1)", "step:show image:python:3.12"),)
    files = ("requirements.lock",)

    def check(self, subject: NotebookAnalysis) -> Iterable[Finding]:
        """Each base image of the pipeline once, if the project locks its packages: otherwise it builds no images.

        The project's own base image counts once its images leave this machine.
        """
        project, pipeline = subject.project, subject.pipeline
        if pipeline.notebook != subject.notebook.name or not (project.root / project.lock).is_file():
            return
        locked = locked_digests(project)
        reported: set[str] = set()
        for step in pipeline.steps:
            image = base_image(step, project)
            is_local = not step.settings.image and project.registry.startswith(("localhost", "127."))
            if not is_local and "@" not in image and image not in locked and image not in reported:
                reported.add(image)
                location = Location(subject.notebook.name, step=step.name if step.settings.image else None)
                yield self.finding(location, f"`images.lock` has no digest of {image}")


def _step_imports(subject: NotebookAnalysis) -> Iterator[tuple[str, int, int, str]]:
    """Every import that a step needs: step, cell, line, module (with leading dots if relative)."""
    for step, flow in subject.flows.items():
        code: list[tuple[int, ast.AST]] = [(u.cell, node) for u in flow.carried for node in u.nodes]
        for cell, tree in [*code, *subject.code[step].trees]:
            for line, module in _imports(tree):
                yield step, cell, line, module


def _imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    todo = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.level or node.module):
            yield node.lineno, "." * node.level + (node.module or "")
        elif isinstance(node, ast.Try) and any(_catches_imports(h) for h in node.handlers):
            # The code handles a missing module.
            todo += [*node.orelse, *node.finalbody]
            continue
        elif isinstance(node, ast.If):
            # The import may be for another version of Python or another platform.
            continue
        todo += ast.iter_child_nodes(node)


def _catches_imports(handler: ast.ExceptHandler) -> bool:
    names = {n.id for n in ast.walk(handler.type) if isinstance(n, ast.Name)} if handler.type else _IMPORT_ERRORS
    return bool(names & _IMPORT_ERRORS)


def _file_of(folder: Path, module: str) -> Path | None:
    path = folder.joinpath(*module.split("."))
    for candidate in (path / "__init__.py", path.with_suffix(".py")):
        if candidate.is_file():
            return candidate
    if path.is_dir():
        return path
    if any(path.parent.glob(f"{path.name}.*.so")):
        return path.parent
    return None


def _unreadable(file: Path) -> str:
    if not file.is_file():
        return ""
    try:
        ast.parse(file.read_text(encoding="utf-8"))
    except SyntaxError as error:
        return f"invalid Python syntax in {file.name} (line {error.lineno}): {error.msg}"
    except (UnicodeDecodeError, OSError, ValueError) as error:
        return f"the module {file.name} cannot be read: {error}"
    return ""


RULES: tuple[type[Rule[NotebookAnalysis]], ...] = (MissingPackage, MissingModule, InstallsPackages, UnlockedBaseImage)
