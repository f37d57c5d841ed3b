"""Rules about the state of a process outside its variables: each step is a process of its own."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator

from kaleyard.analysis.effects.mutation import changed_roots
from kaleyard.analysis.effects.syntax import local_names
from kaleyard.analysis.notebook_analysis import NotebookAnalysis
from kaleyard.analysis.process.module_settings import ProcessSettings, dotted_name
from kaleyard.analysis.process.random_draws import RANDOM_KINDS
from kaleyard.analysis.step_code import StepCode
from kaleyard.errors import Location
from kaleyard.notebook.magics import magic_calls
from kaleyard.rules.checks.cached_functions import is_cached
from kaleyard.rules.findings import Finding, Rule

__all__ = ["RULES"]

# Calls that change settings of a module.
_SETTING = re.compile(
    r"(?:.+\.)?(?:set_option|reset_option|rcParams\.update|style\.use|set_theme|set_style|set_palette|seterr|"
    r"set_printoptions|set_default_dtype|set_default_device|set_grad_enabled|use_deterministic_algorithms|"
    r"filterwarnings|simplefilter|basicConfig|setLevel|setlocale|set_num_threads|setrecursionlimit|set_config)"
)
_OUTPUT_NAMES = re.compile(r"_{1,3}|_i{1,3}|_oh|_ih|Out|In")
_NAMESPACE_CALLS = frozenset({"globals", "locals", "vars", "dir"})


class SeedInOneStep(Rule[NotebookAnalysis]):
    """Seed it in each step that draws from it."""

    code = "KY212"
    title = "random generator seeded only in an earlier step"
    why = "Only the states of `random`, `numpy.random` and PyTorch pass between steps; this generator starts unseeded."
    severity = "warning"
    example = (
        ("# kaleyard: disable=KY401\nfrom tensorflow import random", "imports"),
        ("random.set_seed(1)\nrows = [1, 2]", "step:load"),
        ("print(random.uniform([2]))", "step:show"),
    )

    def check(self, subject: NotebookAnalysis) -> Iterable[Finding]:
        """Seeds of generators other than Python's, numpy's and PyTorch's, whose states pass between steps."""
        settings = ProcessSettings(subject.own_units.values())
        order = list(subject.code.values())
        for index, step in enumerate(order):
            for fragment in step.units:
                kinds = {k for node in fragment.nodes for k in settings.seeds(node)} - {*RANDOM_KINDS}
                for kind in sorted(kinds):
                    users = (s.name for s in order[index + 1 :] if kind in subject.needs[s.name].packages)
                    if later := next(users, None):
                        message = f"{kind} is seeded in this step only, but step {later} uses it"
                        yield self.finding(
                            Location(subject.notebook.name, fragment.cell, step.name), message, line=fragment.line
                        )


class SettingInOneStep(Rule[NotebookAnalysis]):
    """Make it a separate top-level statement: it then runs again in each later step that uses the module."""

    code = "KY213"
    title = "process setting made in one step and used in another"
    why = "The setting belongs to one process, and each step is a process of its own."
    severity = "warning"
    example = (
        ("import numpy as np", "imports"),
        ("rows = [0.0]\nwith open('log.txt', 'w'):\n    np.seterr(divide='ignore')", "step:load"),
        ("print(1 / np.array(rows))", "step:show"),
    )

    def check(self, subject: NotebookAnalysis) -> Iterable[Finding]:
        """Options of modules, context variables, the current folder, and environment variables set by magics."""
        order = list(subject.code.values())
        context_variables = _context_variables(order)
        for index, step in enumerate(order):
            later = order[index + 1 :]
            for cell, line, name in _calls(step):
                module = name.partition(".")[0]
                affected = [s for s in later if not _runs_again_in(subject, step, s, cell, line)]
                setting = _SETTING.fullmatch(name) and "." in name and _is_module(module, step)
                if setting or (module in context_variables and name == f"{module}.set"):
                    users = [s.name for s in affected if module in s.names.reads]
                    if users:
                        message = f"`{name}` applies to this step only, but step {users[0]} uses `{module}`"
                        yield self.finding(Location(subject.notebook.name, cell, step.name), message, line=line)
                if name == "os.chdir" and affected:
                    message = f"`{name}` affects this step only: step {affected[0].name} runs in its own folder"
                    yield self.finding(Location(subject.notebook.name, cell, step.name), message, line=line)
            for cell, variable in _environment_variables(step):
                carried = {id(u) for s in later for u in subject.flows[s.name].carried}
                own = {id(u) for u in step.units if u.cell == cell}
                users = [s.name for s in later if _contains_string(s, variable)] if not carried & own else []
                if users:
                    message = (
                        f"the environment variable {variable} is set in this step only, but step {users[0]} uses it"
                    )
                    yield self.finding(Location(subject.notebook.name, cell, step.name), message)


class DynamicLookup(Rule[NotebookAnalysis]):
    """Use the name itself instead of looking it up."""

    code = "KY214"
    title = "dynamic name lookup (`globals()`, `locals()`, ...)"
    why = "A step gets only the values that its code names, so a lookup by text misses the others."
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
                    if (
                        name in _NAMESPACE_CALLS
                        and name not in step.names.gives
                        and (name == "globals" or node not in inside)
                    ):
                        message = f"`{name}()` sees only the values that are passed to this step"
                        yield self.finding(Location(subject.notebook.name, cell, step.name), message, line=node.lineno)


