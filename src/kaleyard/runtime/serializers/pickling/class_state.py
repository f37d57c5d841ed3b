"""The state of a notebook's class: counters, registries, settings, methods added later."""

from __future__ import annotations

import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from kaleyard.runtime.serializers.cloudpickle_fallback import Cloudpickle
from kaleyard.runtime.serializers.pickling.definitions import find

__all__ = ["ClassState"]

# The types of attributes that Python adds to a class.
_DESCRIPTORS = (types.MemberDescriptorType, types.GetSetDescriptorType, types.WrapperDescriptorType)


class ClassState:
    """The current attributes of a class of the notebook; its code is saved as source."""

    name = "class-state"
    suffix = ".pkl"

    def accepts(self, value: object) -> bool:
        """Classes that the notebook defines by their name."""
        is_notebook_class = isinstance(value, type) and value.__module__ == "__main__"
        return is_notebook_class and find("__main__", value.__qualname__) is value  # type: ignore[attr-defined]

    def save(self, value: type, path: Path) -> None:
        """Write the class by its name, and its attributes except its methods."""
        state = {n: v for n, v in vars(value).items() if _is_state(n, v, value)}
        Cloudpickle().save([value, state], path)

    def load(self, path: Path, extra: Mapping[str, str]) -> type:
        """The notebook's class of that name, or one created from its code, with these attributes."""
        cls, state = Cloudpickle().load(path, extra)
        for name, value in state.items():
            setattr(cls, name, value)
        return cast(type, cls)


def _is_state(name: str, value: Any, owner: type) -> bool:
    """Whether an attribute is data, or code that was added to the class from outside."""
    is_internal = (name.startswith("__") and name.endswith("__")) or name == "_abc_impl"
    if is_internal or isinstance(value, _DESCRIPTORS):
        return False
    inner = getattr(value, "__func__", getattr(value, "fget", getattr(value, "func", value)))
    if isinstance(inner, types.FunctionType):
        return not inner.__qualname__.startswith(f"{owner.__qualname__}.")
    # The class's own code creates the members of an enum, and what dataclasses make of fields.
    return not hasattr(owner, "__members__")
