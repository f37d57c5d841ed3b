"""cloudpickle with the same bytes for the same value, and with the notebook's definitions looked up when loading.

A class or function of `__main__` is written by name, with its code and the code's fingerprint. The reader uses the
definition of that name in its own `__main__`, so that `isinstance` and `==` hold, or creates it from the code.
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
from kaleyard.runtime.serializers.cached_attributes import without_cached
from kaleyard.runtime.serializers.pickling.definitions import Cached, LoadedDefinitions, find, fingerprint, same_version
from kaleyard.runtime.serializers.pickling.global_reads import note_reads, noting_reads
from kaleyard.runtime.serializers.plain import kinds
from kaleyard.runtime.serializers.plain.encoding import dumps
from kaleyard.runtime.serializers.step_paths import inside, outside

__all__ = ["cached", "cached_property", "definition", "namespace", "pickled", "with_state"]

_PROTOCOL = 5
# Types that need no special treatment.
_PLAIN = {type(None), bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset}
_FUNCTIONS = (types.FunctionType, Cached)


def pickled(value: object) -> bytes:
    """The value as a pickle for `pickle.loads`. Raises any error that the value's parts raise."""
    return _dumps(value, {})


def definition(name: str, is_class: bool, code: bytes | None, expected: str) -> Any:
    """The class or function of this name: the notebook's if its fingerprint is `expected`, else one made from the code.

    Without code, or with code of another version of Python, which cannot run, the name alone decides.
    """
    own = find("__main__", name)
    if LoadedDefinitions.compared and not is_class and code is not None:
        pass  # use the saved code, as the notebook's function may have changed
    elif isinstance(own, type) if is_class else isinstance(own, _FUNCTIONS):
        is_trusted = LoadedDefinitions.compared or name in LoadedDefinitions.evolving
        if code is None or is_trusted or not same_version(expected) or fingerprint(own) == expected:
            return _remember(own, name, code, expected)
    elif code is None:
        fix = f"Define `{name}` in a cell tagged `functions`, so that every step has it."
        raise DataError(f"`{name}` is missing here.", fix=fix)
    loaded, reads = _from_code(code)
    note_reads(reads)
    return _remember(loaded, name, code, expected)


def _remember(obj: Any, name: str, code: bytes | None, mark: str) -> Any:
    # Only the first time: a value that is saved is read back at once, with the current globals.
    if code is not None and (name, mark) not in LoadedDefinitions.known and (bare := _bare(obj)) is not None:
        LoadedDefinitions.known[name, mark] = code, bare
    return obj


def cached(function: Any, maxsize: int | None, typed: bool) -> Any:
    """The function with `functools.lru_cache` and an empty cache."""
    return functools.lru_cache(maxsize, typed)(function)


def with_state(function: Any, setter_and_state: tuple[Any, Any]) -> None:
    """Set the state of a function that was created from its code, and record the globals saved with it.

    They are set only where the namespace lacks the name: as in the notebook, the function reads current values.
    """
    setter, (state, slots) = setter_and_state
    note_reads(slots["__globals__"])
    for name, value in slots["__globals__"].items():
        function.__globals__.setdefault(name, value)
    setter(function, (state, {**slots, "__globals__": {}}))


class _Namespace(dict[str, Any]):
    """A placeholder for the globals of the notebook that loads a function."""

    def __reduce__(self) -> tuple[Any, tuple[()]]:
        return namespace, ()


def namespace() -> dict[str, Any]:
    """The globals of this process's notebook."""
    return vars(sys.modules["__main__"])


def cached_property(function: Any, name: str) -> Any:
    """The `functools.cached_property` of a function under this name."""
    descriptor: functools.cached_property[Any] = functools.cached_property(function)
    descriptor.__set_name__(type, name)
    return descriptor


@functools.lru_cache(maxsize=1024)
def _from_code(code: bytes) -> tuple[Any, frozenset[str]]:
    # Cached, so that two values of a class share the class that is created here.
    with noting_reads() as names:
        obj = pickle.loads(code)  # noqa: S301
    return obj, frozenset(names)


