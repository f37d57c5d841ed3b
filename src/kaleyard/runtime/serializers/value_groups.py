"""Values that share objects, saved together so that they still share them when loaded."""

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
    """Values by name that share objects."""

    values: Mapping[str, Any]

    @property
    def reason(self) -> str:
        """Why no open format keeps them."""
        return f"{', '.join(f'`{name}`' for name in self.values)} share objects and are saved together"


class TogetherFormat:
    """Values that share objects and are changed in place later; each file holds all of them."""

    name = "together"
    suffix = ".pkl"

    def accepts(self, value: object) -> bool:
        """Only groups that the save cell has made."""
        return isinstance(value, Together)

    def save(self, value: Together, path: Path) -> None:
        """Write one pickle of all values."""
        Cloudpickle().save(dict(value.values), path)

    def load(self, path: Path, extra: Mapping[str, str]) -> Together:
        """All values of the group."""
        values = Cloudpickle().load(path, extra)
        if not isinstance(values, dict):
            raise DataError("the file does not hold values by name")
        return Together(values)
