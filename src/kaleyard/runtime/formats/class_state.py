"""What a notebook's class holds beside its code: counters, registries, settings, methods added later."""

from __future__ import annotations

import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kaleyard.errors import DataError
from kaleyard.runtime.formats.definitions import find
from kaleyard.runtime.formats.fallback import Cloudpickle

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

    def save(self, value: type, path: Path) -> Mapping[str, str]:
        """What its body did not make a method of."""
        Cloudpickle().save({n: v for n, v in vars(value).items() if _is_state(n, v, value)}, path)
        return {"class": value.__qualname__}

    def load(self, path: Path, extra: Mapping[str, str]) -> type:
        """The notebook's class of that name, with these attributes."""
        found = find("__main__", extra["class"])
        if not isinstance(found, type):
            fix = f"Define `{extra['class']}` in a cell tagged `functions`, so that every step has it."
            raise DataError(f"the class `{extra['class']}` is missing here", fix=fix)
        for name, value in Cloudpickle().load(path, extra).items():
            setattr(found, name, value)
        return found


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
