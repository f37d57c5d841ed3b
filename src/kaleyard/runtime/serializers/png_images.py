"""Images of Pillow as PNG files."""

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
        """Images of exactly Pillow's own class, not of the classes for opened files."""
        cls = type(value)
        return cls.__module__ == "PIL.Image" and cls.__qualname__ == "Image" and made_by(value, "PIL")

    def save(self, value: Any, path: Path) -> None:
        """Write the PNG file, read it back and compare."""
        try:
            value.save(path, format="PNG")
        except (OSError, ValueError) as error:
            raise DataError(f"PNG does not support the image mode {value.mode}") from error
        again = self.load(path, {})
        # Pillow compares mode, size, palette, info and pixels.
        if again != value:
            raise DataError(f"PNG does not give back the same image (mode {value.mode}) and `info`")

    def load(self, path: Path, extra: Mapping[str, str]) -> Any:  # noqa: ARG002
        """The image, independent of the file."""
        from PIL import Image

        with Image.open(path) as opened:
            return opened.copy()
