"""Rules about what lives in the process and in no name: each step is a process of its own."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator

from kaleyard.analysis.effects.mutation import changed_roots
from kaleyard.analysis.notebook_analysis import NotebookAnalysis
from kaleyard.analysis.process.module_settings import ProcessSettings, dotted_name
from kaleyard.analysis.process.random_draws import RANDOM_KINDS
from kaleyard.analysis.step_code import StepCode
from kaleyard.errors import Location
from kaleyard.notebook.magics import magic_calls
from kaleyard.rules.findings import Finding, Rule

__all__ = ["RULES"]

# Calls that set what a module does from then on.
_SETTING = re.compile(
    r"(?:.+\.)?(?:set_option|reset_option|rcParams\.update|style\.use|set_theme|set_style|set_palette|seterr|"
    r"set_printoptions|set_default_dtype|set_default_device|set_grad_enabled|use_deterministic_algorithms|"
    r"filterwarnings|simplefilter|basicConfig|setLevel|setlocale|set_num_threads|setrecursionlimit|set_config)"
)
_RESULTS = re.compile(r"_{1,3}|_i{1,3}|_oh|_ih|Out|In")
_CACHING = frozenset({"cache", "lru_cache"})
_LOOKING = frozenset({"globals", "locals", "vars", "dir"})


class SeedElsewhere(Rule[NotebookAnalysis]):
    """Seed it in each step that draws: the state of this generator cannot go on from step to step."""

    code = "KY212"
    title = "random numbers drawn in a step that an earlier step seeded, by a generator that cannot travel"
    severity = "warning"
    example = (
        ("# kaleyard: disable=KY401\nfrom tensorflow import random", "imports"),
        ("random.set_seed(1)\nrows = [1, 2]", "step:load"),
        ("print(random.uniform([2]))", "step:show"),
    )

    def check(self, subject: NotebookAnalysis) -> Iterable[Finding]:
        """Seeds of generators other than Python's, numpy's and PyTorch's, whose state goes along by itself."""
        settings = ProcessSettings(subject.own_units.values())
        order = list(subject.code.values())
        for index, step in enumerate(order):
            for unit in step.units:
                kinds = {k for node in unit.nodes for k in settings.seeds(node)} - {*RANDOM_KINDS}
                for kind in sorted(kinds):
                    users = (s.name for s in order[index + 1 :] if kind in subject.needs[s.name].packages)
                    if later := next(users, None):
                        what = f"{kind} is seeded in this step alone, and step {later} uses it"
                        yield self.found(Location(subject.notebook.name, unit.cell, step.name), what, line=unit.line)


class SettingElsewhere(Rule[NotebookAnalysis]):
    """Make it a statement of its own, outside of other code: it then runs in each later step that uses the module."""

    code = "KY213"
    title = "setting of the process made in a step, and used in a later one"
    severity = "warning"
    example = (
        ("import numpy as np", "imports"),
        ("rows = [0.0]\nwith open('log.txt', 'w'):\n    np.seterr(divide='ignore')", "step:load"),
        ("print(1 / np.array(rows))", "step:show"),
    )

    def check(self, subject: NotebookAnalysis) -> Iterable[Finding]:
        """Options of modules, context variables, the current folder, and variables set by magics."""
        order = list(subject.code.values())
        held = _context_variables(order)
        for index, step in enumerate(order):
            later = order[index + 1 :]
            for cell, line, name in _calls(step):
                module = name.partition(".")[0]
                setting = _SETTING.fullmatch(name) and "." in name and _is_module(module, step)
                if setting or (module in held and name == f"{module}.set"):
                    without = [s for s in later if not _goes_along(subject, step, s, cell, line)]
                    users = [s.name for s in without if module in s.names.reads]
                    if users:
                        what = f"`{name}` is a setting of this step alone, and step {users[0]} uses `{module}`"
                        yield self.found(Location(subject.notebook.name, cell, step.name), what, line=line)
                moves = later if name == "os.chdir" else []
                others = [s.name for s in moves if not _goes_along(subject, step, s, cell, line)]
                if others:
                    what = f"`{name}` moves this step alone: step {others[0]} is in a folder of its own"
                    yield self.found(Location(subject.notebook.name, cell, step.name), what, line=line)
            for cell, variable in _variables(step):
                carried = {id(u) for s in later for u in subject.flows[s.name].carried}
                here = {id(u) for u in step.units if u.cell == cell}
                users = [s.name for s in later if _names_text(s, variable)] if not carried & here else []
                if users:
                    what = f"the variable {variable} is set for this step alone, and step {users[0]} names it"
                    yield self.found(Location(subject.notebook.name, cell, step.name), what)


class LookedUp(Rule[NotebookAnalysis]):
    """Use the name itself: only what a step's code names reaches it."""

    code = "KY214"
    title = "name that is looked up where nobody can see which"
    severity = "warning"
    example = (("mode = 'fast'", "step:load"), ("print(globals().get('mode'))", "step:show"))

    def check(self, subject: NotebookAnalysis) -> Iterable[Finding]:
        """`globals()`, and `vars()`, `dir()` and `locals()` of the whole notebook."""
        for step in list(subject.code.values())[1:]:
            for cell, tree in step.trees:
                inside = {n for f in ast.walk(tree) if isinstance(f, _SCOPES) for n in ast.walk(f)}
                for node in ast.walk(tree):
                    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)) or node.args:
                        continue
                    name = node.func.id
                    if name in _LOOKING and name not in step.names.gives and (name == "globals" or node not in inside):
                        what = f"`{name}()` sees what this step got, not what the steps before it made"
                        yield self.found(Location(subject.notebook.name, cell, step.name), what, line=node.lineno)


