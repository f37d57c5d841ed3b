"""Statements that set something for the whole process: options, environment variables, warning filters, seeds.

Such a statement binds no value that could pass to another step, so every later step that can see the setting carries
the statement itself. Its code shows which module it sets, also through functions of the notebook.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from kaleyard.analysis.effects.code_fragments import CodeFragment
from kaleyard.analysis.effects.mutation import changed_roots, root_name
from kaleyard.notebook.magics import magic_calls

__all__ = ["ProcessSettings", "dotted_name"]

# Calls that change the settings of a module: the part after the module's name.
_SETTING = re.compile(
    r"(?:.+\.)?(?:set_option|reset_option|rc|rcdefaults|rc_file|rcParams\.update|style\.use|use|ion|ioff|"
    r"switch_backend|set_theme|set_style|set_palette|set_context|set_color_codes|reset_defaults|reset_orig|seterr|"
    r"set_printoptions|set_string_function|set_default_dtype|set_default_device|set_default_tensor_type|"
    r"set_grad_enabled|use_deterministic_algorithms|set_float32_matmul_precision|filterwarnings|simplefilter|"
    r"resetwarnings|basicConfig|setLevel|setlocale|set_num_threads|setrecursionlimit|set_config|set_log_level|"
    r"set_verbosity|set_matplotlib_formats|set_matplotlib_close|register_matplotlib_converters|putenv|unsetenv|chdir|"
    r"Config\.(?:set_\w+|load|restore_defaults)|tzset|setcontext|progress_apply|init_notebook_mode|captureWarnings|int_max_str_digits)"
)
# Names that are settings of these modules only.
_SHORT_NAMES = {
    "use": {"matplotlib"},
    "rc": {"matplotlib"},
    "ion": {"matplotlib"},
    "ioff": {"matplotlib"},
    "set": {"seaborn"},
    "disable": {"logging"},
    "pandas": {"tqdm"},
    "enable": {"altair"},
}
# Other modules in which a module's settings are visible.
_SEEN_IN = {"seaborn": {"matplotlib"}, "tqdm": {"pandas"}}
# Magics that set something, and the module in which it is visible.
_MAGICS = {"env": "os", "set_env": "os", "config": "matplotlib", "matplotlib": "matplotlib", "precision": "builtins"}
_MAGICS |= {"load_ext": "IPython", "reload_ext": "IPython"}
_SEED = re.compile(r"\w*seed\w*|set_state|setstate")
_GENERATORS = {"numpy": "numpy", "random": "random", "torch": "torch"}
_ALL_GENERATORS = frozenset(_GENERATORS.values())
Fact = TypeVar("Fact")
_Assignment = ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Delete


class ProcessSettings:
    """What the statements of a notebook set in modules, directly or through its imports and functions."""

    def __init__(self, units: Iterable[CodeFragment]) -> None:
        self._imported: dict[str, str] = {}
        self._functions: dict[str, ast.FunctionDef | ast.AsyncFunctionDef] = {}
        self._stars: set[str] = set()
        self._changed_modules: dict[int, frozenset[str] | None] = {}
        self._facts: dict[tuple[str, int], Any] = {}
        self._seeding: dict[ast.AST, frozenset[str]] = {}
        # Functions whose bodies are being read, to stop at recursion.
        self._open_functions: set[str] = set()
        for node in (n for unit in units for top in unit.nodes for n in ast.walk(top)):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    top = alias.name.partition(".")[0]
                    self._imported[alias.asname or top] = alias.name if alias.asname else top
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                self._stars |= {node.module} if any(a.name == "*" for a in node.names) else set()
                self._imported |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
            elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                self._functions[node.name] = node

    def modules(self, unit: CodeFragment) -> frozenset[str] | None:
        """The top-level modules whose settings the unit changes; None if it does anything else."""
        if id(unit) not in self._changed_modules:
            changes = [self._modules_set(node, 0) for node in unit.nodes]
            modules = frozenset[str]().union(*(f for f in changes if f is not None))
            self._changed_modules[id(unit)] = modules if modules and None not in changes else None
        return self._changed_modules[id(unit)]

    def facts(
        self, find: Callable[[CodeFragment, ProcessSettings], Fact], units: Iterable[CodeFragment]
    ) -> Iterator[Fact]:
        """The result of `find` for each unit, computed once."""
        for unit in units:
            key = (find.__name__, id(unit))
            if key not in self._facts:
                self._facts[key] = find(unit, self)
            yield self._facts[key]

    def reached(self, unit: CodeFragment) -> frozenset[str]:
        """The top-level modules that the unit uses, directly or through functions of the notebook."""
        names, todo = set[str](), [*unit.names.reads, *unit.names.through, *unit.names.maybe_reads]
        modules = set(self.modules(unit) or ())
        while todo:
            name = todo.pop()
            if name in names:
                continue
            names.add(name)
            if name in self._functions:
                todo += [n.id for n in ast.walk(self._functions[name]) if isinstance(n, ast.Name)]
            elif name in self._imported:
                top = self._imported[name].partition(".")[0]
                modules |= {top} | _SEEN_IN.get(top, set())
        return frozenset(modules)

    def seeds(self, node: ast.AST) -> frozenset[str]:
        """The generators of random numbers that running the node seeds: `numpy`, `random`, `torch`, `tensorflow`."""
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)):
            return frozenset()
        if node not in self._seeding:
            self._seeding[node] = self._find_seeds(node)
        return self._seeding[node]

    def _find_seeds(self, node: ast.AST) -> frozenset[str]:
        seeds, followed = set[str](), set[str]()
        todo: list[ast.AST] = [node]
        while todo:
            for call in (n for n in ast.walk(todo.pop()) if isinstance(n, ast.Call)):
                name = dotted_name(call.func)
                if name in self._functions and name not in followed:
                    followed.add(name)
                    todo.append(self._functions[name])
                elif name not in followed and name and _SEED.fullmatch(name.rpartition(".")[2]):
                    seeds |= self._seeded(name)
        return frozenset(seeds)

    def full_name(self, node: ast.expr) -> str:
        """The qualified name of an imported name or attribute: `pandas.set_option` for `pd.set_option`; else ""."""
        name = dotted_name(node)
        root, dot, rest = name.partition(".")
        return self._imported[root] + dot + rest if root in self._imported else ""

    def _seeded(self, name: str) -> frozenset[str]:
        root, dot, rest = name.partition(".")
        if root not in self._imported:
            # A method of another generator, unless the function comes from a star import.
            tops = {module.partition(".")[0] for module in self._stars} if not dot else set()
            return frozenset(_GENERATORS[t] for t in tops if t in _GENERATORS)
        qualified = self._imported[root] + dot + rest
        top = qualified.partition(".")[0]
        if top == "numpy":
            return frozenset({"numpy"} if qualified.startswith("numpy.random.") else ())
        if top in ("random", "torch"):
            return frozenset({top})
        if top in ("tensorflow", "keras"):
            return _ALL_GENERATORS | {"tensorflow"} if "set_random_seed" in qualified else frozenset({"tensorflow"})
        # `seed_everything` of a library or of the project may seed all generators.
        return _ALL_GENERATORS

    def _modules_set(self, node: ast.stmt, depth: int) -> frozenset[str] | None:
        """The modules whose settings a statement changes; None if it does anything else."""
        no_modules = frozenset[str]()
        if isinstance(node, (ast.Import, ast.ImportFrom, ast.Pass)):
            return no_modules
        if isinstance(node, ast.Expr):
            return no_modules if isinstance(node.value, ast.Constant) else self._modules_called(node.value, depth)
        if isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Delete)):
            return self._modules_assigned(node, depth)
        if isinstance(node, (ast.If, ast.For, ast.While)):
            return self._modules_set_by_all([*node.body, *node.orelse], depth)
        if isinstance(node, ast.Try):
            inner = [s for handler in node.handlers for s in handler.body]
            return self._modules_set_by_all([*node.body, *inner, *node.orelse, *node.finalbody], depth)
        if depth and isinstance(node, (ast.Return, ast.Global)):
            return no_modules
        return None

    def _modules_set_by_all(self, body: Iterable[ast.stmt], depth: int) -> frozenset[str] | None:
        modules = frozenset[str]()
        for statement in body:
            changed = self._modules_set(statement, depth)
            if changed is None:
                return None
            modules |= changed
        return modules

    def _modules_assigned(self, node: _Assignment, depth: int) -> frozenset[str] | None:
        targets = node.targets if isinstance(node, (ast.Assign, ast.Delete)) else [node.target]
        names = [t for t in targets if isinstance(t, ast.Name)]
        if names:
            value = None if isinstance(node, ast.Delete) else node.value
            if len(names) < len(targets) or value is None:
                return None
            plain = depth and not any(isinstance(n, ast.Call) for n in ast.walk(value))
            return frozenset[str]() if plain else self._modules_called(value, depth)
        tops = {self._top(target) for target in targets}
        return frozenset(tops) if "" not in tops else None

    def _modules_called(self, node: ast.expr, depth: int) -> frozenset[str] | None:
        if not isinstance(node, ast.Call):
            return None
        for method, texts in magic_calls(node):
            module = _MAGICS.get(texts[0]) if method == "run_line_magic" and texts else None
            return frozenset({module}) if module and not (texts[0] == "env" and not texts[1:]) else None
        name = dotted_name(node.func)
        if name in self._functions:
            if name in self._open_functions:
                return frozenset()
            self._open_functions.add(name)
            modules = self._modules_set_by_all(self._functions[name].body, depth + 1)
            self._open_functions.discard(name)
            return modules
        if depth and name == "print":
            return frozenset()
        qualified = self.full_name(node.func) or (name if name.startswith("logging.") else "")
        top, _, rest = qualified.partition(".")
        if not top:
            return None
        if depth and _SEED.fullmatch(name.rpartition(".")[2]) and self._seeded(name):
            return frozenset({top})
        word = rest.rpartition(".")[2]
        if word in _SHORT_NAMES:
            is_setting = top in _SHORT_NAMES[word]
        else:
            is_setting = bool(rest) and (_SETTING.fullmatch(rest) is not None or self._changes(node))
        return frozenset({top}) | _SEEN_IN.get(top, set()) if is_setting else None

    def _changes(self, call: ast.Call) -> bool:
        """Whether the call changes a part of a module: `os.environ.update(...)`, `sys.path.append(...)`."""
        inner = call.func.value if isinstance(call.func, ast.Attribute) else None
        return isinstance(inner, (ast.Attribute, ast.Subscript)) and root_name(inner) in set(changed_roots(call))

    def _top(self, target: ast.expr) -> str:
        """The top-level module that the target is a part of; else ""."""
        inner: ast.expr = target
        while isinstance(inner, (ast.Attribute, ast.Subscript)):
            inner = inner.value
        if isinstance(inner, ast.Call):  # `decimal.getcontext().prec`
            return self.full_name(inner.func).partition(".")[0]
        return self.full_name(inner).partition(".")[0] if inner is not target else ""


def dotted_name(node: ast.expr) -> str:
    """The dotted name of an expression of names and attributes; else ""."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Call) and dotted_name(node.func) == "logging.getLogger":
        return "logging"  # a logger belongs to the process, by its name
    if isinstance(node, ast.Attribute) and (owner := dotted_name(node.value)):
        return f"{owner}.{node.attr}"
    return ""
