"""cloudpickle, but with the same bytes for the same value, and with the notebook's own definitions looked up.

A class or function of `__main__` is written by its name, with its code and the code's fingerprint. The reader takes
what its own `__main__` has by that name, so that `isinstance` and `==` hold, or makes it from the code.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import io
import pathlib
import pickle
import struct
import sys
import types
import typing
from collections.abc import Iterable
from typing import Any

import cloudpickle

from kaleyard.errors import DataError
from kaleyard.runtime.serializers.cached_attributes import without_noted
from kaleyard.runtime.serializers.pickling.definitions import Cached, LoadedDefinitions, find, fingerprint, same_version
from kaleyard.runtime.serializers.pickling.global_reads import note_reads, noting_reads
from kaleyard.runtime.serializers.plain import kinds
from kaleyard.runtime.serializers.plain.encoding import dumps
from kaleyard.runtime.serializers.step_paths import inside, outside

__all__ = ["cached", "cached_property", "definition", "namespace", "pickled", "with_state"]

_PROTOCOL = 5
# What most values are made of: not worth a look.
_ORDINARY = {type(None), bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset}
_FUNCTIONS = (types.FunctionType, Cached)


def pickled(value: object) -> bytes:
    """The value's pickle; `pickle.loads` reads it. Raises whatever the value's parts raise."""
    return _dumps(value, {})


def definition(name: str, is_class: bool, code: bytes | None, told: str) -> Any:
    """The class or function by this name: the notebook's own if it is the one told, else made from the code beside it.

    Without code, and from another version of Python, whose code cannot be run, the name has to do.
    """
    found = find("__main__", name)
    if LoadedDefinitions.compared and not is_class and code is not None:
        pass  # as it came, whatever has been put into the notebook's own since
    elif isinstance(found, type) if is_class else isinstance(found, _FUNCTIONS):
        trusted = LoadedDefinitions.compared or name in LoadedDefinitions.evolving
        if code is None or trusted or not same_version(told) or fingerprint(found) == told:
            return _noted(found, name, code, told)
    elif code is None:
        fix = f"Define `{name}` in a cell tagged `functions`, so that every step has it."
        raise DataError(f"`{name}` is missing here.", fix=fix)
    made, reads = _made(code)
    note_reads(reads)
    return _noted(made, name, code, told)


def _noted(found: Any, name: str, code: bytes | None, told: str) -> Any:
    # The first time counts: a value that is saved is read back at once, with what the globals are by then.
    if code is not None and (name, told) not in LoadedDefinitions.known and (bare := _bare(found)) is not None:
        LoadedDefinitions.known[name, told] = code, bare
    return found


def cached(function: Any, maxsize: int | None, typed: bool) -> Any:
    """The function as `functools.lru_cache` made it, with nothing in its cache."""
    return functools.lru_cache(maxsize, typed)(function)


def with_state(function: Any, told: tuple[Any, Any]) -> None:
    """Give a function that was made from its code the rest of it, and note the globals it brings along.

    They are for names that its new namespace does not have: as in the notebook, it reads what these are by then.
    """
    setter, (state, slots) = told
    note_reads(slots["__globals__"])
    for name, value in slots["__globals__"].items():
        function.__globals__.setdefault(name, value)
    setter(function, (state, {**slots, "__globals__": {}}))


class _Namespace(dict[str, Any]):
    """Stands for the globals of the notebook's functions, wherever these are read."""

    def __reduce__(self) -> tuple[Any, tuple[()]]:
        return namespace, ()


def namespace() -> dict[str, Any]:
    """The globals of this process's notebook."""
    return vars(sys.modules["__main__"])


def cached_property(function: Any, name: str) -> Any:
    """The property that keeps what the function gives, under this name in a class."""
    made: functools.cached_property[Any] = functools.cached_property(function)
    made.__set_name__(type, name)
    return made


@functools.lru_cache(maxsize=1024)
def _made(code: bytes) -> tuple[Any, frozenset[str]]:
    # Kept, so that two values of a class that was made here have one class.
    with noting_reads() as names:
        made = pickle.loads(code)  # noqa: S301
    return made, frozenset(names)


def _dumps(value: object, ids: dict[Any, str] | None, *, by_value: bool = False, bare: bool = False) -> bytes:
    buffer = io.BytesIO()
    _Pickler(buffer, ids, by_value=by_value, bare=bare).dump(value)
    return buffer.getvalue()


def _bare(obj: Any) -> bytes | None:
    """A definition with all that it holds itself, without the globals that its code uses; None if it cannot travel."""
    try:
        return _dumps(obj, None, by_value=True, bare=True)
    except Exception:  # noqa: BLE001
        # Any part of it may have its own way of saying that it cannot be pickled.
        return None


# The pickler written in Python: it can be asked about sets and strings too, which the one in C writes by itself.
_Python: Any = pickle._Pickler  # noqa: SLF001


