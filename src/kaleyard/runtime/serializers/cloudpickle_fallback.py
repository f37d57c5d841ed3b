"""What no open format keeps: as a pickle, or refused with the reason."""

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

# Up to this size a pickle is read back at once, to find what cannot be before the next step does.
_SMALL = 1_000_000
_DEEP = 10_000

_ANEW = "Make a new one in the step that uses it, from values that can be saved."
_ITERATOR = "Make a list of it first: `{name} = list({name})`."
_REFUSED: tuple[tuple[type | tuple[type, ...], str, str], ...] = (
    (types.ModuleType, "a module", "Import it in the step that uses it."),
    ((types.GeneratorType, types.AsyncGeneratorType), "a generator, which can be read only once", _ITERATOR),
    (types.CoroutineType, "a coroutine", "Await it in this step, and keep its result."),
    ((types.FrameType, types.TracebackType), "a part of a running program", "Keep its text."),
    (memoryview, "a view of memory", "Keep a copy: `{name} = bytes({name})`."),
)
_CONNECTIONS = {"sqlite3", "psycopg", "psycopg2", "pymysql", "MySQLdb", "sqlalchemy", "duckdb", "pyodbc", "redis"}
_RUNNING = {
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
    """Everything else that Python can pickle; reading it runs code, and needs like versions of its packages."""

    name = "cloudpickle"
    suffix = ".pkl"

    def accepts(self, value: object) -> bool:  # noqa: ARG002
        """Anything: the last to be asked."""
        return True

    def save(self, value: Any, path: Path) -> None:
        """The pickle; definitions of the notebook in it are looked up where it is read."""
        _refuse(value)
        from kaleyard.runtime.serializers.pickling.stable_pickle import pickled

        limit = sys.getrecursionlimit()
        try:
            # The pickler is written in Python, and takes some calls for each level of a value.
            sys.setrecursionlimit(max(limit, _DEEP))
            content = pickled(value)
        except RecursionError as error:
            raise DataError("it is nested too deeply", fix="Keep it in a flatter form, such as a list.") from error
        except Exception as error:
            # Any part of a value may have its own way of saying that it cannot be pickled.
            fix = "Make it in the step that uses it, or keep what it is made from."
            raise DataError(f"it cannot be pickled: {error or type(error).__name__}", fix=fix) from error
        finally:
            sys.setrecursionlimit(limit)
        if len(content) <= _SMALL:
            _check(value, content)
        path.write_bytes(content)

    def load(self, path: Path, extra: Mapping[str, str]) -> Any:  # noqa: ARG002
        """The value, with the classes and functions of this notebook where it has them."""
        with path.open("rb") as file:
            return pickle.load(file)  # noqa: S301


def _check(value: Any, content: bytes) -> None:
    try:
        again = pickle.loads(content)  # noqa: S301
    except Exception as error:
        fix = "Make it in the step that uses it, or keep what it is made from."
        raise DataError(f"its pickle cannot be read back: {type(error).__name__}: {error}", fix=fix) from error
    # By name: a class of a function's own is made anew.
    if type_name(again) != type_name(value):
        raise DataError(f"its pickle comes back as another type, {type_name(again)}")


def _refuse(value: Any) -> None:
    """Raises RefusedError for what cannot travel, with what to do instead."""
    for kinds, what, fix in _REFUSED:
        if isinstance(value, kinds):
            raise RefusedError(f"it is {what}", fix=fix)
    package = type(value).__module__.partition(".")[0]
    if isinstance(value, io.IOBase) and not isinstance(value, (io.BytesIO, io.StringIO)):
        raise RefusedError("it is an open file", fix="Save its path instead: a `pathlib.Path` travels with its file.")
    if package in {"builtins", "itertools"} and hasattr(value, "__next__"):
        raise RefusedError("it is an iterator, which can be read only once", fix=_ITERATOR)
    if package in _CONNECTIONS and not _pickles(value):
        fix = "Keep what it was opened with, and open it in the step that uses it."
        raise RefusedError("it is connected to something outside this process", fix=fix)
    if package in _RUNNING and not _pickles(value):
        raise RefusedError("it is bound to this process", fix=_ANEW)


def _pickles(value: Any) -> bool:
    """Whether a value of a package that also has connections, locks and the like is none of them."""
    try:
        pickle.dumps(value)
    except (TypeError, pickle.PicklingError, AttributeError, RuntimeError):
        return False
    return True
