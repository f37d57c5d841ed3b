"""The rule about classes and functions that are registered when they are defined."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping

from kaleyard.analysis.effects.mutation import changed_roots
from kaleyard.analysis.effects.syntax import local_names
from kaleyard.analysis.notebook_analysis import NotebookAnalysis
from kaleyard.errors import Location
from kaleyard.rules.findings import Finding, Rule

__all__ = ["RULES"]

_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
# The methods of bases and of metaclasses that run when a class is defined.
_OF_BASES = frozenset({"__init_subclass__"})
_OF_METACLASS = frozenset({"__new__", "__init__"})


class RegisteredInStepValue(Rule[NotebookAnalysis]):
    """Tag the cell that creates the registry `functions` too, so that each step has both."""

    code = "KY218"
    title = "shared definition that is registered in a step's value"
    why = (
        "Shared cells run again in each step, before its values are loaded, so the definition would not be registered."
    )
    example = (
        ("names = {}", "step:load"),
        ("def register(made):\n    names[made.__name__] = made\n    return made", "functions"),
        ("@register\ndef double(x):\n    return 2 * x", "functions"),
        ("print(names.get('double')(2))", "step:show"),
    )

    def check(self, subject: NotebookAnalysis) -> Iterable[Finding]:
        """Decorators, metaclasses and `__init_subclass__` of shared cells that change a value of a step."""
        steps = list(subject.code.values())
        shared = list(dict.fromkeys(u for step in steps for u in step.shared))
        nodes = [n for u in shared for n in u.nodes] + [n for s in steps for _, tree in s.trees for n in tree.body]
        definitions = {n.name: n for n in nodes if isinstance(n, _Definition)}
        shared_names = {name for fragment in shared for name in fragment.names.makes | fragment.names.may_make}
        definers = {name: step.name for step in steps for name in step.names.makes - shared_names}
        for fragment in shared:
            for node in (n for n in fragment.nodes if isinstance(n, _Definition)):
                for name in sorted(_changed_by_defining(node, definitions) & definers.keys()):
                    message = (
                        f"defining `{node.name}` changes `{name}`, which step {definers[name]} defines, but this "
                        "cell runs separately in each step"
                    )
                    advice = f"Tag the cell that creates `{name}` `functions` too, so that each step has both."
                    yield self.finding(
                        Location(subject.notebook.name, fragment.cell), message, advice=advice, line=node.lineno
                    )


def _changed_by_defining(node: _Definition, definitions: Mapping[str, _Definition]) -> set[str]:
    """The global names whose values change when the function or class is defined."""
    changed = set[str]()
    for decorator in node.decorator_list:
        function = decorator.func if isinstance(decorator, ast.Call) else decorator
        definition = definitions.get(function.id) if isinstance(function, ast.Name) else None
        if isinstance(definition, (ast.FunctionDef, ast.AsyncFunctionDef)):
            # `@register("a")`: the function that the call returns is called as well.
            changed |= _changed(definition, 1 if isinstance(decorator, ast.Call) else 0)
    if isinstance(node, ast.ClassDef):
        for base in _ancestors(node, definitions):
            changed |= _changed_by_methods(base, _OF_BASES) if base is not node else set()
            for keyword in base.keywords:
                definition = definitions.get(keyword.value.id) if isinstance(keyword.value, ast.Name) else None
                if keyword.arg == "metaclass" and isinstance(definition, ast.ClassDef):
                    for meta in _ancestors(definition, definitions):
                        changed |= _changed_by_methods(meta, _OF_METACLASS)
    return changed


def _ancestors(node: ast.ClassDef, definitions: Mapping[str, _Definition]) -> Iterator[ast.ClassDef]:
    """The class and its bases, as far as the notebook defines them."""
    seen: set[int] = set()
    todo = [node]
    while todo:
        current = todo.pop()
        if id(current) not in seen:
            seen.add(id(current))
            yield current
            bases = (definitions.get(b.id) for b in current.bases if isinstance(b, ast.Name))
            todo += [b for b in bases if isinstance(b, ast.ClassDef)]


def _changed_by_methods(node: ast.ClassDef, names: frozenset[str]) -> set[str]:
    methods = (m for m in node.body if isinstance(m, (ast.FunctionDef, ast.AsyncFunctionDef)) and m.name in names)
    return set[str]().union(*(_changed(method, 0) for method in methods))


def _changed(function: ast.FunctionDef | ast.AsyncFunctionDef, levels: int) -> set[str]:
    """The global names that a function changes, in its body and in nested functions down to `levels`."""
    nodes = list(_own_nodes(function))
    changed = {name for node in nodes for name in changed_roots(node)}
    if levels:
        inner = (n for n in nodes if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef)))
        changed = changed.union(*(_changed(f, levels - 1) for f in inner))
    return changed - local_names(function, nodes)


def _own_nodes(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[ast.AST]:
    """The nodes of a function's body, without those of nested functions and classes."""
    todo: list[ast.AST] = [*function.body]
    while todo:
        node = todo.pop()
        yield node
        if not isinstance(node, _SCOPES):
            todo += ast.iter_child_nodes(node)


_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)

RULES: tuple[type[Rule[NotebookAnalysis]], ...] = (RegisteredInStepValue,)