def _dumps(value: object, ids: dict[Any, str] | None, *, by_value: bool = False, bare: bool = False) -> bytes:
    buffer = io.BytesIO()
    _Pickler(buffer, ids, by_value=by_value, bare=bare).dump(value)
    return buffer.getvalue()


def _bare(obj: Any) -> bytes | None:
    """The pickle of a definition without the globals that its code uses; None if it cannot be pickled."""
    try:
        return _dumps(obj, None, by_value=True, bare=True)
    except Exception:  # noqa: BLE001
        # Objects that cannot be pickled raise errors of any type.
        return None


# The pickler written in Python: unlike the one in C, it can be overridden for sets and strings too.
_PythonPickler: Any = pickle._Pickler  # noqa: SLF001


class _Pickler(_PythonPickler):  # type: ignore[misc]
    dispatch: typing.ClassVar[dict[Any, Any]] = _PythonPickler.dispatch.copy()
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
        """The reduced object where it differs from pickle and cloudpickle, else NotImplemented."""
        if type(obj) in _PLAIN:
            return NotImplemented
        if isinstance(obj, (type, *_FUNCTIONS)):
            return self._reduced(obj)
        if isinstance(obj, types.CodeType):
            # A kernel's file names contain its process number, and in another step the code may be on other lines.
            code = obj.replace(co_filename="<notebook>", co_firstlineno=1)
            return cloudpickle.Pickler.dispatch_table[types.CodeType](code)
        if isinstance(obj, typing.TypeVar) and obj.__module__ == "__main__":
            function, args = cloudpickle.Pickler.dispatch_table[typing.TypeVar](obj)
            return function, (*args[:-1], None)
        if type(obj) is functools.cached_property:
            return cached_property, (obj.func, obj.attrname)  # before Python 3.12 it holds a lock
        if isinstance(obj, io.IOBase) and not isinstance(obj, (io.BytesIO, io.StringIO)):
            raise pickle.PicklingError("it contains an open file")
        if isinstance(obj, pathlib.PurePath) and inside(str(obj)) is not None:
            return type(obj), (str(obj),)
        if isinstance(obj, memoryview):
            raise pickle.PicklingError("it contains a memoryview")
        return without_cached(obj) if LoadedDefinitions.compared else NotImplemented

    def _reduced(self, obj: Any) -> Any:
        """The reduced class or function."""
        if not self._by_value and _is_notebook_definition(obj) and isinstance(obj, type) and LoadedDefinitions.compared:
            # A changed class does not change its values: the class is compared separately.
            return definition, (obj.__qualname__, True, None, "")
        if not self._by_value and _is_notebook_definition(obj):
            mark = fingerprint(obj)
            code = self._code(obj, mark)
            current = find("__main__", obj.__qualname__)
            # Without code, the name must refer to this definition, and not to a newer one.
            if code is not None or current is None or current is obj:
                return definition, (obj.__qualname__, isinstance(obj, type), code, mark)
        if _can_be_imported(obj):
            return NotImplemented
        if isinstance(obj, Cached):
            return cached, (obj.__wrapped__, *obj.cache_parameters().values())
        if isinstance(obj, types.FunctionType) and obj.__module__ == "__main__":
            # The reader's notebook becomes its module; cloudpickle would record this one's file.
            self.globals_ref.setdefault(id(obj.__globals__), _Namespace())
        reduced = cloudpickle.Pickler.reducer_override(self, obj)
        if self._bare and isinstance(obj, types.FunctionType):
            reduced[2][1].update(__globals__={}, _cloudpickle_submodules=[])
        if isinstance(obj, types.FunctionType) and obj.__module__ == "__main__":
            *start, setter = reduced
            return (*start[:2], (setter, start[2]), *start[3:], with_state)
        # cloudpickle gives a class a random id, by which a process recognizes it when it is loaded again.
        return self._with_id(obj, reduced) if isinstance(obj, type) and isinstance(reduced, tuple) else reduced

    def _code(self, obj: Any, mark: str) -> bytes | None:
        loaded = LoadedDefinitions.known.get((obj.__qualname__, mark)) if LoadedDefinitions.compared else None
        if loaded is not None and loaded[1] == _bare(obj):
            return loaded[0]
        try:
            return _dumps(obj, self._ids, by_value=True)
        except Exception:  # noqa: BLE001
            # Its code uses a value that cannot be pickled, such as a connection: the reader needs its own definition.
            return None

    def _with_id(self, cls: type, reduced: tuple[Any, ...]) -> tuple[Any, ...]:
        args = reduced[1]
        if len(args) < 6 or reduced[0].__module__ != "cloudpickle.cloudpickle":  # noqa: PLR2004
            return reduced
        if self._ids is not None and cls not in self._ids:
            # From its code without any ids, so that the id does not depend on the position in the value.
            code = _dumps(cls, None, by_value=True)
            self._ids[cls] = f"kaleyard-{hashlib.sha256(code).hexdigest()[:32]}"
        # Python adds this attribute when it first pickles an instance of the class.
        reduced[2][0].pop("__slotnames__", None)
        if cls.__qualname__ != cls.__name__:
            # cloudpickle drops the outer name of a nested class.
            reduced[2][0]["__qualname__"] = cls.__qualname__
        class_id = None if self._ids is None else self._ids[cls]
        return (reduced[0], (*args[:-2], class_id, args[-1]), *reduced[2:])

    def save_buffer(self, obj: pickle.PickleBuffer) -> None:
        # Python's method memoizes each buffer as bytes, and fails on the second one of a single byte.
        with obj.raw() as raw:
            code = pickle.BINBYTES8 if raw.readonly else pickle.BYTEARRAY8
            self._write_large_bytes(code + struct.pack("<Q", raw.nbytes), raw)

    def save_str(self, obj: str) -> None:
        # Equal strings may be one object or two, depending on the process: always write them as one.
        first = self._strings.setdefault(obj, obj)
        if first is obj and (relative := inside(obj)) is not None:
            self.save_reduce(outside, (relative,), obj=obj)
        elif first is obj:
            _PythonPickler.save_str(self, obj)
        else:
            self.save(first)

    def save_set(self, obj: set[Any]) -> None:
        self.write(pickle.EMPTY_SET)
        self.memoize(obj)
        self.write(pickle.MARK)
        for item in _in_stable_order(obj):
            self.save(item)
        self.write(pickle.ADDITEMS)

    def save_frozenset(self, obj: frozenset[Any]) -> None:
        self.write(pickle.MARK)
        for item in _in_stable_order(obj):
            self.save(item)
        if id(obj) in self.memo:
            # An item refers to the set and has written it already.
            self.write(pickle.POP_MARK + self.get(self.memo[id(obj)][0]))
            return
        self.write(pickle.FROZENSET)
        self.memoize(obj)

    dispatch[pickle.PickleBuffer] = save_buffer
    dispatch[str] = save_str
    dispatch[set] = save_set
    dispatch[frozenset] = save_frozenset


def _is_notebook_definition(obj: Any) -> bool:
    """Whether the object is a named definition of the notebook, even if the name has been reassigned."""
    return obj.__module__ == "__main__" and "<" not in _name(obj)


def _can_be_imported(obj: Any) -> bool:
    """Whether any process can import the object by name. cloudpickle checks only modules that are already imported."""
    if obj.__module__ is None or obj.__module__ == "__main__" or "<" in _name(obj):
        return False
    if obj.__module__ not in sys.modules:
        try:
            importlib.import_module(obj.__module__)
        except ImportError:
            return False
    return find(obj.__module__, obj.__qualname__) is obj


def _name(obj: Any) -> str:
    """The name of a definition; `functools.lru_cache` of a partial function has none."""
    return str(getattr(obj, "__qualname__", "<none>"))


def _in_stable_order(items: Iterable[Any]) -> list[Any]:
    """A set's items in the same order in every process, if they can be encoded as JSON."""
    try:
        return sorted(items, key=lambda item: dumps(kinds.encoder().encode(item)))
    except DataError:
        return list(items)