class _Pickler(_Python):  # type: ignore[misc]
    dispatch: typing.ClassVar[dict[Any, Any]] = _Python.dispatch.copy()
    dispatch_table = cloudpickle.Pickler.dispatch_table
    _function_reduce = cloudpickle.Pickler._function_reduce  # noqa: SLF001
    _dynamic_function_reduce = cloudpickle.Pickler._dynamic_function_reduce  # noqa: SLF001
    _function_getnewargs = cloudpickle.Pickler._function_getnewargs  # noqa: SLF001

    def __init__(self, file: io.BytesIO, ids: dict[Any, str] | None, *, by_value: bool, bare: bool) -> None:
        super().__init__(file, _PROTOCOL)
        self.globals_ref: dict[int, Any] = {}
        self._ids = ids
        self._by_value = by_value
        self._bare = bare
        self._strings: dict[str, str] = {}

    def reducer_override(self, obj: Any) -> Any:
        """How to write an object, where it is not as pickle and cloudpickle have it."""
        if type(obj) in _ORDINARY:
            return NotImplemented
        if isinstance(obj, (type, *_FUNCTIONS)):
            return self._reduced(obj)
        if isinstance(obj, types.CodeType):
            # In a kernel the file's name has the number of the process in it; and a cell that another step carries
            # may be a part of the one that stood here, with other lines.
            code = obj.replace(co_filename="<notebook>", co_firstlineno=1)
            return cloudpickle.Pickler.dispatch_table[types.CodeType](code)
        if isinstance(obj, typing.TypeVar) and obj.__module__ == "__main__":
            function, args = cloudpickle.Pickler.dispatch_table[typing.TypeVar](obj)
            return function, (*args[:-1], None)
        if type(obj) is functools.cached_property:
            return cached_property, (obj.func, obj.attrname)  # before Python 3.12 a lock stands in it
        if isinstance(obj, io.IOBase) and not isinstance(obj, (io.BytesIO, io.StringIO)):
            raise pickle.PicklingError("an open file stands in it")
        if isinstance(obj, pathlib.PurePath) and inside(str(obj)) is not None:
            return type(obj), (str(obj),)
        if isinstance(obj, memoryview):
            raise pickle.PicklingError("a memoryview stands in it")
        return without_noted(obj) if LoadedDefinitions.compared else NotImplemented

    def _reduced(self, obj: Any) -> Any:
        """How to write a class or a function."""
        if not self._by_value and _is_ours(obj) and isinstance(obj, type) and LoadedDefinitions.compared:
            # A value is what it was though its class is not: what became of that is looked at by itself.
            return definition, (obj.__qualname__, True, None, "")
        if not self._by_value and _is_ours(obj):
            told = fingerprint(obj)
            code = self._code(obj, told)
            found = find("__main__", obj.__qualname__)
            # Without code the name alone must lead to it: not where another definition has it by now.
            if code is not None or found is None or found is obj:
                return definition, (obj.__qualname__, isinstance(obj, type), code, told)
        if _can_be_imported(obj):
            return NotImplemented
        if isinstance(obj, Cached):
            return cached, (obj.__wrapped__, *obj.cache_parameters().values())
        if isinstance(obj, types.FunctionType) and obj.__module__ == "__main__":
            # Its module is the reader's notebook then; cloudpickle would tell the file of this one.
            self.globals_ref.setdefault(id(obj.__globals__), _Namespace())
        reduced = cloudpickle.Pickler.reducer_override(self, obj)
        if self._bare and isinstance(obj, types.FunctionType):
            reduced[2][1].update(__globals__={}, _cloudpickle_submodules=[])
        if isinstance(obj, types.FunctionType) and obj.__module__ == "__main__":
            *start, setter = reduced
            return (*start[:2], (setter, start[2]), *start[3:], with_state)
        # A class made anew has a random id in cloudpickle, by which a process knows it when it comes again.
        return self._with_id(obj, reduced) if isinstance(obj, type) and isinstance(reduced, tuple) else reduced

    def _code(self, obj: Any, told: str) -> bytes | None:
        sent = LoadedDefinitions.known.get((obj.__qualname__, told)) if LoadedDefinitions.compared else None
        if sent is not None and sent[1] == _bare(obj):
            return sent[0]
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
        if cls.__qualname__ != cls.__name__:
            # cloudpickle would make a class inside of another one into a class of that name alone.
            reduced[2][0]["__qualname__"] = cls.__qualname__
        told = None if self._ids is None else self._ids[cls]
        return (reduced[0], (*args[:-2], told, args[-1]), *reduced[2:])

    def save_buffer(self, obj: pickle.PickleBuffer) -> None:
        # Python's own remembers each buffer as bytes, and fails on the second one of a single byte.
        with obj.raw() as raw:
            code = pickle.BINBYTES8 if raw.readonly else pickle.BYTEARRAY8
            self._write_large_bytes(code + struct.pack("<Q", raw.nbytes), raw)

    def save_str(self, obj: str) -> None:
        # Equal strings may be two objects in another process: written as one in both.
        same = self._strings.setdefault(obj, obj)
        if same is obj and (place := inside(obj)) is not None:
            self.save_reduce(outside, (place,), obj=obj)
        elif same is obj:
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
    """Whether it is a definition that a notebook has by name, now or before the name got another."""
    return obj.__module__ == "__main__" and "<" not in _name(obj)


def _can_be_imported(obj: Any) -> bool:
    """Whether a name leads to it in any process. cloudpickle only looks at what this one has imported so far."""
    if obj.__module__ is None or obj.__module__ == "__main__" or "<" in _name(obj):
        return False
    if obj.__module__ not in sys.modules:
        try:
            importlib.import_module(obj.__module__)
        except ImportError:
            return False
    return find(obj.__module__, obj.__qualname__) is obj


def _name(obj: Any) -> str:
    """The name it was defined by; what `functools.lru_cache` made of a partial function has none."""
    return str(getattr(obj, "__qualname__", "<none>"))


def _ordered(items: Iterable[Any]) -> list[Any]:
    """A set's items in an order that is the same in every process, where there is one."""
    try:
        return [item for _, item in sorted(((dumps(kinds.encoder().encode(item)), item) for item in items), key=_first)]
    except DataError:
        return list(items)


def _first(pair: tuple[str, Any]) -> str:
    return pair[0]
