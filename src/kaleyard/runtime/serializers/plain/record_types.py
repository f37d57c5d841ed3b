"""Instances of the user's classes as JSON: enum members, named tuples, dataclasses."""

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
    encoded: dict[str, Any] = {"class": reference(cls)}
    if cls.__members__.get(value.name) is value:
        return encoded | {"name": value.name}
    if isinstance(value, enum.Flag):
        return encoded | {"flags": encoder.encode(value.value)}
    raise DataError(f"{value!r} in it is not a member of its class")


def to_enum_member(decoder: Decoder, data: dict[str, Any]) -> enum.Enum:
    """The member that `enum_member` encoded."""
    cls = class_named(data["class"])
    if not issubclass(cls, enum.Enum):
        raise _class_changed(data["class"], "is not an enum here")
    if "flags" in data:
        return cls(decoder.decode(data["flags"]))
    if data["name"] not in cls.__members__:
        raise _class_changed(data["class"], f"has no member `{data['name']}` here")
    return cls.__members__[data["name"]]


def named_tuple(encoder: Encoder, value: Any) -> dict[str, Any]:
    """A named tuple by its class and its fields by name."""
    cls = type(value)
    items = list(tuple.__iter__(value))
    if len(cls._fields) != len(items) or getattr(value, "__dict__", None):
        raise DataError(f"the named tuple {cls.__qualname__} in it holds more than its fields")
    fields = [[name, encoder.encode(item)] for name, item in zip(cls._fields, items, strict=True)]
    return {"class": reference(cls), "fields": fields}


def to_named_tuple(decoder: Decoder, data: dict[str, Any]) -> Any:
    """The named tuple that `named_tuple` encoded, created without calling the class."""
    cls: Any = class_named(data["class"])
    names = tuple(name for name, _ in data["fields"])
    if not issubclass(cls, tuple) or getattr(cls, "_fields", None) != names:
        raise _class_changed(data["class"], f"has other fields here than {', '.join(names)}")
    return tuple.__new__(cls, [decoder.decode(item) for _, item in data["fields"]])


def data_class(encoder: Encoder, value: Any) -> dict[str, Any]:
    """An instance of a dataclass by its class, fields and other attributes."""
    cls = type(value)
    _check_ordinary(cls)
    names = dict.fromkeys([*_field_names(cls), *_slots(cls), *getattr(value, "__dict__", {})])
    held = {name: _own_attribute(value, name) for name in names}
    fields = [[name, encoder.encode(item)] for name, item in held.items() if item is not _MISSING]
    unset = [name for name, item in held.items() if item is _MISSING]
    return {"class": reference(cls), "fields": fields} | ({"unset": unset} if unset else {})


def to_data_class(decoder: Decoder, data: dict[str, Any]) -> Any:
    """The instance that `data_class` encoded, created without `__init__` and `__post_init__`."""
    cls = class_named(data["class"])
    if not hasattr(cls, "__dataclass_fields__"):
        raise _class_changed(data["class"], "is not a dataclass here")
    _check_ordinary(cls)
    saved_names = {name for name, _ in data["fields"]}.union(data.get("unset", ()))
    if new := [name for name in _field_names(cls) if name not in saved_names]:
        raise _class_changed(data["class"], f"has new fields here, which are missing in the file: {', '.join(new)}")
    value: Any = object.__new__(cls)
    for name, item in data["fields"]:
        try:
            # Not the class's own __setattr__, which raises in a frozen dataclass.
            object.__setattr__(value, name, decoder.decode(item))
        except AttributeError as error:
            raise _class_changed(data["class"], f"has no field `{name}` here") from error
    return value


def _field_names(cls: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(cls)]


def _slots(cls: type) -> list[str]:
    of_class = [vars(base).items() for base in reversed(cls.__mro__)]
    return [name for items in of_class for name, item in items if isinstance(item, types.MemberDescriptorType)]


def _own_attribute(value: Any, name: str) -> Any:
    """An attribute of the instance itself, not a default of its class."""
    own = getattr(value, "__dict__", {})
    if name in own:
        return own[name]
    return getattr(value, name, _MISSING) if name in _slots(type(value)) else _MISSING


def _check_ordinary(cls: Any) -> None:
    """Raise DataError for a dataclass that customizes pickling, or whose base class holds data."""
    is_custom = cls.__reduce__ is not object.__reduce__ or cls.__reduce_ex__ is not object.__reduce_ex__
    for name in ("__getstate__", "__setstate__"):
        method = getattr(cls, name, None)
        is_standard = getattr(method, "__module__", None) == "dataclasses" or method is getattr(object, name, None)
        is_custom = is_custom or not is_standard
    extends_builtin = cls.__new__ is not object.__new__ and any(
        base.__module__ == "builtins" and base is not object for base in cls.__mro__
    )
    if is_custom or extends_builtin:
        raise DataError(f"the dataclass {cls.__qualname__} in it customizes pickling, or extends a built-in type")


def _class_changed(class_reference: str, difference: str) -> DataError:
    module, _, name = class_reference.partition(":")
    fix = f"Save and load with the same definition of `{name}`" + ("." if module == "__main__" else f" in `{module}`.")
    return DataError(f"the class `{name}` {difference}.", fix=fix)