_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)


class ResultByNumber(Rule[NotebookAnalysis]):
    """Give the result a name in the cell that makes it, and use that."""

    code = "KY215"
    title = "result of another cell, by IPython's names for it"
    example = (("1 + 1", "step:make"), ("print(_ + 1)", "step:show"))

    def check(self, subject: NotebookAnalysis) -> Iterable[Finding]:
        """`_`, `_3`, `Out[3]` and the like where they mean a cell that is not this step's."""
        for step in subject.code.values():
            inputs = subject.flows[step.name].inputs
            made = {name for unit in step.shared for name in unit.names.gives}
            for index, unit in enumerate(step.units):
                for name, (cell, line) in sorted(unit.names.reads.items()):
                    known = name in made or name in inputs or name in step.parameters
                    # The last result but of the step's own cell before: those are the same in the step's notebook.
                    own = index > 0 and name == "_"
                    if _RESULTS.fullmatch(name) and not known and not own:
                        what = f"`{name}` is the result of another cell when the notebook is run, and of none here"
                        yield self.found(Location(subject.notebook.name, cell, step.name), what, line=line)
                made |= set(unit.names.gives)


class RememberingDefault(Rule[NotebookAnalysis]):
    """Hand what it notes things in to the function as an argument: it is then a value of the step that calls it."""

    code = "KY216"
    title = "function that remembers from call to call, called in several steps"
    severity = "warning"
    example = (
        ("from functools import cache\nseen = []\n@cache\ndef note(x):\n    seen.append(x)\n    return x", "functions"),
        ("first = note('a')", "step:load"),
        ("print(note('a'), first)", "step:show"),
    )

    def check(self, subject: NotebookAnalysis) -> Iterable[Finding]:
        """Functions that are cached and change what is outside of them: at their first call in each process."""
        steps = list(subject.code.values())
        units = [(unit, None) for unit in dict.fromkeys(u for step in steps for u in step.shared)]
        units += [(unit, step.name) for step in steps for unit in step.units]  # type: ignore[misc]
        for unit, owner in units:
            for function in (n for n in unit.nodes if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))):
                noted = _noted_once(function)
                users = [s.name for s in steps if _reads(s, function.name)] if noted else []
                if len(users) > 1:
                    both = " and ".join(users[:2])
                    what = f"`{function.name}` notes things in `{noted}`, and steps {both} each begin anew"
                    yield self.found(Location(subject.notebook.name, unit.cell, owner), what, line=function.lineno)


def _goes_along(subject: NotebookAnalysis, step: StepCode, later: StepCode, cell: int, line: int) -> bool:
    """Whether the statement on that line of a step runs in the later step too."""
    unit = step.unit_at(cell, line)
    return any(u is unit for u in subject.flows[later.name].carried)


def _noted_once(function: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """What a cached function changes outside of itself: at its first call in each process; else ""."""
    marks = (dotted_name(d.func if isinstance(d, ast.Call) else d).rpartition(".")[2] for d in function.decorator_list)
    if not _CACHING & {*marks}:
        return ""
    told = function.args
    own = {a.arg for a in (*told.posonlyargs, *told.args, *told.kwonlyargs, told.vararg, told.kwarg) if a}
    inside = [node for top in function.body for node in ast.walk(top)]
    own |= {n.id for n in inside if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return next((name for node in inside for name in changed_roots(node) if name not in own), "")


def _reads(step: StepCode, name: str) -> bool:
    nodes = (node for _, tree in step.trees for node in ast.walk(tree))
    return any(isinstance(n, ast.Name) and n.id == name and isinstance(n.ctx, ast.Load) for n in nodes)


def _calls(step: StepCode) -> Iterator[tuple[int, int, str]]:
    """The cell, line and dotted name of every call in the step's own cells."""
    for cell, tree in step.trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and (name := dotted_name(node.func)):
                yield cell, node.lineno, name


def _is_module(name: str, step: StepCode) -> bool:
    """Whether the first part of the name is imported, in the step or in a shared cell."""
    root = name.partition(".")[0]
    return root in step.names.imports or any(root in unit.names.imports for unit in step.shared)


def _context_variables(steps: Iterable[StepCode]) -> set[str]:
    """The names of the context variables that shared cells make."""
    nodes = (node for step in steps for unit in step.shared for node in unit.nodes)
    made = (n for n in nodes if isinstance(n, ast.Assign) and isinstance(n.value, ast.Call))
    return {
        target.id
        for node in made
        if dotted_name(node.value.func).rpartition(".")[2] == "ContextVar"  # type: ignore[attr-defined]
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def _variables(step: StepCode) -> Iterator[tuple[int, str]]:
    """The environment variables that `%env` and `%set_env` set, with the cell."""
    for cell, tree in step.trees:
        for method, texts in magic_calls(tree):
            if method == "run_line_magic" and texts[:1] and texts[0] in {"env", "set_env"}:
                match = re.match(r"\s*(\w+)\s*(?:=|\s)\s*\S", "".join(texts[1:2]))
                if match:
                    yield cell, match[1]


def _names_text(step: StepCode, text: str) -> bool:
    nodes = (node for _, tree in step.trees for node in ast.walk(tree))
    return any(isinstance(node, ast.Constant) and node.value == text for node in nodes)


RULES: tuple[type[Rule[NotebookAnalysis]], ...] = (
    SeedElsewhere,
    SettingElsewhere,
    LookedUp,
    ResultByNumber,
    RememberingDefault,
)
