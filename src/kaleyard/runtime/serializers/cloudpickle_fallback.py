"""Pickles for values that no open format keeps; values that cannot be pickled are refused with the reason."""

from __future__ import annotations

import io
import pickle
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kaleyard.errors import DataError
from kaleyard.runtime.serializers.serializer import RefusedError, type_name

__all__ = ["Cloudpickle"]

# Pickles up to this size (in bytes) are read back, to find errors in this step instead of the next one.
_CHECK_LIMIT = 1_000_000
_RECURSION_LIMIT = 10_000

_CREATE_NEW = "Make a new one in the step that uses it, from values that can be saved."
_ITERATOR = "Convert it to a list first: `{name} = list({name})`."
_REFUSED_TYPES: tuple[tuple[type | tuple[type, ...], str, str], ...] = (
    (types.ModuleType, "a module", "Import it in the step that uses it."),
    ((types.GeneratorType, types.AsyncGeneratorType), "a generator, which can be read only once", _ITERATOR),
    (types.CoroutineType, "a coroutine", "Await it in this step, and keep its result."),
    ((types.FrameType, types.TracebackType), "a part of a running program", "Keep its text."),
    (memoryview, "a view of memory", "Keep a copy: `{name} = bytes({name})`."),
)
_CONNECTIONS = {"sqlite3", "psycopg", "psycopg2", "pymysql", "MySQLdb", "sqlalchemy", "duckdb", "pyodbc", "redis"}
_PROCESS_BOUND = {
    "_thread",
    "threading",
    "socket",
    "_socket",
    "ssl",
    "multiprocessing",
    "subprocess",
    "asyncio",
    "concurrent",
}


class Cloudpickle:
    """All other values that can be pickled; reading one runs code and needs compatible package versions."""

    name = "cloudpickle"
    suffix = ".pkl"

    def accepts(self, value: object) -> bool:  # noqa: ARG002
        """Always true: this is the last format that is tried."""
        return True

    def save(self, value: Any, path: Path) -> None:
        """Write the pickle; the reader looks up the notebook's definitions."""
        _refuse(value)
        from kaleyard.runtime.serializers.pickling.stable_pickle import pickled

        limit = sys.getrecursionlimit()
        try:
            # The pickler is written in Python and needs several calls per level of nesting.
            sys.setrecursionlimit(max(limit, _RECURSION_LIMIT))
            content = pickled(value)
        except RecursionError as error:
            raise DataError("it is nested too deeply", fix="Use a flatter structure, such as a list.") from error
        except Exception as error:
            # Objects that cannot be pickled raise errors of any type.
            fix = "Make it in the step that uses it, or save the values that it is made from."
            raise DataError(f"it cannot be pickled: {error or type(error).__name__}", fix=fix) from error
        finally:
            sys.setrecursionlimit(limit)
        if len(content) <= _CHECK_LIMIT:
            _check(value, content)
        path.write_bytes(content)

    def load(self, path: Path, extra: Mapping[str, str]) -> Any:  # noqa: ARG002
        """The value, with this notebook's classes and functions if it defines them."""
        with path.open("rb") as file:
            return pickle.load(file)  # noqa: S301


def _check(value: Any, content: bytes) -> None:
    try:
        again = pickle.loads(content)  # noqa: S301
    except Exception as error:
        fix = "Make it in the step that uses it, or save the values that it is made from."
        raise DataError(f"its pickle cannot be read back: {type(error).__name__}: {error}", fix=fix) from error
    # By name: a class defined in a function comes back as a new class.
    if type_name(again) != type_name(value):
        raise DataError(f"its pickle is read back as another type, {type_name(again)}")


def _refuse(value: Any) -> None:
    """Raise RefusedError, with what to do instead, for a value that cannot be saved."""
    for kinds, description, fix in _REFUSED_TYPES:
        if isinstance(value, kinds):
            raise RefusedError(f"it is {description}", fix=fix)
    package = type(value).__module__.partition(".")[0]
    if isinstance(value, io.IOBase) and not isinstance(value, (io.BytesIO, io.StringIO)):
        raise RefusedError("it is an open file", fix="Save its path instead: the file is saved with it.")
    if package in {"builtins", "itertools"} and hasattr(value, "__next__"):
        raise RefusedError("it is an iterator, which can be read only once", fix=_ITERATOR)
    if package in _CONNECTIONS and not _can_be_pickled(value):
        fix = "Save its connection settings, and open it in the step that uses it."
        raise RefusedError("it is connected to something outside this process", fix=fix)
    if package in _PROCESS_BOUND and not _can_be_pickled(value):
        raise RefusedError("it is bound to this process", fix=_CREATE_NEW)


def _can_be_pickled(value: Any) -> bool:
    """Whether the value can be pickled, unlike the locks and connections of the same package."""
    try:
        pickle.dumps(value)
    except (TypeError, pickle.PicklingError, AttributeError, RuntimeError):
        return False
    return True
