"""Finds which files the notebook's code reads and writes, without running it.

A use has a `spec`: a path from the notebook's folder, `out/*` for paths that start with "out/", `*` if the path is
unknown.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from kaleyard.analysis.effects.mutation import called_name
from kaleyard.analysis.effects.syntax import blocks, header, own_expressions
from kaleyard.analysis.files.file_calls import (
    BOTH,
    FILE,
    KEYWORDS,
    KNOWN,
    LOOSE_READERS,
    MAKERS,
    MODE,
    MOVERS,
    OPENERS,
    READERS,
    REMOVERS,
    WRITERS,
)
from kaleyard.analysis.files.file_paths import NO_PATH, PathText, PathValues
from kaleyard.analysis.process.module_settings import dotted_name
from kaleyard.notebook.magics import magic_calls

__all__ = ["ANY", "FileUse", "FileUses"]

ANY = "*"
_MAX_DEPTH = 4
_BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.Try, ast.With, ast.AsyncWith)
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class FileUse:
    """A use of a file or folder; `sure` if it is on every path, `folder` if it creates a folder."""

    spec: str
    cell: int
    line: int
    reads: bool = False
    writes: bool = False
    folder: bool = False
    sure: bool = False


@dataclass(slots=True)
class FileUses:
    """Finds uses of files; records the notebook's functions and values on the way."""

    values: PathValues = field(default_factory=PathValues)
    functions: dict[str, Function] = field(default_factory=dict)
    methods: dict[str, list[Function]] = field(default_factory=dict)
    cell: int = 0
    _uses: list[FileUse] = field(default_factory=list)
    _depth: int = 0
    _inlined: set[tuple[Any, ...]] = field(default_factory=set)
    _called_names: dict[Function, set[str]] = field(default_factory=dict)

    def learn(self, nodes: Iterable[ast.stmt]) -> None:
        """Record definitions and values without searching for uses."""
        for node in nodes:
            self._define(node)
            self.values.learn(node)

    def of(self, cell: int, nodes: Iterable[ast.stmt]) -> list[FileUse]:
        """The uses of files in a sequence of statements."""
        self.cell, self._uses, self._inlined = cell, [], set()
        self._block(nodes, sure=True)
        return self._uses

    def _block(self, nodes: Iterable[ast.stmt], *, sure: bool) -> None:
        for node in nodes:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                self._define(node)
                self.values.learn(node)
                continue
            is_block = isinstance(node, _BLOCKS)
            for expression in own_expressions(node):
                self._expression(expression, sure=sure)
            if not is_block:
                self.values.learn(node)
                continue
            if (head := header(node)) is not None:
                self.values.learn(head)
            always = sure and isinstance(node, (ast.With, ast.AsyncWith))
            for body in blocks(node):
                self._block(body, sure=always)

    def _define(self, node: ast.stmt) -> None:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            self.functions[node.name] = node
        elif isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    self.methods.setdefault(inner.name, []).append(inner)
            self.functions.pop(node.name, None)

    def _expression(self, node: ast.expr, *, sure: bool) -> None:
        for method, texts in magic_calls(node):
            self._magic(method, texts, node)
        for call in (n for n in ast.walk(node) if isinstance(n, ast.Call)):
            self._call(call, sure=sure)

    # Calls

    def _call(self, call: ast.Call, *, sure: bool) -> None:
        name = dotted_name(call.func)
        word = call.func.attr if isinstance(call.func, ast.Attribute) else name
        own = self.functions.get(name)
        if own is not None:
            self._inline(own, call, sure=sure)
            return
        owner = self.values.value(call.func.value) if isinstance(call.func, ast.Attribute) else None
        if word in OPENERS:
            self._open(call, owner, word, sure=sure)
        elif word in self.methods and not isinstance(owner, PathText):
            for method in self.methods[word][:3]:
                self._inline(method, call, sure=False, method=True)
        elif word in MAKERS:
            self._add_use(self._path(call, owner), call, folder=True, writes=True, sure=sure)
        elif word in REMOVERS:
            if isinstance(owner, PathText) or name.startswith(("os.", "shutil.")) or "." not in name:
                self._add_use(self._path(call, owner), call, reads=True, writes=True)
        elif word in MOVERS:
            self._move(call, owner, name)
        elif word in BOTH:
            self._add_use(self._path(call, owner), call, reads=True, writes=True)
        elif WRITERS.fullmatch(word):
            self._write(call, owner, word, sure=sure)
        elif word == "basicConfig" or READERS.fullmatch(word):
            self._read(call, owner, word)
        elif isinstance(call.func, ast.Attribute) and "." in name:
            self._unknown_call(call)

    def _open(self, call: ast.Call, owner: Any, word: str, *, sure: bool) -> None:
        values = [self.values.value(a) for a in call.args]
        modes = {k.arg: self.values.value(k.value) for k in call.keywords}
        first = values[0] if values else modes.get("file") or modes.get("name")
        is_mode = isinstance(first, PathText) and MODE.fullmatch(first.text) is not None
        method = isinstance(call.func, ast.Attribute) and word == "open"
        if method and (isinstance(owner, PathText) or not values or is_mode):
            path, mode = (owner if isinstance(owner, PathText) else None), (first if is_mode else modes.get("mode"))
            if owner is NO_PATH or (not isinstance(owner, PathText) and not is_mode):
                return  # a file in an archive, a page in a browser
        else:
            path, mode = first, values[1] if len(values) > 1 else modes.get("mode")
        mode_text = mode.text if isinstance(mode, PathText) else "r"
        spec = self._spec(path)
        if path is not NO_PATH and not isinstance(path, (int, list)):
            writes = any(c in mode_text for c in "wax+")
            reads = not writes or any(c in mode_text for c in "ra+")
            self._add_use(spec, call, reads=reads, writes=writes, sure=sure)

    def _write(self, call: ast.Call, owner: Any, word: str, *, sure: bool) -> None:
        if isinstance(owner, PathText) and word in ("write_text", "write_bytes", "touch"):
            self._add_use(self._spec(owner), call, reads=word == "touch", writes=True, sure=sure)
            return
        arguments = [*call.args, *(k.value for k in call.keywords if k.arg in KEYWORDS)]
        values = [self.values.value(a) for a in arguments]
        path = next((v for v in values if isinstance(v, PathText) and _looks_like_path(v)), None)
        path = path or next((v for v in values[:1] if isinstance(v, PathText)), None)
        if path is not None:
            spec = self._spec(path)
            # `np.save("x", a)` and `savefig("x")` write "x.npy" and "x.png".
            no_suffix = path.exact and not FILE.search(path.text) and spec not in ("", ANY)
            self._add_use(f"{spec}*" if no_suffix else spec, call, writes=True, sure=sure)
            return
        pairs = list(zip(values, arguments, strict=True))
        if None not in values or any(v is NO_PATH and not isinstance(a, ast.Constant) for v, a in pairs):
            return  # the argument is unknown, or is an open file
        if word not in ("save", "dump") or len(pairs) in (1, 2):
            self._add_use(ANY, call, writes=True)

    def _read(self, call: ast.Call, owner: Any, word: str) -> None:
        if isinstance(owner, PathText) and (not call.args or word in ("glob", "rglob")):
            joined = self.values.value(call) if word in ("glob", "rglob", "iterdir") else owner
            self._add_use(self._spec(joined), call, reads=True)
            return
        if word == "basicConfig":
            path = next((self.values.value(k.value) for k in call.keywords if k.arg == "filename"), NO_PATH)
            if path is not NO_PATH:
                self._add_use(self._spec(path), call, reads=True, writes=True)
            return
        first = call.args[0] if call.args else next((k.value for k in call.keywords if k.arg in KEYWORDS), None)
        value = self.values.value(first) if first is not None else NO_PATH
        if first is None and isinstance(call.func, ast.Attribute) and owner is None:
            # `path.exists()` with an unknown path.
            strict = word in ("read_text", "read_bytes", "iterdir", "exists", "is_file", "is_dir")
            value = None if strict else NO_PATH
        if isinstance(value, PathText):
            if word in ("listdir", "scandir", "walk") and value.exact:
                value = PathText(value.text.rstrip("/") + "/", False, True)
            if word not in LOOSE_READERS or _looks_like_path(value):
                self._add_use(self._spec(value), call, reads=True)
        elif value is None:
            known = word not in LOOSE_READERS or dotted_name(call.func) in ("np.load", "numpy.load", "joblib.load")
            self._add_use(ANY if known else "", call, reads=True)

    def _move(self, call: ast.Call, owner: Any, name: str) -> None:
        values = [self.values.value(a) for a in call.args]
        if isinstance(owner, PathText) and values:
            values = [owner, *values]
        elif not name.startswith(("shutil.", "os.")):
            return
        for position, value in enumerate(values[:2]):
            self._add_use(
                self._spec(value), call, reads=position == 0, writes=position == 1 or "move" in name or "re" in name
            )

    def _unknown_call(self, call: ast.Call) -> None:
        """A call of an unknown function, which may read and write the paths it gets."""
        for value in [self.values.value(a) for a in call.args] + [self.values.value(k.value) for k in call.keywords]:
            if isinstance(value, PathText) and value.is_path and self._spec(value) not in (ANY, "", "."):
                self._add_use(self._spec(value), call, reads=True, writes=True)

    def _inline(self, function: Function, call: ast.Call, *, sure: bool, method: bool = False) -> None:
        """Find the uses in a function's body, with the arguments of this call."""
        if self._depth >= _MAX_DEPTH:
            return
        names = [a.arg for a in (*function.args.posonlyargs, *function.args.args)][1 if method else 0 :]
        defaults = function.args.defaults
        bound = {n: self.values.value(d) for n, d in zip(names[len(names) - len(defaults) :], defaults, strict=False)}
        bound |= {n: self.values.value(a) for n, a in zip(names, call.args, strict=False)}
        bound |= {k.arg: self.values.value(k.value) for k in call.keywords if k.arg}
        # A function called again with the same paths uses the same files.
        key = (id(function), sure, tuple(sorted((n, v.spec) for n, v in bound.items() if isinstance(v, PathText))))
        if key in self._inlined or not self._may_use_files(function):
            return
        self._inlined.add(key)
        outer, functions = self.values, dict(self.functions)
        self.values = outer.with_parameters(dict.fromkeys(names) | bound)
        self._depth += 1
        self._block(function.body, sure=sure)
        self._depth -= 1
        self.values, self.functions = outer, functions

    def _may_use_files(self, function: Function) -> bool:
        """Whether a function's body may use a file, directly or through functions it calls."""
        seen, todo = set[str](), list(self._called_names.get(function) or self._names_called_in(function))
        while todo:
            word = todo.pop()
            if word in KNOWN or WRITERS.fullmatch(word) or READERS.fullmatch(word) or word == "run_cell_magic":
                return True
            inner = [self.functions[word]] if word in self.functions else self.methods.get(word, [])
            if word not in seen:
                seen.add(word)
                todo += (n for f in inner for n in self._called_names.get(f) or self._names_called_in(f))
        return False

    def _names_called_in(self, function: Function) -> set[str]:
        self._called_names[function] = {called_name(n.func) for n in ast.walk(function) if isinstance(n, ast.Call)}
        return self._called_names[function]

    def _magic(self, method: str, texts: list[str], node: ast.expr) -> None:
        if method == "run_cell_magic" and texts[:1] == ["writefile"] and len(texts) > 1:
            words = [w for w in texts[1].split() if not w.startswith("-")]
            append = "-a" in texts[1].split()
            for word in words[:1]:
                self._add_use(PathText(word).spec, node, reads=append, writes=True, sure=True)
        elif method in ("system", "getoutput"):
            words = " ".join(texts).split()
            for before, word in zip(["", *words], words, strict=False):
                spec = PathText(word.lstrip(">")).spec
                if (word.startswith(">") and len(word.strip(">"))) or before in (">", ">>"):
                    self._add_use(spec, node, writes=True)
                elif not word.startswith("-") and ("/" in word or FILE.search(word)):
                    self._add_use(spec, node, reads=True)

    # Specs

    def _path(self, call: ast.Call, owner: Any) -> str:
        if isinstance(owner, PathText):
            return self._spec(owner)
        first = call.args[0] if call.args else next((k.value for k in call.keywords if k.arg in KEYWORDS), None)
        return self._spec(self.values.value(first)) if first is not None else ""

    @staticmethod
    def _spec(value: Any) -> str:
        if isinstance(value, PathText):
            return value.spec
        return "" if value is NO_PATH or isinstance(value, (dict, list)) else ANY

    def _add_use(self, spec: str, node: ast.expr, **flags: bool) -> None:
        if spec and spec != ":memory:":
            line = getattr(node, "lineno", 1)
            self._uses.append(FileUse(spec, self.cell, line, **flags))


def _looks_like_path(value: PathText) -> bool:
    return value.is_path or "/" in value.text or bool(FILE.search(value.text)) or not value.exact
