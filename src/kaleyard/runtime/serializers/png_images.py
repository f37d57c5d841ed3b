"""Images of Pillow as PNG, where PNG keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kaleyard.errors import DataError
from kaleyard.runtime.serializers.serializer import made_by

__all__ = ["Png"]


class Png:
    """Images of Pillow made in memory, in the modes that PNG has: 1, L, LA, P, RGB, RGBA, I;16."""

    name = "png"
    suffix = ".png"

    def accepts(self, value: object) -> bool:
        """Images of exactly Pillow's own class, not those still tied to the file they were opened from."""
        cls = type(value)
        return cls.__module__ == "PIL.Image" and cls.__qualname__ == "Image" and made_by(value, "PIL")

    def save(self, value: Any, path: Path) -> None:
        """The PNG file, read back and compared."""
        try:
            value.save(path, format="PNG")
        except (OSError, ValueError) as error:
            raise DataError(f"PNG has no images of the mode {value.mode}") from error
        again = self.load(path, {})
        # Pillow compares mode, size, palette, info and pixels.
        if again != value:
            raise DataError(f"PNG does not give back the same image of the mode {value.mode}, with its `info`")

    def load(self, path: Path, extra: Mapping[str, str]) -> Any:  # noqa: ARG002
        """The image, no longer tied to a file."""
        from PIL import Image

        with Image.open(path) as opened:
            return opened.copy()
