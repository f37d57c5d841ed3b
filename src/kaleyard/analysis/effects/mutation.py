"""Which variables an expression or statement changes in place, and which names may be the same object."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

__all__ = [
    "DRAWING",
    "GENERATORS",
    "aliases",
    "arguments",
    "bound_names",
    "called_name",
    "changed_part",
    "changed_roots",
    "held_roots",
    "inserted_roots",
    "is_display",
    "is_shallow",
    "iterated_roots",
    "root_name",
    "same_roots",
]

# Methods that change their object, in libraries common in notebooks. A change that is not in this table is detected
# when the step runs: at its end, inputs that a later step also uses are compared.
_CHANGING_METHODS = frozenset(
    "append appendleft extend extendleft insert remove pop popleft popitem clear sort reverse rotate update "
    "setdefault add discard difference_update intersection_update symmetric_difference_update subtract "
    "move_to_end fit partial_fit fit_transform fit_predict set_params fill resize setflags partition "
    "load_state_dict add_module register_buffer load_weights compile writelines "
    "add_node add_nodes_from add_edge add_edges_from add_weighted_edges_from "
    "remove_node remove_nodes_from remove_edge remove_edges_from clear_edges".split()
)
_CONTAINER_METHODS = frozenset(
    "append appendleft extend insert remove pop popleft update setdefault add discard".split()
)
# Functions that change their first argument.
_CHANGING_FUNCTIONS = frozenset(
    "shuffle heappush heappop heapify heapreplace heappushpop insort insort_left insort_right fill_diagonal "
    "copyto place putmask setattr delattr next set_node_attributes set_edge_attributes add_path add_cycle "
    "add_star".split()
)
# Constructors of random generators, and the methods that advance their state.
GENERATORS = frozenset({"default_rng", "RandomState", "Random"})
DRAWING = frozenset(
    "random integers randint rand randn randrange uniform normal standard_normal gauss choice choices sample shuffle "
    "permutation permuted seed binomial poisson exponential multivariate_normal lognormal random_sample".split()
)
# Functions that return the items of their argument, not copies.
_ITEM_PRESERVING = frozenset({"enumerate", "zip", "reversed", "sorted", "list", "tuple", "iter", "filter", "set"})
_VIEWS = frozenset({"items", "values"})


def root_name(node: ast.expr) -> str | None:
    """The variable at the start of an attribute or subscript chain (`df` of `df.loc[x].y`); None if not a name."""
    while isinstance(node, (ast.Attribute, ast.Subscript, ast.Starred)):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


def called_name(func: ast.expr) -> str:
    """The last name of a called expression: `sort` of `rows.sort`; "" if it has none."""
    return func.attr if isinstance(func, ast.Attribute) else func.id if isinstance(func, ast.Name) else ""


def arguments(call: ast.Call) -> Iterator[tuple[int | str, ast.expr]]:
    """The arguments of a call, by position or keyword, without unpacked ones (`*more`, `**more`)."""
    for position, value in enumerate(call.args):
        if isinstance(value, ast.Starred):
            break
        yield position, value
    for keyword in call.keywords:
        if keyword.arg is not None:
            yield keyword.arg, keyword.value


def bound_names(target: ast.expr) -> Iterable[str]:
    """The names that an assignment target binds, not those whose items or attributes it sets."""
    for node in ast.walk(target):
        if isinstance(node, ast.Name) and isinstance(node.ctx, (ast.Store, ast.Del)):
            yield node.id


def changed_roots(node: ast.AST) -> Iterable[str]:
    """The variables that this node changes in place by setting or deleting an item or attribute, or by a call."""
    if isinstance(node, (ast.Attribute, ast.Subscript)) and isinstance(node.ctx, (ast.Store, ast.Del)):
        name = root_name(node)
        if name:
            yield name
    elif isinstance(node, ast.Call):
        yield from _changed_by_call(node)
        # A bound method passed as an argument may be called: `map(rows.append, more)`.
        for argument in (*node.args, *(k.value for k in node.keywords)):
            yield from _bound_method_root(argument)
    elif isinstance(node, ast.Assign):
        yield from _bound_method_root(node.value)


def _bound_method_root(value: ast.expr) -> Iterable[str]:
    if isinstance(value, ast.Attribute) and value.attr in _CONTAINER_METHODS:
        root = root_name(value)
        if root:
            yield root


def _changed_by_call(call: ast.Call) -> Iterable[str]:
    func = call.func
    first = root_name(call.args[0]) if call.args else None
    word = called_name(func)
    if word in _CHANGING_FUNCTIONS and first:
        yield first
        return
    root = root_name(func) if isinstance(func, ast.Attribute) else None
    inplace = any(
        k.arg == "inplace" and not (isinstance(k.value, ast.Constant) and k.value.value is False) for k in call.keywords
    )
    if root and (inplace or word in _CHANGING_METHODS):
        yield root


def is_display(node: ast.expr) -> bool:
    """Whether it is a list, dict or set display or comprehension: `[1]`, `{"a": 1}`, `[x for x in y]`."""
    return isinstance(node, (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp))


def same_roots(value: ast.expr) -> set[str]:
    """The variables whose value, or a part of it, an expression may return: `a`, `a.b`, `a["k"]`, `a or b`."""
    if isinstance(value, ast.BoolOp):
        return {name for part in value.values for name in same_roots(part)}
    if isinstance(value, ast.IfExp):
        return same_roots(value.body) | same_roots(value.orelse)
    if isinstance(value, ast.NamedExpr):
        return same_roots(value.value)
    if isinstance(value, (ast.Name, ast.Attribute, ast.Subscript)) and not _copies(value):
        root = root_name(value)
        return {root} if root else set()
    return set()


def held_roots(value: ast.expr) -> set[str]:
    """The variables whose values a new object holds: `[a, b]`, `{"k": a}`, `Box(a)`, `make_pipeline(a, b)`."""
    if isinstance(value, (ast.List, ast.Tuple, ast.Set)):
        return {name for item in value.elts for name in same_roots(item) | held_roots(item)}
    if isinstance(value, ast.Dict):
        return {name for item in value.values for name in same_roots(item) | held_roots(item)}
    if isinstance(value, ast.Call) and _makes_object(value.func):
        items = [item for _, item in arguments(value)]
        return {name for item in items for name in same_roots(item) | held_roots(item)}
    return set()


def inserted_roots(call: ast.Call) -> set[str]:
    """The variables whose values a method puts into the object it is called on: `rows.append(x)`."""
    if not (isinstance(call.func, ast.Attribute) and call.func.attr in _CONTAINER_METHODS):
        return set()
    return {name for _, item in arguments(call) for name in same_roots(item) | held_roots(item)}


def _makes_object(func: ast.expr) -> bool:
    """Whether the name is that of a class, or of a function that combines objects."""
    word = called_name(func)
    return word[:1].isupper() or word.startswith("make_") or word in {"dict", "partial"}


def is_shallow(node: ast.AST) -> bool:
    """Whether a node changes the items an object holds, not the items' values: `rows.append(x)`, `rows[0] = x`."""
    if isinstance(node, (ast.Attribute, ast.Subscript)):
        return isinstance(node.value, ast.Name)
    if isinstance(node, ast.Call):
        func = node.func
        is_method = isinstance(func, ast.Attribute) and isinstance(func.value, ast.Name)
        return is_method and called_name(func) in _CONTAINER_METHODS
    return False


