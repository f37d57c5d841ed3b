"""What a notebook's class holds beside its code: counters, registries, settings, methods added later."""

from __future__ import annotations

import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from kaleyard.runtime.serializers.cloudpickle_fallback import Cloudpickle
from kaleyard.runtime.serializers.pickling.definitions import find

__all__ = ["ClassState"]

# What Python itself keeps in a class.
_PYTHONS = (types.MemberDescriptorType, types.GetSetDescriptorType, types.WrapperDescriptorType)


class ClassState:
    """The attributes of a class of the notebook, as they are by now; its code travels as source."""

    name = "class-state"
    suffix = ".pkl"

    def accepts(self, value: object) -> bool:
        """A class that the notebook has by its name."""
        own = isinstance(value, type) and value.__module__ == "__main__"
        return own and find("__main__", value.__qualname__) is value  # type: ignore[attr-defined]

    def save(self, value: type, path: Path) -> None:
        """The class by its name, and what its body did not make a method of."""
        state = {n: v for n, v in vars(value).items() if _is_state(n, v, value)}
        Cloudpickle().save([value, state], path)

    def load(self, path: Path, extra: Mapping[str, str]) -> type:
        """The notebook's class of that name, else one made from its code, with these attributes."""
        found, state = Cloudpickle().load(path, extra)
        for name, value in state.items():
            setattr(found, name, value)
        return cast(type, found)


def _is_state(name: str, value: Any, owner: type) -> bool:
    """Whether an attribute is data of the class, or code that was put into it from outside."""
    pythons = (name.startswith("__") and name.endswith("__")) or name == "_abc_impl"
    if pythons or isinstance(value, _PYTHONS):
        return False
    inner = getattr(value, "__func__", getattr(value, "fget", getattr(value, "func", value)))
    if isinstance(inner, types.FunctionType):
        return not inner.__qualname__.startswith(f"{owner.__qualname__}.")
    # The members of an enumeration, and what dataclasses make of fields, are made by the class's own code.
    return not hasattr(owner, "__members__")
