"""Classes and functions of the notebook: recorded by module and name, and found again by the process that loads them.

One name may have two definitions; `fingerprint` distinguishes them by their code.
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
# The type of functions decorated with `functools.lru_cache` or `functools.cache`.
Cached = functools._lru_cache_wrapper  # noqa: SLF001


def find(module: str, qualname: str) -> Any:
    """The object with this dotted name in a module, or None; imports nothing."""
    value: Any = sys.modules.get(module, _MISSING)
    for part in qualname.split("."):
        value = getattr(value, part, _MISSING)
    return None if value is _MISSING else value


def reference(cls: type) -> str:
    """A class as `module:name`. Raises DataError if that name does not refer to the class."""
    if find(cls.__module__, cls.__qualname__) is not cls:
        raise DataError(f"{cls.__module__}.{cls.__qualname__} does not refer to its class.")
    module_and_name = f"{cls.__module__}:{cls.__qualname__}"
    if cls.__module__ == "__main__":
        _referred.get({})[cls.__qualname__] = cls
    return module_and_name


@contextmanager
def referred() -> Iterator[dict[str, type]]:
    """The notebook's classes that `reference` names in this context, by name."""
    classes: dict[str, type] = {}
    token = _referred.set(classes)
    try:
        yield classes
    finally:
        _referred.reset(token)


def check_classes(fingerprints: Mapping[str, str]) -> None:
    """Check these classes, given by name and fingerprint, against the notebook's definitions.

    Raises DataError for a class with another definition here: its values would become instances of another class.
    Missing classes and fingerprints from another version of Python are ignored.
    """
    for name, saved in () if LoadedDefinitions.compared else fingerprints.items():
        cls = find("__main__", name)
        is_evolving = name in LoadedDefinitions.evolving
        if isinstance(cls, type) and not is_evolving and same_version(saved) and fingerprint(cls) != saved:
            raise DataError(
                f"the class `{name}` has another definition here than where the value was made.",
                fix=f"Rename one of the definitions of `{name}`, or keep a single one in a cell tagged `functions`.",
            )


def class_named(module_and_name: str) -> type:
    """The class that `reference` named, from the notebook or from its module, which is imported."""
    module, _, qualname = module_and_name.partition(":")
    if module != "__main__" and module not in sys.modules:
        try:
            importlib.import_module(module)
        except ImportError as error:
            fix = f"Install the package of the module `{module}`, or add the module to the project."
            raise DataError(f"the class `{qualname}` of the module `{module}` is missing here.", fix=fix) from error
    cls = find(module, qualname)
    if not isinstance(cls, type):
        fix = (
            f"Define `{qualname}` in a cell tagged `functions`, so that every step has it."
            if module == "__main__"
            else f"This version of `{module}` does not have it. Use the version that saved the value."
        )
        raise DataError(f"the class `{qualname}` is missing here.", fix=fix)
    return cls


def fingerprint(obj: Any) -> str:
    """The fingerprint of a function or class of the notebook: the same text in every process.

    It covers code, plain default values, base classes and plain attributes. It does not cover the position in the
    notebook, the values of globals, and state (caches, registries, counters). It differs between versions of Python,
    as their bytecode does.
    """
    description = repr(_Fingerprinter().describe(obj))
    return f"{sys.implementation.cache_tag}:{hashlib.sha256(description.encode()).hexdigest()[:32]}"


def same_version(text: str) -> bool:
    """Whether a fingerprint is from this version of Python, and so can be compared."""
    return text.partition(":")[0] == sys.implementation.cache_tag


class LoadedDefinitions:
    """The definitions that were loaded with values: by name and fingerprint, their code and their bare pickle.

    To find out whether a value has changed, it is saved again with the code that it was loaded with: code pickled by
    this process would include the current globals, which are not part of the value.
    """

    known: typing.ClassVar[dict[tuple[str, str], tuple[bytes, bytes]]] = {}
    compared: typing.ClassVar[bool] = False
    # Classes that the notebook defines once and steps change: the name always refers to the same class.
    evolving: typing.ClassVar[frozenset[str]] = frozenset()

    @classmethod
    @contextmanager
    def comparing(cls) -> Iterator[None]:
        """Save values in this context for a comparison with their loaded state."""
        cls.compared = True
        try:
            yield
        finally:
            cls.compared = False