def iterated_roots(iterated: ast.expr) -> set[str]:
    """The variables whose items a loop over the expression yields: `rows`, `d.items()`, `enumerate(rows)`."""
    if isinstance(iterated, ast.Call):
        func = iterated.func
        if isinstance(func, ast.Name) and func.id in _ITEM_PRESERVING:
            return {name for argument in iterated.args for name in iterated_roots(argument)}
        if isinstance(func, ast.Attribute) and func.attr in _VIEWS:
            return same_roots(func.value)
        return set()
    if isinstance(iterated, (ast.List, ast.Tuple)):
        return {name for item in iterated.elts for name in same_roots(item)}
    return same_roots(iterated)


def aliases(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, set[str]]]:
    """The names that an assignment binds, each with the variables whose value, or a part of it, it may be."""
    pairs = isinstance(target, (ast.Tuple, ast.List)) and isinstance(value, (ast.Tuple, ast.List))
    if pairs and len(target.elts) == len(value.elts):  # type: ignore[attr-defined]
        for inner, part in zip(target.elts, value.elts, strict=True):  # type: ignore[attr-defined]
            yield from aliases(inner, part)
        return
    for name in bound_names(target):
        yield name, same_roots(value)


def _copies(value: ast.expr) -> bool:
    """Whether an index in the chain makes a copy, as selections of frames do.

    `a[:2]` copies a list but is a view of an array; aliases are compared when a step saves both.
    """
    while isinstance(value, (ast.Attribute, ast.Subscript)):
        if isinstance(value, ast.Subscript):
            parts = value.slice.elts if isinstance(value.slice, ast.Tuple) else [value.slice]
            plain = (ast.Constant, ast.Name, ast.UnaryOp, ast.Slice)
            if not all(isinstance(part, plain) for part in parts):
                return True
        value = value.value
    return False


def changed_part(node: ast.AST) -> str | None:
    """The part of a module that a node changes: `os.environ` of `os.environ.update(...)`; None for `np.append(...)`."""
    if isinstance(node, ast.Call):
        inner = node.func.value if isinstance(node.func, ast.Attribute) else None
        return ast.unparse(inner) if isinstance(inner, (ast.Attribute, ast.Subscript)) else None
    if isinstance(node, ast.Subscript):
        return ast.unparse(node.value)
    return ast.unparse(node)
