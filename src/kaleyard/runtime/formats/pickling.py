"""cloudpickle, but with the same bytes for the same value, and with the notebook's own definitions looked up.

A class or function of `__main__` is written by its name, with its code beside it. The reader takes what its own
`__main__` has by that name, so that `isinstance` and `==` hold; only if there is none, it is made from the code.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import io
import pickle
import struct
import sys
import types
import typing
from collections.abc import Iterable
from typing import Any

import cloudpickle

from kaleyard.errors import DataError
from kaleyard.runtime.formats.definitions import find
from kaleyard.runtime.formats.encoding import Encoder, dumps

__all__ = ["definition", "pickled"]

_PROTOCOL = 5
# What most values are made of: not worth a look.
_ORDINARY = {type(None), bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset}


def pickled(value: object) -> bytes:
    """The value's pickle; `pickle.loads` reads it. Raises whatever the value's parts raise."""
    return _dumps(value, {})


def definition(name: str, is_class: bool, code: bytes | None) -> Any:
    """The class or function by this name: the notebook's own, else one made from the code beside it."""
    found = find("__main__", name)
    if isinstance(found, type) if is_class else isinstance(found, types.FunctionType):
        return found
    if code is None:
        fix = f"Define `{name}` in a cell tagged `functions`, so that every step has it."
        raise DataError(f"`{name}` is missing here.", fix=fix)
    return _made(code)


@functools.lru_cache(maxsize=1024)
def _made(code: bytes) -> Any:
    # Kept, so that two values of a class that was made here have one class.
    return pickle.loads(code)  # noqa: S301


def _dumps(value: object, ids: dict[Any, str] | None, *, by_value: bool = False) -> bytes:
    buffer = io.BytesIO()
    _Pickler(buffer, ids, by_value=by_value).dump(value)
    return buffer.getvalue()


# The pickler written in Python: it can be asked about sets and strings too, which the one in C writes by itself.
_Python: Any = pickle._Pickler  # noqa: SLF001


