"""Statements that set something for the whole process: options, environment variables, warning filters, seeds.

Such a statement binds no value that could travel, so it goes along itself: to every later step that can see what it
sets. Which module it sets is read off its code, through the notebook's own functions.
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

# Calls that set what a module does from then on, by what stands behind the module's name.
_SETTING = re.compile(
    r"(?:.+\.)?(?:set_option|reset_option|rc|rcdefaults|rc_file|rcParams\.update|style\.use|use|ion|ioff|"
    r"switch_backend|set_theme|set_style|set_palette|set_context|set_color_codes|reset_defaults|reset_orig|seterr|"
    r"set_printoptions|set_string_function|set_default_dtype|set_default_device|set_default_tensor_type|"
    r"set_grad_enabled|use_deterministic_algorithms|set_float32_matmul_precision|filterwarnings|simplefilter|"
    r"resetwarnings|basicConfig|setLevel|setlocale|set_num_threads|setrecursionlimit|set_config|set_log_level|"
    r"set_verbosity|set_matplotlib_formats|set_matplotlib_close|register_matplotlib_converters|putenv|unsetenv|chdir|"
    r"Config\.(?:set_\w+|load|restore_defaults)|tzset|setcontext|progress_apply|init_notebook_mode|captureWarnings|int_max_str_digits)"
)
# Names too short to be settings of any module but these.
_OWN_WORDS = {
    "use": {"matplotlib"},
    "rc": {"matplotlib"},
    "ion": {"matplotlib"},
    "ioff": {"matplotlib"},
    "set": {"seaborn"},
    "disable": {"logging"},
    "pandas": {"tqdm"},
    "enable": {"altair"},
}
# What the settings of a module are seen in, beside itself.
_ALSO = {"seaborn": {"matplotlib"}, "tqdm": {"pandas"}}
# Magics that set something, and the module it is seen in.
_MAGICS = {"env": "os", "set_env": "os", "config": "matplotlib", "matplotlib": "matplotlib", "precision": "builtins"}
_MAGICS |= {"load_ext": "IPython", "reload_ext": "IPython"}
_SEED = re.compile(r"\w*seed\w*|set_state|setstate")
_GENERATORS = {"numpy": "numpy", "random": "random", "torch": "torch"}
_ALL = frozenset(_GENERATORS.values())
Found = TypeVar("Found")
_Assignment = ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Delete


class ProcessSettings:
    """What the statements of a notebook set in modules, read with its imports and functions in view."""

    def __init__(self, units: Iterable[CodeFragment]) -> None:
        self._imported: dict[str, str] = {}
        self._functions: dict[str, ast.FunctionDef | ast.AsyncFunctionDef] = {}
        self._stars: set[str] = set()
        self._known: dict[int, frozenset[str] | None] = {}
        self._facts: dict[tuple[str, int], Any] = {}
        self._seeding: dict[ast.AST, frozenset[str]] = {}
        # Functions whose bodies are being read: one may call itself.
        self._inside: set[str] = set()
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
        """The top-level modules that the unit sets something of, and does nothing else; None for any other code."""
        if id(unit) not in self._known:
            found = [self._set(node, 0) for node in unit.nodes]
            touched = frozenset[str]().union(*(f for f in found if f is not None))
            self._known[id(unit)] = touched if touched and None not in found else None
        return self._known[id(unit)]

    def known(
        self, find: Callable[[CodeFragment, ProcessSettings], Found], units: Iterable[CodeFragment]
    ) -> Iterator[Found]:
        """What `find` tells of each unit, found once."""
        for unit in units:
            key = (find.__name__, id(unit))
            if key not in self._facts:
                self._facts[key] = find(unit, self)
            yield self._facts[key]

    def reached(self, unit: CodeFragment) -> frozenset[str]:
        """The top-level modules that the unit uses, itself or through functions of the notebook."""
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
                modules |= {top} | _ALSO.get(top, set())
        return frozenset(modules)

    def seeds(self, node: ast.AST) -> frozenset[str]:
        """The generators of random numbers that running the node seeds: `numpy`, `random`, `torch`, `tensorflow`."""
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)):
            return frozenset()
        if node not in self._seeding:
            self._seeding[node] = self._find_seeds(node)
        return self._seeding[node]

    def _find_seeds(self, node: ast.AST) -> frozenset[str]:
        found, called = set[str](), set[str]()
        todo: list[ast.AST] = [node]
        while todo:
            for call in (n for n in ast.walk(todo.pop()) if isinstance(n, ast.Call)):
                name = dotted_name(call.func)
                if name in self._functions and name not in called:
                    called.add(name)
                    todo.append(self._functions[name])
                elif name not in called and name and _SEED.fullmatch(name.rpartition(".")[2]):
                    found |= self._seeded(name)
        return frozenset(found)

    def full_name(self, node: ast.expr) -> str:
        """What a name or attribute stands for by the imports: `pandas.set_option` of `pd.set_option`; else ""."""
        name = dotted_name(node)
        root, dot, rest = name.partition(".")
        return self._imported[root] + dot + rest if root in self._imported else ""

    def _seeded(self, name: str) -> frozenset[str]:
        root, dot, rest = name.partition(".")
        if root not in self._imported:
            # A method of some generator of the notebook's own, unless a star import gave the function.
            tops = {module.partition(".")[0] for module in self._stars} if not dot else set()
            return frozenset(_GENERATORS[t] for t in tops if t in _GENERATORS)
        full = self._imported[root] + dot + rest
        top = full.partition(".")[0]
        if top == "numpy":
            return frozenset({"numpy"} if full.startswith("numpy.random.") else ())
        if top in ("random", "torch"):
            return frozenset({top})
        if top in ("tensorflow", "keras"):
            return _ALL | {"tensorflow"} if "set_random_seed" in full else frozenset({"tensorflow"})
        # `seed_everything` of some library or of the project's own: it may seed all there are.
        return _ALL

    def _set(self, node: ast.stmt, depth: int) -> frozenset[str] | None:
        """The modules that a statement sets something of; None if it does anything else."""
        nothing = frozenset[str]()
        if isinstance(node, (ast.Import, ast.ImportFrom, ast.Pass)):
            return nothing
        if isinstance(node, ast.Expr):
            return nothing if isinstance(node.value, ast.Constant) else self._called(node.value, depth)
        if isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Delete)):
            return self._assigned(node, depth)
        if isinstance(node, (ast.If, ast.For, ast.While)):
            return self._all([*node.body, *node.orelse], depth)
        if isinstance(node, ast.Try):
            inner = [s for handler in node.handlers for s in handler.body]
            return self._all([*node.body, *inner, *node.orelse, *node.finalbody], depth)
        if depth and isinstance(node, (ast.Return, ast.Global)):
            return nothing
        return None

    def _all(self, body: Iterable[ast.stmt], depth: int) -> frozenset[str] | None:
        found = frozenset[str]()
        for statement in body:
            touched = self._set(statement, depth)
            if touched is None:
                return None
            found |= touched
        return found

    def _assigned(self, node: _Assignment, depth: int) -> frozenset[str] | None:
        targets = node.targets if isinstance(node, (ast.Assign, ast.Delete)) else [node.target]
        names = [t for t in targets if isinstance(t, ast.Name)]
        if names:
            value = None if isinstance(node, ast.Delete) else node.value
            if len(names) < len(targets) or value is None:
                return None
            plain = depth and not any(isinstance(n, ast.Call) for n in ast.walk(value))
            return frozenset[str]() if plain else self._called(value, depth)
        tops = {self._top(target) for target in targets}
        return frozenset(tops) if "" not in tops else None

    def _called(self, node: ast.expr, depth: int) -> frozenset[str] | None:
        if not isinstance(node, ast.Call):
            return None
        for method, texts in magic_calls(node):
            module = _MAGICS.get(texts[0]) if method == "run_line_magic" and texts else None
            return frozenset({module}) if module and not (texts[0] == "env" and not texts[1:]) else None
        name = dotted_name(node.func)
        if name in self._functions:
            if name in self._inside:
                return frozenset()
            self._inside.add(name)
            touched = self._all(self._functions[name].body, depth + 1)
            self._inside.discard(name)
            return touched
        if depth and name == "print":
            return frozenset()
        full = self.full_name(node.func) or (name if name.startswith("logging.") else "")
        top, _, rest = full.partition(".")
        if not top:
            return None
        if depth and _SEED.fullmatch(name.rpartition(".")[2]) and self._seeded(name):
            return frozenset({top})
        word = rest.rpartition(".")[2]
        if word in _OWN_WORDS:
            known = top in _OWN_WORDS[word]
        else:
            known = bool(rest) and (_SETTING.fullmatch(rest) is not None or self._changes(node))
        return frozenset({top}) | _ALSO.get(top, set()) if known else None

    def _changes(self, call: ast.Call) -> bool:
        """Whether the call changes a part of a module: `os.environ.update(...)`, `sys.path.append(...)`."""
        inner = call.func.value if isinstance(call.func, ast.Attribute) else None
        return isinstance(inner, (ast.Attribute, ast.Subscript)) and root_name(inner) in set(changed_roots(call))

    def _top(self, target: ast.expr) -> str:
        """The top-level module a part of which the target is; else ""."""
        inner: ast.expr = target
        while isinstance(inner, (ast.Attribute, ast.Subscript)):
            inner = inner.value
        if isinstance(inner, ast.Call):  # `decimal.getcontext().prec`
            return self.full_name(inner.func).partition(".")[0]
        return self.full_name(inner).partition(".")[0] if inner is not target else ""


def dotted_name(node: ast.expr) -> str:
    """The dotted name that an expression of names and attributes is; else ""."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Call) and dotted_name(node.func) == "logging.getLogger":
        return "logging"  # a logger is the process's, by its name
    if isinstance(node, ast.Attribute) and (before := dotted_name(node.value)):
        return f"{before}.{node.attr}"
    return ""
