"""Evaluates paths in the notebook's code without running it: literals, names, joins, parameters.

A `PathText` is the known part of a path: all of it, or only its start (`f"out/{name}.csv"` starts with "out/").
"""

from __future__ import annotations

import ast
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kaleyard.analysis.process.module_settings import dotted_name

__all__ = ["NO_PATH", "PathText", "PathValues", "plain_value"]

_PATH_CLASSES = frozenset({"Path", "PurePath", "PosixPath", "PurePosixPath"})
# Methods and functions that return the same path, or another form of it.
_SAME = frozenset("resolve absolute expanduser as_posix strip __str__ __fspath__ abspath fspath str normpath".split())
# File-like objects without a path.
_BUFFERS = frozenset({"StringIO", "BytesIO"})
_MAX_LEN = 255


@dataclass(frozen=True, slots=True)
class PathText:
    """A path from the notebook's folder: `text` is all of it if `exact`, else its start."""

    text: str
    exact: bool = True
    is_path: bool = False

    @property
    def spec(self) -> str:
        """The normalized path, with a final `*` if only its start is known; "" if it is not a relative path."""
        text = self.text
        if len(text) > _MAX_LEN or "\n" in text or "\0" in text or "://" in text or text.startswith(("/", "~", "\\")):
            return ""
        wild = next((i for i, c in enumerate(text) if c in "*?["), None)
        exact, text = self.exact and wild is None, text if wild is None else text[:wild]
        if exact:
            return posixpath.normpath(text) if text.strip() else ""
        folder, slash, rest = text.rpartition("/")
        # "a/../b*" must match "b/c".
        folder = posixpath.normpath(folder) if slash else ""
        return f"{'' if folder in ('', '.') else folder + '/'}{rest}*"

    def __add__(self, other: PathText | None) -> PathText:
        """The concatenation of both texts."""
        if not self.exact or other is None:
            return PathText(self.text, False, self.is_path)
        return PathText(self.text + other.text, other.exact, self.is_path)

    def joined(self, part: PathText | None) -> PathText:
        """The path `self / part`."""
        if not self.exact:
            return PathText(self.text, False, True)
        if part is not None and part.text.startswith("/"):
            return PathText(part.text, part.exact, True)
        start = self.text.rstrip("/") + "/" if self.text else ""
        return PathText(start + (part.text if part else ""), part is not None and part.exact, True)


# A value that is read or written but is not a path.
NO_PATH = object()


