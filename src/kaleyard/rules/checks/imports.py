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
# Kaleyard itself is no package of the user's: a step's image has its runner anyway.
_OURS = "kaleyard"


class MissingPackage(Rule[NotebookAnalysis]):
    """Add the package that provides it to the dependencies in pyproject.toml, lock, and install it."""

    code = "KY401"
    title = "import that no installed package provides"
    example = (("import nosuchpackage", "imports"), ("nosuchpackage.run()", "step:run"))

    def check(self, subject: NotebookAnalysis) -> Iterable[Finding]:
        """Imported modules that are neither Python's, nor the project's, nor an installed distribution's."""
        told: set[tuple[int, str]] = set()
        for step, cell, line, module in _step_imports(subject):
            top = module.partition(".")[0]
            if top not in subject.needs[step].packages or top in providers() or (cell, top) in told:
                continue
            told.add((cell, top))
            near = difflib.get_close_matches(top, sorted({*providers(), *sys.stdlib_module_names}), n=1, cutoff=0.85)
            advice = f"Did you mean `{near[0]}`? {self.advice()}" if near else ""
            place = Location(subject.notebook.name, cell, step)
            yield self.found(place, f"no installed package provides `{top}`", advice=advice, line=line)


class MissingModule(Rule[NotebookAnalysis]):
    """Put the module beside the notebook, or in a folder of `module-path` in `[tool.kaleyard]`; import it by name."""

    code = "KY402"
    title = "module of the project that cannot be found or read"
    example = (("from . import helpers", "imports"), ("helpers.run()", "step:run"))

    def check(self, subject: NotebookAnalysis) -> Iterable[Finding]:
        """Relative imports, missing parts of the project's packages, and modules that are no valid Python."""
        told: set[tuple[int, str]] = set()
        for step, cell, line, module in _step_imports(subject):
            what = self._problem(module, subject, step)
            if what and (cell, module) not in told:
                told.add((cell, module))
                yield self.found(Location(subject.notebook.name, cell, step), what, line=line)

    @staticmethod
    def _problem(module: str, subject: NotebookAnalysis, step: str) -> str:
        if module.startswith("."):
            return "a notebook is in no package, so it cannot import relatively"
        top = module.partition(".")[0]
        needs = subject.needs[step]
        if top in sys.stdlib_module_names or top in needs.packages or top in needs.written_modules or top == _OURS:
            return ""
        folders = [subject.notebook.path.resolve().parent]
        folders += [subject.project.root / p for p in subject.project.module_path]
        found = [f for f in (_file_of(folder, module) for folder in folders) if f]
        if not found:
            return f"the project has no module `{module}`"
        return next((w for w in (_unreadable(f) for f in found) if w), "")


class InstallsPackages(Rule[NotebookAnalysis]):
    """Add the package to the dependencies in pyproject.toml: a step's image holds them, and has no network."""

    code = "KY405"
    title = "packages installed when a step runs"
    severity = "warning"
    example = (("%pip install somepackage", "imports"), ("print(1)", "step:run"))

    def check(self, subject: NotebookAnalysis) -> Iterable[Finding]:
        """`%pip install`, `!pip install` and their like in cells that steps run."""
        told: set[int] = set()
        for step, flow in subject.flows.items():
            own = [(cell, node) for cell, tree in subject.code[step].trees for node in tree.body]
            for cell, node in [*own, *((u.cell, n) for u in flow.carried for n in u.nodes)]:
                for _, texts in magic_calls(node):
                    if cell not in told and _INSTALL.search(" ".join(texts)):
                        told.add(cell)
                        what = f"`{' '.join(texts).strip()}` installs when the step runs"
                        yield self.found(Location(subject.notebook.name, cell, step), what, line=node.lineno)


class UnlockedBaseImage(Rule[NotebookAnalysis]):
    """Run `kaleyard lock` and commit `images.lock`; until then `build` takes what the registry has on that day."""

    code = "KY406"
    title = "base image whose digest is not locked"
    severity = "warning"
    example = (("print(1)", "step:show"),)
    files = ("requirements.lock",)

    def check(self, subject: NotebookAnalysis) -> Iterable[Finding]:
        """Each base image of the pipeline once, where the project locks its packages: else it builds no images."""
        project, pipeline = subject.project, subject.pipeline
        if pipeline.notebook != subject.notebook.name or not (project.root / project.lock).is_file():
            return
        locked = locked_digests(project)
        told: set[str] = set()
        for step in pipeline.steps:
            image = base_image(step, project)
            if "@" not in image and image not in locked and image not in told:
                told.add(image)
                place = Location(subject.notebook.name, step=step.name if step.settings.image else None)
                yield self.found(place, f"`images.lock` has no digest of {image}")


def _step_imports(subject: NotebookAnalysis) -> Iterator[tuple[str, int, int, str]]:
    """Every import that a step cannot do without: step, cell, line, module (with dots in front if relative)."""
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
            # What is tried may be missing.
            todo += [*node.orelse, *node.finalbody]
            continue
        elif isinstance(node, ast.If):
            # Another version of Python or another platform may import something else.
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
        return f"the module {file.name} is no valid Python (line {error.lineno}): {error.msg}"
    except (UnicodeDecodeError, OSError, ValueError) as error:
        return f"the module {file.name} cannot be read: {error}"
    return ""


RULES: tuple[type[Rule[NotebookAnalysis]], ...] = (MissingPackage, MissingModule, InstallsPackages, UnlockedBaseImage)
