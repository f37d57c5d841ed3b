"""Importing ahead what kernels will import, as far as that cannot be told from importing it there."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
import sysconfig
import threading
from collections.abc import Iterable
from pathlib import Path

__all__ = ["UnsafeImportError", "imported_by", "modules_of", "preload", "with_companions"]

# They start threads, or talk to a device, when they are imported or soon after: each kernel imports them itself.
_LEFT_ALONE = frozenset(
    {"cupy", "jax", "mxnet", "polars", "pyspark", "ray", "tensorflow", "torch", "grpc", "numba", "kaleyard"}
)
# What values of these packages need to travel.
_COMPANIONS = {"pandas": ("pyarrow", "pyarrow.parquet"), "sklearn": ("skops.io",)}
# A notebook that sets these means to change what importing does.
_ENVIRONMENT = ("environ", "putenv", "%env", "%set_env", "sys.path", "sys.modules", "find_spec", "import_module")
# Libraries whose threads know of forks (pthread_atfork), and a thread that does, by its name.
_SAFE_LIBRARIES = ("openblas", "libmkl", "libblis")
_SAFE_THREAD = "jemalloc_bg_thd"  # of pyarrow


class UnsafeImportError(Exception):
    """An import that started threads: a fork would copy their locks, but not them."""


def modules_of(sources: Iterable[str], own: Iterable[str] = ()) -> list[str]:
    """The installed modules that this code imports at its top, in its order.

    `own` are top-level names of the project: user's code, which only kernels may run. Code that changes what
    importing does has none.
    """
    sources = list(sources)
    if any(word in source for source in sources for word in _ENVIRONMENT):
        return []
    found: dict[str, None] = {}
    for source in sources:
        for name in _imported(source):
            found.setdefault(name)
    left_alone = _LEFT_ALONE | set(own)
    return [n for n in found if n.partition(".")[0] not in left_alone]


def with_companions(modules: Iterable[str]) -> list[str]:
    """The modules, each once, and then what values of theirs need to travel."""
    every = list(dict.fromkeys(modules))
    tops = dict.fromkeys(n.partition(".")[0] for n in every)
    return [*every, *(m for top in tops for m in _COMPANIONS.get(top, ()))]


def preload(name: str) -> bool:
    """Import a module if it is an installed one, and tell whether it was new.

    One that cannot be imported is left to the kernel that asks for it. Raises UnsafeImportError if it is there now,
    and has started threads.
    """
    if name in sys.modules or not _is_installed(name.partition(".")[0]):
        return False
    threads, libraries = _threads(), _blas()
    try:
        importlib.import_module(name)
    except BaseException:  # noqa: BLE001 - whatever the module raises, even to end the process
        new = False
    else:
        new = True
    if threading.active_count() > 1 or (_threads() > threads and _blas() <= libraries):
        raise UnsafeImportError(f"importing {name} starts threads")
    return new


def imported_by(node: ast.stmt) -> list[str]:
    """The modules that a statement imports, in its order; none if it is no import."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        # What is imported may be a module itself; if it is not, importing it fails, and nothing is lost.
        return [node.module, *(f"{node.module}.{a.name}" for a in node.names if a.name.islower() and a.name != "*")]
    return []


def _imported(source: str) -> list[str]:
    lines = (line if not line.lstrip().startswith(("%", "!")) else "" for line in source.splitlines())
    try:
        body = ast.parse("\n".join(lines)).body
    except SyntaxError:
        return []
    return [name for node in body for name in imported_by(node)]


def _is_installed(top: str) -> bool:
    if top in sys.stdlib_module_names:
        return True
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return False
    places = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
    found = [spec.origin, *(spec.submodule_search_locations or ())] if spec else []
    return any(Path(p).is_relative_to(place) for p in found if p for place in places)


def _threads() -> int:
    """How many threads there are that may not know of forks, this one included."""
    try:
        names = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
    except OSError:
        return threading.active_count()
    return sum(name != _SAFE_THREAD for name in names)


def _blas() -> int:
    """How many libraries with threads of the safe kind are loaded."""
    try:
        maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    files = {line.rpartition(" ")[2] for line in maps.splitlines()}
    return sum(any(name in file for name in _SAFE_LIBRARIES) for file in files)