_PLAIN = frozenset({type(None), type(...), bool, int, float, complex, str, bytes})
# The attributes of decorators' objects that hold functions.
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
_SLOT_TYPES = (types.MemberDescriptorType, types.GetSetDescriptorType)
# Attributes that Python and its libraries add to a class, besides those of its body.
_INTERNAL = frozenset(
    "__abstractmethods__ __annotate__ __annotate_func__ __annotations__ __annotations_cache__ __dataclass_fields__ "
    "__dict__ __doc__ __firstlineno__ __module__ __orig_bases__ __parameters__ __qualname__ __slotnames__ "
    "__static_attributes__ __weakref__ _abc_impl".split()
)


class _Fingerprinter:
    """Describes a definition as nested tuples of texts."""

    def __init__(self) -> None:
        # A function may refer to itself, and the methods of a class to the class.
        self._seen: dict[int, int] = {}

    def describe(self, value: Any) -> Any:
        """A part of a definition: code and plain values by their content, anything else by its type."""
        kind = type(value)
        if kind in _PLAIN:
            return kind.__name__, repr(value)
        if kind is tuple:
            return "tuple", [self.describe(v) for v in value]
        if kind is frozenset:
            return "frozenset", sorted(repr(self.describe(v)) for v in value)
        if kind is types.CodeType:
            return self._code(value)
        if isinstance(value, (types.FunctionType, type)):
            return self._definition(value)
        if isinstance(value, enum.Enum):
            return "member", f"{kind.__module__}.{kind.__qualname__}.{value._name_}"
        parts = [self.describe(getattr(value, name)) for name in _PARTS.get(kind, ())]
        return "a", f"{kind.__module__}.{kind.__qualname__}", parts

    def _definition(self, obj: Any) -> Any:
        name = f"{obj.__module__}.{obj.__qualname__}"
        if obj.__module__ != "__main__" and "<" not in obj.__qualname__:
            return "imported", name
        if id(obj) in self._seen:
            return "again", self._seen[id(obj)]
        self._seen[id(obj)] = len(self._seen)
        return self._class(obj) if isinstance(obj, type) else self._function(obj)

    def _function(self, function: types.FunctionType) -> Any:
        closure = [self.describe(_content(cell)) for cell in function.__closure__ or ()]
        keywords = [(n, self.describe(v)) for n, v in sorted((function.__kwdefaults__ or {}).items())]
        return "function", self._code(function.__code__), self.describe(function.__defaults__), keywords, closure

    def _code(self, code: types.CodeType) -> Any:
        counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount)
        # The lower flags belong to the function; the higher ones come from `from __future__` imports.
        names = (code.co_name, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
        constants = [self.describe(c) for c in code.co_consts]
        return "code", names, counts, code.co_flags & 0xFFFF, code.co_code, code.co_exceptiontable, constants

    def _class(self, cls: type) -> Any:
        own = {n: v for n, v in sorted(vars(cls).items()) if n not in _INTERNAL and not isinstance(v, _SLOT_TYPES)}
        functions = {name: list(_functions(value)) for name, value in own.items()}
        # Attributes that its own code sets are state, such as a counter of its instances.
        methods = [method for values in functions.values() for method in values]
        states = set[str]().union(*(_attributes_set_by(method.__code__) for method in methods))
        members: list[Any] = []
        if isinstance(cls, enum.EnumType):
            # In a loaded enum, aliases of members are attributes.
            all_members = dict(cls.__members__) | {n: v for n, v in own.items() if isinstance(v, cls)}
            members = sorted((name, self.describe(member._value_)) for name, member in all_members.items())
            states |= set(all_members)
        body = [(name, self.describe(value)) for name, value in own.items() if functions[name] or name not in states]
        bases = [self.describe(base) for base in cls.__bases__]
        return "class", cls.__qualname__, self.describe(type(cls)), bases, members, body


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


def _attributes_set_by(code: types.CodeType) -> set[str]:
    """The names of the attributes that the code sets, on any object."""
    import dis

    names = {i.argval for i in dis.get_instructions(code) if i.opname == "STORE_ATTR"}
    return names.union(*(_attributes_set_by(c) for c in code.co_consts if isinstance(c, types.CodeType)))
