"""Preloads modules that kernels will import, where the result is the same as importing them in the kernel."""

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

# These start threads or access a device at import or soon after, so each kernel imports them itself.
_NOT_PRELOADED = frozenset(
    {"cupy", "jax", "mxnet", "polars", "pyspark", "ray", "tensorflow", "torch", "grpc", "numba", "kaleyard"}
)
# Modules that are needed to save and load values of these packages.
_COMPANIONS = {"pandas": ("pyarrow", "pyarrow.parquet"), "sklearn": ("skops.io",)}
# Code with these words may change how imports work.
_CHANGES_IMPORTS = ("environ", "putenv", "%env", "%set_env", "sys.path", "sys.modules", "find_spec", "import_module")
# Libraries whose threads handle forks (pthread_atfork), and the name of such a thread.
_SAFE_LIBRARIES = ("openblas", "libmkl", "libblis")
_SAFE_THREAD = "jemalloc_bg_thd"  # of pyarrow


class UnsafeImportError(Exception):
    """An import started threads: a fork would copy their locks, but not the threads."""


def modules_of(sources: Iterable[str], own: Iterable[str] = ()) -> list[str]:
    """The installed modules that the code imports at top level, in order; none if it may change how imports work.

    `own` are top-level modules of the project: user code, which only kernels may run.
    """
    sources = list(sources)
    if any(word in source for source in sources for word in _CHANGES_IMPORTS):
        return []
    names = dict.fromkeys(name for source in sources for name in _imported(source))
    excluded = _NOT_PRELOADED | set(own)
    return [n for n in names if n.partition(".")[0] not in excluded]


def with_companions(modules: Iterable[str]) -> list[str]:
    """The modules without duplicates, and those that are needed to save and load their values."""
    unique = list(dict.fromkeys(modules))
    tops = dict.fromkeys(n.partition(".")[0] for n in unique)
    return [*unique, *(m for top in tops for m in _COMPANIONS.get(top, ()))]


def preload(name: str) -> bool:
    """Import an installed module; return whether this imported anything new.

    Import errors are left to the kernel that imports the module. Raises UnsafeImportError if the import has started
    threads.
    """
    if name in sys.modules or not _is_installed(name.partition(".")[0]):
        return False
    threads, libraries = _threads(), _blas()
    try:
        importlib.import_module(name)
    except BaseException:  # noqa: BLE001 - the module may raise anything, even SystemExit
        new = False
    else:
        new = True
    if threading.active_count() > 1 or (_threads() > threads and _blas() <= libraries):
        raise UnsafeImportError(f"importing {name} starts threads")
    return new


def imported_by(node: ast.stmt) -> list[str]:
    """The modules that a statement imports, in order; none if it is not an import."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        # An imported name may be a submodule; if it is not, preloading it fails without harm.
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
    folders = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
    paths = [spec.origin, *(spec.submodule_search_locations or ())] if spec else []
    return any(Path(path).is_relative_to(folder) for path in paths if path for folder in folders)


def _threads() -> int:
    """The number of threads that may not handle forks, including this one."""
    try:
        names = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
    except OSError:
        return threading.active_count()
    return sum(name != _SAFE_THREAD for name in names)


def _blas() -> int:
    """The number of loaded libraries whose threads handle forks."""
    try:
        maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    files = {line.rpartition(" ")[2] for line in maps.splitlines()}
    return sum(any(name in file for name in _SAFE_LIBRARIES) for file in files)