@dataclass(slots=True)
class PathValues:
    """The paths that names of the notebook hold: strings, dicts and lists of strings, classes with strings."""

    names: dict[str, Any] = field(default_factory=dict)

    def with_parameters(self, parameters: Mapping[str, Any]) -> PathValues:
        """A copy that also has the values of a function's parameters."""
        return PathValues({**self.names, **parameters})

    def learn(self, node: ast.stmt) -> None:
        """Record the values that a statement assigns."""
        if isinstance(node, ast.Assign):
            value = self.value(node.value)
            for target in node.targets:
                self._bind(target, value, node.value)
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            self._bind(node.target, self.value(node.value), node.value)
        elif isinstance(node, ast.ClassDef):
            inner = PathValues(dict(self.names))
            for statement in node.body:
                inner.learn(statement)
            own = {n for s in node.body for n in _targets(s)}
            self.names[node.name] = {n: inner.names.get(n) for n in own}
        elif isinstance(node, (ast.With, ast.AsyncWith)):
            for item in node.items:
                if item.optional_vars is not None:
                    self._bind(item.optional_vars, NO_PATH, item.context_expr)
            for statement in node.body:
                self.learn(statement)
        elif isinstance(node, (ast.For, ast.AsyncFor)):
            self._bind(node.target, self._items(node.iter), node.iter)
            for statement in node.body:
                self.learn(statement)
        elif isinstance(node, (ast.If, ast.Try, ast.While)):
            for statement in [*node.body, *node.orelse]:
                self.learn(statement)

    def value(self, node: ast.expr) -> Any:
        """The value of an expression: PathText, a dict or list of these, NO_PATH, or None if unknown."""
        if isinstance(node, ast.Constant):
            return PathText(node.value) if isinstance(node.value, str) else NO_PATH
        if isinstance(node, ast.Name):
            return self.names.get(node.id)
        if isinstance(node, ast.JoinedStr):
            return self._formatted(node)
        if isinstance(node, (ast.BinOp, ast.Call)):
            return self._operation(node) if isinstance(node, ast.BinOp) else self._call(node)
        if isinstance(node, (ast.Subscript, ast.Attribute)):
            return self._member(node)
        if isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values, strict=True)
            return {k.value: self.value(v) for k, v in pairs if isinstance(k, ast.Constant)}
        if isinstance(node, (ast.List, ast.Tuple)):
            return [self.value(item) for item in node.elts]
        if isinstance(node, ast.IfExp):
            return self.value(node.body) or self.value(node.orelse)
        return None

    def text(self, node: ast.expr) -> PathText | None:
        """The path value of an expression; None for anything else."""
        value = self.value(node)
        return value if isinstance(value, PathText) else None

    def _bind(self, target: ast.expr, value: Any, node: ast.expr) -> None:
        if isinstance(target, ast.Name):
            self.names[target.id] = value
        elif isinstance(target, (ast.Tuple, ast.List)):
            parts = value if isinstance(value, list) and len(value) == len(target.elts) else [None] * len(target.elts)
            for inner, part in zip(target.elts, parts, strict=True):
                self._bind(inner, part, node)
        elif isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name):
            holder = self.names.get(target.value.id)
            if isinstance(holder, dict) and isinstance(target.slice, ast.Constant):
                self.names[target.value.id] = {**holder, target.slice.value: value}

    def _items(self, node: ast.expr) -> Any:
        """The value of a loop variable if all items share it: the paths in a folder; else None."""
        value = self.value(node)
        if isinstance(value, PathText) and isinstance(node, ast.Call):
            return value  # of `folder.glob("*.csv")`, `glob.glob("out/*")`
        return None

    def _formatted(self, node: ast.JoinedStr) -> PathText:
        text = PathText("")
        for part in node.values:
            expression = part.value if isinstance(part, ast.FormattedValue) else part
            value = self.value(expression)
            text += value if isinstance(value, PathText) else None
        return text

    def _operation(self, node: ast.BinOp) -> PathText | None:
        left, right = self.value(node.left), self.value(node.right)
        left = left if isinstance(left, PathText) else None
        right = right if isinstance(right, PathText) else None
        if isinstance(node.op, ast.Div) and left is not None:
            return left.joined(right)
        if isinstance(node.op, ast.Add) and left is not None:
            return left + right
        if isinstance(node.op, ast.Mod) and left is not None:  # "out/%s.csv" % name
            return PathText(left.text.partition("%")[0], False, left.is_path)
        return None

    def _call(self, node: ast.Call) -> Any:
        name = dotted_name(node.func)
        word = node.func.attr if isinstance(node.func, ast.Attribute) else name
        owner = self.value(node.func.value) if isinstance(node.func, ast.Attribute) else None
        if word in _BUFFERS or word == "open":
            return NO_PATH
        if isinstance(self.names.get(name), dict):
            return self.names[name]  # an instance of a class that holds strings
        values = [self.value(a) for a in node.args]
        texts = [g if isinstance(g, PathText) else None for g in values]
        if isinstance(owner, PathText):
            return self._method(owner, word, texts)
        if word in _PATH_CLASSES or word in ("join", "joinpath"):
            path = texts[0] if texts else PathText("." if word in _PATH_CLASSES else "")
            for part in texts[1:]:
                path = path.joined(part) if path is not None else None
            return PathText(path.text, path.exact, True) if path is not None else None
        if word in _SAME and texts:
            return texts[0]
        if word in ("glob", "iglob", "listdir", "scandir") and texts and texts[0] is not None:
            start = texts[0]
            return start if word.endswith("glob") else PathText(start.text.rstrip("/") + "/", False, True)
        if word in ("cwd", "getcwd"):
            return PathText("", True, True)
        return None

    def _method(self, owner: PathText, word: str, texts: list[PathText | None]) -> Any:
        if word in _SAME or word in ("sorted", "lower"):
            return owner
        if word in ("glob", "rglob", "iterdir"):
            inner = texts[0] if texts and word == "glob" else None
            joined = owner.joined(inner)
            return joined if inner is not None else PathText(joined.text, False, True)
        if word == "joinpath":
            for more in texts:
                owner = owner.joined(more)
            return owner
        if word in ("with_suffix", "with_name", "with_stem"):
            folder, slash, rest = owner.text.rpartition("/")
            stem = rest.rpartition(".")[0] or rest
            if word == "with_suffix" and texts and texts[0] is not None:
                return PathText(folder + slash + stem + texts[0].text, owner.exact and texts[0].exact, True)
            return PathText(folder + slash, False, True)
        if word == "format":
            return PathText(owner.text.partition("{")[0], False, owner.is_path)
        if word == "replace":
            return PathText(owner.text.rpartition("/")[0] + "/" if "/" in owner.text else "", False, owner.is_path)
        return None

    def _member(self, node: ast.Subscript | ast.Attribute) -> Any:
        owner = self.value(node.value)
        if isinstance(node, ast.Attribute):
            if isinstance(owner, PathText) and node.attr == "parent":
                return PathText(posixpath.dirname(owner.text.rstrip("/")) or ".", owner.exact, True)
            return owner.get(node.attr) if isinstance(owner, dict) else None
        key = node.slice.value if isinstance(node.slice, ast.Constant) else None
        if isinstance(owner, dict):
            return owner.get(key)
        if isinstance(owner, list) and isinstance(key, int) and -len(owner) <= key < len(owner):
            return owner[key]
        return None


def plain_value(value: object) -> Any:
    """The value of a parameter as `PathValues` stores it."""
    if isinstance(value, str):
        return PathText(value)
    if isinstance(value, dict):
        return {k: plain_value(v) for k, v in value.items()}
    return [plain_value(v) for v in value] if isinstance(value, list) else NO_PATH


def _targets(node: ast.stmt) -> set[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return {t.id for t in targets if isinstance(t, ast.Name)}
