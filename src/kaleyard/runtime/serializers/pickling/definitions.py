"""Where the classes of values are: recorded by module and name, found again in the process that loads.

A name alone does not say which of two definitions is meant: `fingerprint` tells them apart by their code.
"""

from __future__ import annotations

import enum
import functools
import hashlib
import importlib
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from kaleyard.errors import DataError

__all__ = [
    "Cached",
    "LoadedDefinitions",
    "check_classes",
    "class_named",
    "find",
    "fingerprint",
    "reference",
    "referred",
    "same_version",
]

_MISSING = object()
_referred: ContextVar[dict[str, type]] = ContextVar("classes that were named")
# What `functools.lru_cache` and `functools.cache` make of a function.
Cached = functools._lru_cache_wrapper  # noqa: SLF001


def find(module: str, qualname: str) -> Any:
    """What a module calls by this dotted name, or None; imports nothing."""
    found: Any = sys.modules.get(module, _MISSING)
    for part in qualname.split("."):
        found = getattr(found, part, _MISSING)
    return None if found is _MISSING else found


def reference(cls: type) -> str:
    """A class as `module:name`. Raises DataError when that name would not lead back to it."""
    if find(cls.__module__, cls.__qualname__) is not cls:
        raise DataError(f"{cls.__module__}.{cls.__qualname__} is not the name of its class.")
    told = f"{cls.__module__}:{cls.__qualname__}"
    if cls.__module__ == "__main__":
        _referred.get({})[cls.__qualname__] = cls
    return told


@contextmanager
def referred() -> Iterator[dict[str, type]]:
    """The notebook's classes that `reference` named in here, by name."""
    found: dict[str, type] = {}
    token = _referred.set(found)
    try:
        yield found
    finally:
        _referred.reset(token)


def check_classes(told: Mapping[str, str]) -> None:
    """Make sure that these classes, told by name and fingerprint, are still what the notebook calls so.

    Raises DataError for one that is defined otherwise here: a value of it would become one of another class. One that
    is missing, and one told by another version of Python, are left to whoever looks them up.
    """
    for name, before in () if LoadedDefinitions.compared else told.items():
        found = find("__main__", name)
        known = name in LoadedDefinitions.evolving
        if isinstance(found, type) and not known and same_version(before) and fingerprint(found) != before:
            raise DataError(
                f"the class `{name}` is defined otherwise here than where the value was made.",
                fix=f"Give the definitions of `{name}` a name each, or keep one, in a cell tagged `functions`.",
            )


def class_named(told: str) -> type:
    """The class that `reference` named: from the notebook's own definitions, or of the module it imports."""
    module, _, qualname = told.partition(":")
    if module != "__main__" and module not in sys.modules:
        try:
            importlib.import_module(module)
        except ImportError as error:
            fix = f"Install the package that has the module `{module}`, or keep it in the project."
            raise DataError(f"the class `{qualname}` of the module `{module}` is missing here.", fix=fix) from error
    found = find(module, qualname)
    if not isinstance(found, type):
        fix = (
            f"Define `{qualname}` in a cell tagged `functions`, so that every step has it."
            if module == "__main__"
            else f"The version of `{module}` here has no such class: use the version that saved it."
        )
        raise DataError(f"the class `{qualname}` is missing here.", fix=fix)
    return found


def fingerprint(obj: Any) -> str:
    """What a function or class of the notebook is by its code: the same text in every process.

    Its code, plain default values, bases and plain attributes count. Where it stands, the values of the globals it
    uses, and what it or others have noted in it since (caches, registries, counters) do not: that is no other
    definition. Each version of Python has code of its own.
    """
    told = repr(_Fingerprinter().tell(obj))
    return f"{sys.implementation.cache_tag}:{hashlib.sha256(told.encode()).hexdigest()[:32]}"


def same_version(told: str) -> bool:
    """Whether a fingerprint was taken by this version of Python, and so can be compared."""
    return told.partition(":")[0] == sys.implementation.cache_tag


class LoadedDefinitions:
    """The definitions that came with values: by name and fingerprint, their code and what they were like.

    A value that is saved again to see whether it has changed is written with the code it came with: that of this
    process also tells what its globals are by now, which are no part of the value.
    """

    known: typing.ClassVar[dict[tuple[str, str], tuple[bytes, bytes]]] = {}
    compared: typing.ClassVar[bool] = False
    # Classes that steps change, and that the notebook defines once: by that name there is no other.
    evolving: typing.ClassVar[frozenset[str]] = frozenset()

    @classmethod
    @contextmanager
    def comparing(cls) -> Iterator[None]:
        """Values saved in here are compared with what they were."""
        cls.compared = True
        try:
            yield
        finally:
            cls.compared = False