class _Pickler(_Python):  # type: ignore[misc]
    dispatch: typing.ClassVar[dict[Any, Any]] = _Python.dispatch.copy()
    dispatch_table = cloudpickle.Pickler.dispatch_table
    _function_reduce = cloudpickle.Pickler._function_reduce  # noqa: SLF001
    _dynamic_function_reduce = cloudpickle.Pickler._dynamic_function_reduce  # noqa: SLF001
    _function_getnewargs = cloudpickle.Pickler._function_getnewargs  # noqa: SLF001

    def __init__(self, file: io.BytesIO, ids: dict[Any, str] | None, *, by_value: bool) -> None:
        super().__init__(file, _PROTOCOL)
        self.globals_ref: dict[int, Any] = {}
        self._ids = ids
        self._by_value = by_value
        self._strings: dict[str, str] = {}

    def reducer_override(self, obj: Any) -> Any:
        """How to write an object, where it is not as pickle and cloudpickle have it."""
        if type(obj) in _ORDINARY:
            return NotImplemented
        if isinstance(obj, (type, types.FunctionType)):
            if not self._by_value and _is_ours(obj):
                return definition, (obj.__qualname__, isinstance(obj, type), self._code(obj))
            if _can_be_imported(obj):
                return NotImplemented
            if isinstance(obj, types.FunctionType) and obj.__module__ == "__main__":
                # Its module is the reader's notebook then; cloudpickle would tell the file of this one.
                self.globals_ref.setdefault(id(obj.__globals__), {"__name__": "__main__"})
            reduced = cloudpickle.Pickler.reducer_override(self, obj)
            # A class made anew has a random id in cloudpickle, by which a process knows it when it comes again.
            return self._with_id(obj, reduced) if isinstance(obj, type) and isinstance(reduced, tuple) else reduced
        if isinstance(obj, types.CodeType):
            # In a kernel the file's name has the number of the process in it.
            return cloudpickle.Pickler.dispatch_table[types.CodeType](obj.replace(co_filename="<notebook>"))
        if isinstance(obj, typing.TypeVar) and obj.__module__ == "__main__":
            function, args = cloudpickle.Pickler.dispatch_table[typing.TypeVar](obj)
            return function, (*args[:-1], None)
        if isinstance(obj, io.IOBase) and not isinstance(obj, (io.BytesIO, io.StringIO)):
            raise pickle.PicklingError("an open file stands in it")
        if isinstance(obj, memoryview):
            raise pickle.PicklingError("a memoryview stands in it")
        return NotImplemented

    def _code(self, obj: Any) -> bytes | None:
        try:
            return _dumps(obj, self._ids, by_value=True)
        except Exception:  # noqa: BLE001
            # Its code uses what cannot be pickled, such as an open connection: then the reader needs its own.
            return None

    def _with_id(self, cls: type, reduced: tuple[Any, ...]) -> tuple[Any, ...]:
        args = reduced[1]
        if len(args) < 6 or reduced[0].__module__ != "cloudpickle.cloudpickle":  # noqa: PLR2004
            return reduced
        if self._ids is not None and cls not in self._ids:
            # From its code, written with no ids at all: the same for a class wherever it stands in a value.
            code = _dumps(cls, None, by_value=True)
            self._ids[cls] = f"kaleyard-{hashlib.sha256(code).hexdigest()[:32]}"
        # Where Python notes what it found out when it first pickled a value of the class.
        reduced[2][0].pop("__slotnames__", None)
        told = None if self._ids is None else self._ids[cls]
        return (reduced[0], (*args[:-2], told, args[-1]), *reduced[2:])

    def save_buffer(self, obj: pickle.PickleBuffer) -> None:
        # Python's own remembers each buffer as bytes, and fails on the second one of a single byte.
        with obj.raw() as raw:
            code = pickle.BINBYTES8 if raw.readonly else pickle.BYTEARRAY8
            self._write_large_bytes(code + struct.pack("<Q", raw.nbytes), raw)

    def save_str(self, obj: str) -> None:
        # Equal strings are one object in this process and perhaps two in another: written as one in both.
        same = self._strings.setdefault(obj, obj)
        if same is obj:
            _Python.save_str(self, obj)
        else:
            self.save(same)

    def save_set(self, obj: set[Any]) -> None:
        self.write(pickle.EMPTY_SET)
        self.memoize(obj)
        self.write(pickle.MARK)
        for item in _ordered(obj):
            self.save(item)
        self.write(pickle.ADDITEMS)

    def save_frozenset(self, obj: frozenset[Any]) -> None:
        self.write(pickle.MARK)
        for item in _ordered(obj):
            self.save(item)
        if id(obj) in self.memo:
            # An item led back to the set and wrote it.
            self.write(pickle.POP_MARK + self.get(self.memo[id(obj)][0]))
            return
        self.write(pickle.FROZENSET)
        self.memoize(obj)

    dispatch[pickle.PickleBuffer] = save_buffer
    dispatch[str] = save_str
    dispatch[set] = save_set
    dispatch[frozenset] = save_frozenset


def _is_ours(obj: Any) -> bool:
    """Whether it is a definition of the notebook, in this process or in the one it came from."""
    if obj.__module__ != "__main__" or "<" in obj.__qualname__:
        return False
    found = find("__main__", obj.__qualname__)
    return found is None or found is obj


def _can_be_imported(obj: Any) -> bool:
    """Whether a name leads to it in any process. cloudpickle only looks at what this one has imported so far."""
    if obj.__module__ is None or obj.__module__ == "__main__" or "<" in obj.__qualname__:
        return False
    if obj.__module__ not in sys.modules:
        try:
            importlib.import_module(obj.__module__)
        except ImportError:
            return False
    return find(obj.__module__, obj.__qualname__) is obj


def _ordered(items: Iterable[Any]) -> list[Any]:
    """A set's items in an order that is the same in every process, where there is one."""
    try:
        return [item for _, item in sorted(((dumps(Encoder().encode(item)), item) for item in items), key=_first)]
    except DataError:
        return list(items)


def _first(pair: tuple[str, Any]) -> str:
    return pair[0]
