"""Values that share objects, kept as one, so that what is one object stays one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kaleyard.errors import DataError
from kaleyard.runtime.serializers.cloudpickle_fallback import Cloudpickle

__all__ = ["Together", "TogetherFormat"]


@dataclass(frozen=True, slots=True)
class Together:
    """Values by name that are partly one object; `reason` says whose name is beside whose."""

    values: Mapping[str, Any]

    @property
    def reason(self) -> str:
        """Why no open format keeps them."""
        return f"{', '.join(f'`{name}`' for name in self.values)} share objects and travel as one"


class TogetherFormat:
    """Values that share objects and are changed in place later; each of them holds all."""

    name = "together"
    suffix = ".pkl"

    def accepts(self, value: object) -> bool:
        """What the save cell has put together, and nothing of a user's."""
        return isinstance(value, Together)

    def save(self, value: Together, path: Path) -> None:
        """One pickle of all of them."""
        Cloudpickle().save(dict(value.values), path)

    def load(self, path: Path, extra: Mapping[str, str]) -> Together:
        """All of them, once more as one."""
        values = Cloudpickle().load(path, extra)
        if not isinstance(values, dict):
            raise DataError("the file holds no values by name")
        return Together(values)