_PLAIN = frozenset({type(None), type(...), bool, int, float, complex, str, bytes})
# The parts of what wraps a function in a class body, or around it.
_PARTS: dict[type, tuple[str, ...]] = {
    staticmethod: ("__func__",),
    classmethod: ("__func__",),
    property: ("fget", "fset", "fdel"),
    functools.cached_property: ("func",),
    functools.partial: ("func", "args"),
    functools.partialmethod: ("func", "args"),
    functools.singledispatchmethod: ("func",),
    Cached: ("__wrapped__",),
}
_OF_SLOTS = (types.MemberDescriptorType, types.GetSetDescriptorType)
# What Python and its libraries note in a class, when it is made or used, beside what its body says.
_NOTED = frozenset(
    "__abstractmethods__ __annotate__ __annotate_func__ __annotations__ __annotations_cache__ __dataclass_fields__ "
    "__dict__ __doc__ __firstlineno__ __module__ __orig_bases__ __parameters__ __qualname__ __slotnames__ "
    "__static_attributes__ __weakref__ _abc_impl".split()
)


class _Fingerprinter:
    """Tells one definition as nested tuples of texts."""

    def __init__(self) -> None:
        # A function may lead back to itself, and the methods of a class to the class.
        self._met: dict[int, int] = {}

    def tell(self, value: Any) -> Any:
        """A part of a definition: code and plain values for what they are, anything else by its type."""
        kind = type(value)
        if kind in _PLAIN:
            return kind.__name__, repr(value)
        if kind is tuple:
            return "tuple", [self.tell(v) for v in value]
        if kind is frozenset:
            return "frozenset", sorted(repr(self.tell(v)) for v in value)
        if kind is types.CodeType:
            return self._code(value)
        if isinstance(value, (types.FunctionType, type)):
            return self._definition(value)
        if isinstance(value, enum.Enum):
            return "member", f"{kind.__module__}.{kind.__qualname__}.{value._name_}"
        parts = [self.tell(getattr(value, name)) for name in _PARTS.get(kind, ())]
        return "a", f"{kind.__module__}.{kind.__qualname__}", parts

    def _definition(self, made: Any) -> Any:
        name = f"{made.__module__}.{made.__qualname__}"
        if made.__module__ != "__main__" and "<" not in made.__qualname__:
            return "imported", name
        if id(made) in self._met:
            return "again", self._met[id(made)]
        self._met[id(made)] = len(self._met)
        return self._class(made) if isinstance(made, type) else self._function(made)

    def _function(self, made: types.FunctionType) -> Any:
        around = [self.tell(_content(cell)) for cell in made.__closure__ or ()]
        named = [(n, self.tell(v)) for n, v in sorted((made.__kwdefaults__ or {}).items())]
        return "function", self._code(made.__code__), self.tell(made.__defaults__), named, around

    def _code(self, code: types.CodeType) -> Any:
        counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount)
        # The lower flags are the function's own; those above tell what `from __future__` said around it.
        names = (code.co_name, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
        constants = [self.tell(c) for c in code.co_consts]
        return "code", names, counts, code.co_flags & 0xFFFF, code.co_code, code.co_exceptiontable, constants

    def _class(self, made: type) -> Any:
        own = {n: v for n, v in sorted(vars(made).items()) if n not in _NOTED and not isinstance(v, _OF_SLOTS)}
        functions = {name: list(_functions(value)) for name, value in own.items()}
        # What its own code sets is a state, such as a counter of its instances.
        states = set[str]().union(*(_set_by(f.__code__) for found in functions.values() for f in found))
        members: list[Any] = []
        if isinstance(made, enum.EnumType):
            # One that has travelled has its second names of members as attributes.
            every = dict(made.__members__) | {n: v for n, v in own.items() if isinstance(v, made)}
            members = sorted((name, self.tell(member._value_)) for name, member in every.items())
            states |= set(every)
        body = [(name, self.tell(value)) for name, value in own.items() if functions[name] or name not in states]
        return "class", made.__qualname__, self.tell(type(made)), [self.tell(b) for b in made.__bases__], members, body


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return _MISSING


def _functions(value: Any) -> Iterator[types.FunctionType]:
    """The functions in an attribute of a class."""
    if isinstance(value, types.FunctionType):
        yield value
    for name in _PARTS.get(type(value), ()):
        yield from _functions(getattr(value, name))


def _set_by(code: types.CodeType) -> set[str]:
    """The names of the attributes that the code sets, of whatever object."""
    import dis

    found = {i.argval for i in dis.get_instructions(code) if i.opname == "STORE_ATTR"}
    return found.union(*(_set_by(c) for c in code.co_consts if isinstance(c, types.CodeType)))
