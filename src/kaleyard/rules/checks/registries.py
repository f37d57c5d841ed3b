"""The rule about classes and functions that enter a registry when they are defined."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping

from kaleyard.analysis.effects.mutation import changed_roots
from kaleyard.analysis.notebook_analysis import NotebookAnalysis
from kaleyard.errors import Location
from kaleyard.rules.findings import Finding, Rule

__all__ = ["RULES"]

_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
# What runs when a class is defined: of its bases, and of its metaclass.
_OF_BASES = frozenset({"__init_subclass__"})
_OF_METACLASS = frozenset({"__new__", "__init__"})


class RegisteredElsewhere(Rule[NotebookAnalysis]):
    """Tag the cell that makes the registry `functions` too, so that each step has both."""

    code = "KY218"
    title = "definition of a shared cell that is put into a value of a step"
    example = (
        ("names = {}", "step:load"),
        ("def register(made):\n    names[made.__name__] = made\n    return made", "functions"),
        ("@register\ndef double(x):\n    return 2 * x", "functions"),
        ("print(names['double'](2))", "step:show"),
    )

    def check(self, subject: NotebookAnalysis) -> Iterable[Finding]:
        """Decorators, metaclasses and `__init_subclass__` of shared cells that change what a step makes."""
        steps = list(subject.code.values())
        shared = list(dict.fromkeys(u for step in steps for u in step.shared))
        nodes = [n for u in shared for n in u.nodes] + [n for s in steps for _, tree in s.trees for n in tree.body]
        definitions = {n.name: n for n in nodes if isinstance(n, _Definition)}
        kept = {name for unit in shared for name in unit.names.makes | unit.names.may_make}
        makers = {name: step.name for step in steps for name in step.names.makes - kept}
        for unit in shared:
            for node in (n for n in unit.nodes if isinstance(n, _Definition)):
                for name in sorted(_changed_by_defining(node, definitions) & makers.keys()):
                    what = (
                        f"defining `{node.name}` changes `{name}`, which step {makers[name]} makes, and this cell runs "
                        "in each step by itself"
                    )
                    advice = f"Tag the cell that makes `{name}` `functions` too, so that each step has both."
                    yield self.found(Location(subject.notebook.name, unit.cell), what, advice=advice, line=node.lineno)


def _changed_by_defining(node: _Definition, definitions: Mapping[str, _Definition]) -> set[str]:
    """The names around whose values change when the function or class is defined."""
    found = set[str]()
    for decorator in node.decorator_list:
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        made = definitions.get(called.id) if isinstance(called, ast.Name) else None
        if isinstance(made, (ast.FunctionDef, ast.AsyncFunctionDef)):
            # `@register("a")`: what the call gives back is called as well.
            found |= _changed(made, 1 if isinstance(decorator, ast.Call) else 0)
    if isinstance(node, ast.ClassDef):
        for base in _ancestors(node, definitions):
            found |= _changed_by_methods(base, _OF_BASES) if base is not node else set()
            for keyword in base.keywords:
                made = definitions.get(keyword.value.id) if isinstance(keyword.value, ast.Name) else None
                if keyword.arg == "metaclass" and isinstance(made, ast.ClassDef):
                    for meta in _ancestors(made, definitions):
                        found |= _changed_by_methods(meta, _OF_METACLASS)
    return found


def _ancestors(node: ast.ClassDef, definitions: Mapping[str, _Definition]) -> Iterator[ast.ClassDef]:
    """The class and its bases, as far as the notebook defines them."""
    seen: set[int] = set()
    todo = [node]
    while todo:
        one = todo.pop()
        if id(one) not in seen:
            seen.add(id(one))
            yield one
            bases = (definitions.get(b.id) for b in one.bases if isinstance(b, ast.Name))
            todo += [b for b in bases if isinstance(b, ast.ClassDef)]


def _changed_by_methods(node: ast.ClassDef, names: frozenset[str]) -> set[str]:
    methods = (m for m in node.body if isinstance(m, (ast.FunctionDef, ast.AsyncFunctionDef)) and m.name in names)
    return set[str]().union(*(_changed(method, 0) for method in methods))


def _changed(function: ast.FunctionDef | ast.AsyncFunctionDef, levels: int) -> set[str]:
    """The names around a function whose values its body changes, and the bodies of `levels` functions in it."""
    nodes = list(_own_nodes(function))
    args = function.args
    own = {a.arg for a in (*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg) if a}
    own |= {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    found = {name for node in nodes for name in changed_roots(node)}
    if levels:
        inner = (n for n in nodes if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef)))
        found = found.union(*(_changed(f, levels - 1) for f in inner))
    return found - own


def _own_nodes(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[ast.AST]:
    """The nodes of a function's body, without those of the functions and classes in it."""
    todo: list[ast.AST] = [*function.body]
    while todo:
        node = todo.pop()
        yield node
        if not isinstance(node, _SCOPES):
            todo += ast.iter_child_nodes(node)


_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)

RULES: tuple[type[Rule[NotebookAnalysis]], ...] = (RegisteredElsewhere,)
