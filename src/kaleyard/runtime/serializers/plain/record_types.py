"""Values of the user's own classes as JSON: enum members, named tuples, dataclasses."""

from __future__ import annotations

import dataclasses
import enum
import types
from typing import TYPE_CHECKING, Any

from kaleyard.errors import DataError
from kaleyard.runtime.serializers.pickling.definitions import class_named, reference

if TYPE_CHECKING:
    from kaleyard.runtime.serializers.plain.encoding import Decoder, Encoder

__all__ = ["data_class", "enum_member", "named_tuple", "to_data_class", "to_enum_member", "to_named_tuple"]

_MISSING = object()


def enum_member(encoder: Encoder, value: enum.Enum) -> dict[str, Any]:
    """A member by its class and name; a combination of flags by its value."""
    cls = type(value)
    told: dict[str, Any] = {"class": reference(cls)}
    if cls.__members__.get(value.name) is value:
        return told | {"name": value.name}
    if isinstance(value, enum.Flag):
        return told | {"flags": encoder.encode(value.value)}
    raise DataError(f"{value!r} in it is no member of its class")


def to_enum_member(decoder: Decoder, data: dict[str, Any]) -> enum.Enum:
    """The member that `enum_member` told."""
    cls = class_named(data["class"])
    if not issubclass(cls, enum.Enum):
        raise _changed(data["class"], "is no enum here")
    if "flags" in data:
        return cls(decoder.decode(data["flags"]))
    if data["name"] not in cls.__members__:
        raise _changed(data["class"], f"has no member `{data['name']}` here")
    return cls.__members__[data["name"]]


def named_tuple(encoder: Encoder, value: Any) -> dict[str, Any]:
    """A named tuple by its class, and its fields by their names."""
    cls = type(value)
    items = list(tuple.__iter__(value))
    if len(cls._fields) != len(items) or getattr(value, "__dict__", None):
        raise DataError(f"the named tuple {cls.__qualname__} in it holds more than its fields")
    fields = [[name, encoder.encode(item)] for name, item in zip(cls._fields, items, strict=True)]
    return {"class": reference(cls), "fields": fields}


def to_named_tuple(decoder: Decoder, data: dict[str, Any]) -> Any:
    """The named tuple that `named_tuple` told, made without calling the class."""
    cls: Any = class_named(data["class"])
    names = tuple(name for name, _ in data["fields"])
    if not issubclass(cls, tuple) or getattr(cls, "_fields", None) != names:
        raise _changed(data["class"], f"has other fields here than {', '.join(names)}")
    return tuple.__new__(cls, [decoder.decode(item) for _, item in data["fields"]])


def data_class(encoder: Encoder, value: Any) -> dict[str, Any]:
    """A dataclass's value by its class, fields and whatever other attributes it was given."""
    cls = type(value)
    _check_ordinary(cls)
    names = dict.fromkeys([*_field_names(cls), *_slots(cls), *getattr(value, "__dict__", {})])
    held = {name: _held(value, name) for name in names}
    fields = [[name, encoder.encode(item)] for name, item in held.items() if item is not _MISSING]
    unset = [name for name, item in held.items() if item is _MISSING]
    return {"class": reference(cls), "fields": fields} | ({"unset": unset} if unset else {})


def to_data_class(decoder: Decoder, data: dict[str, Any]) -> Any:
    """The value that `data_class` told; `__init__` and `__post_init__` already ran when it was made."""
    cls = class_named(data["class"])
    if not hasattr(cls, "__dataclass_fields__"):
        raise _changed(data["class"], "is no dataclass here")
    _check_ordinary(cls)
    told = {name for name, _ in data["fields"]}.union(data.get("unset", ()))
    if new := [name for name in _field_names(cls) if name not in told]:
        raise _changed(data["class"], f"has fields here that it had not when it was saved: {', '.join(new)}")
    value: Any = object.__new__(cls)
    for name, item in data["fields"]:
        try:
            # Past the class's own __setattr__, which a frozen dataclass has to forbid this.
            object.__setattr__(value, name, decoder.decode(item))
        except AttributeError as error:
            raise _changed(data["class"], f"has no field `{name}` here") from error
    return value


def _field_names(cls: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(cls)]


def _slots(cls: type) -> list[str]:
    of_class = [vars(base).items() for base in reversed(cls.__mro__)]
    return [name for items in of_class for name, item in items if isinstance(item, types.MemberDescriptorType)]


def _held(value: Any, name: str) -> Any:
    """What an instance itself holds by a name: a default in its class is not its own."""
    own = getattr(value, "__dict__", {})
    if name in own:
        return own[name]
    return getattr(value, name, _MISSING) if name in _slots(type(value)) else _MISSING


def _check_ordinary(cls: Any) -> None:
    """Raises DataError for a dataclass with a say of its own in how it is copied, or with a base that holds data."""
    own = cls.__reduce__ is not object.__reduce__ or cls.__reduce_ex__ is not object.__reduce_ex__
    for name in ("__getstate__", "__setstate__"):
        method = getattr(cls, name, None)
        made = getattr(method, "__module__", None) == "dataclasses" or method is getattr(object, name, None)
        own = own or not made
    layout = cls.__new__ is not object.__new__ and any(
        base.__module__ == "builtins" and base is not object for base in cls.__mro__
    )
    if own or layout:
        raise DataError(f"the dataclass {cls.__qualname__} in it says itself how it is pickled, or extends a built-in")


def _changed(told: str, what: str) -> DataError:
    module, _, name = told.partition(":")
    fix = f"Save and load with the same definition of `{name}`" + ("." if module == "__main__" else f" in `{module}`.")
    return DataError(f"the class `{name}` {what}.", fix=fix)
