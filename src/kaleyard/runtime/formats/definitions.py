"""Where the classes of values are: recorded by module and name, found again in the process that loads."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from kaleyard.errors import DataError

__all__ = ["class_named", "find", "reference"]

_MISSING = object()


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
    return f"{cls.__module__}:{cls.__qualname__}"


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