_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)


class OutputVariable(Rule[NotebookAnalysis]):
    """Assign the result to a name in the cell that computes it, and use that name."""

    code = "KY215"
    title = "`_` or `Out` of a cell in another step"
    why = "IPython numbers the outputs of one session, and each step is a session of its own."
    example = (("1 + 1", "step:make"), ("print(_ + 1)", "step:show"))

    def check(self, subject: NotebookAnalysis) -> Iterable[Finding]:
        """`_`, `_3`, `Out[3]` and the like that refer to a cell outside the step."""
        for step in subject.code.values():
            inputs = subject.flows[step.name].inputs
            defined = {name for fragment in step.shared for name in fragment.names.gives}
            for index, fragment in enumerate(step.units):
                for name, (cell, line) in sorted(fragment.names.reads.items()):
                    known = name in defined or name in inputs or name in step.parameters
                    # After the step's first statement, `_` is the same in the step notebook.
                    own = index > 0 and name == "_"
                    if _OUTPUT_NAMES.fullmatch(name) and not known and not own:
                        message = f"`{name}` refers to the output of a cell outside this step"
                        yield self.finding(Location(subject.notebook.name, cell, step.name), message, line=line)
                defined |= set(fragment.names.gives)


class StatefulCachedFunction(Rule[NotebookAnalysis]):
    """Pass the mutable state as an argument, so that it is passed between steps like any other value."""

    code = "KY216"
    title = "cached function with mutable state, called in several steps"
    why = (
        "The cache is empty in each step, so the function changes its state again where the notebook would not call it."
    )
    severity = "warning"
    example = (
        ("from functools import cache\nseen = []\n@cache\ndef note(x):\n    seen.append(x)\n    return x", "functions"),
        ("first = note('a')", "step:load"),
        ("print(note('a'), first)", "step:show"),
    )

    def check(self, subject: NotebookAnalysis) -> Iterable[Finding]:
        """Cached functions that change a global value when they are first called in a process."""
        steps = list(subject.code.values())
        fragments = [(fragment, None) for fragment in dict.fromkeys(u for step in steps for u in step.shared)]
        fragments += [(fragment, step.name) for step in steps for fragment in step.units]  # type: ignore[misc]
        for fragment, owner in fragments:
            for function in (n for n in fragment.nodes if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))):
                changed = _changed_on_first_call(function)
                users = [s.name for s in steps if _reads(s, function.name)] if changed else []
                if len(users) > 1:
                    both = " and ".join(users[:2])
                    message = (
                        f"cached `{function.name}` changes `{changed}`, and steps {both} each start with an empty cache"
                    )
                    location = Location(subject.notebook.name, fragment.cell, owner)
                    yield self.finding(location, message, line=function.lineno)


def _runs_again_in(subject: NotebookAnalysis, step: StepCode, later: StepCode, cell: int, line: int) -> bool:
    """Whether the statement on that line of a step also runs in the later step."""
    fragment = step.unit_at(cell, line)
    return any(u is fragment for u in subject.flows[later.name].carried)


def _changed_on_first_call(function: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """The global name that a cached function changes; "" if there is none."""
    if not is_cached(function):
        return ""
    nodes = [node for top in function.body for node in ast.walk(top)]
    own = local_names(function, nodes)
    return next((name for node in nodes for name in changed_roots(node) if name not in own), "")


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
    """Whether the first part of the name is imported in the step or in a shared cell."""
    root = name.partition(".")[0]
    return root in step.names.imports or any(root in fragment.names.imports for fragment in step.shared)


def _context_variables(steps: Iterable[StepCode]) -> set[str]:
    """The names of the context variables that shared cells create."""
    nodes = (node for step in steps for fragment in step.shared for node in fragment.nodes)
    assignments = (n for n in nodes if isinstance(n, ast.Assign) and isinstance(n.value, ast.Call))
    return {
        target.id
        for node in assignments
        if dotted_name(node.value.func).rpartition(".")[2] == "ContextVar"  # type: ignore[attr-defined]
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def _environment_variables(step: StepCode) -> Iterator[tuple[int, str]]:
    """The environment variables that `%env` and `%set_env` set, each with its cell."""
    for cell, tree in step.trees:
        for method, texts in magic_calls(tree):
            if method == "run_line_magic" and texts[:1] and texts[0] in {"env", "set_env"}:
                match = re.match(r"\s*(\w+)\s*(?:=|\s)\s*\S", "".join(texts[1:2]))
                if match:
                    yield cell, match[1]


def _contains_string(step: StepCode, text: str) -> bool:
    nodes = (node for _, tree in step.trees for node in ast.walk(tree))
    return any(isinstance(node, ast.Constant) and node.value == text for node in nodes)


RULES: tuple[type[Rule[NotebookAnalysis]], ...] = (
    SeedInOneStep,
    SettingInOneStep,
    DynamicLookup,
    OutputVariable,
    StatefulCachedFunction,
)
