"""Tables of Arrow and frames of polars as Arrow files."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kaleyard.errors import DataError

__all__ = ["Arrow", "Polars"]


class Arrow:
    """Tables of pyarrow with their schema, metadata and chunks."""

    name = "arrow"
    suffix = ".arrow"

    def accepts(self, value: object) -> bool:
        """Tables of exactly pyarrow's own class."""
        return type(value).__module__ == "pyarrow.lib" and type(value).__qualname__ == "Table"

    def save(self, value: Any, path: Path) -> None:
        """Write an uncompressed Arrow file (Feather), which can be mapped into memory."""
        import pyarrow as pa

        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, value.schema) as writer:
            writer.write_table(value)

    def load(self, path: Path, extra: Mapping[str, str]) -> Any:  # noqa: ARG002
        """The table."""
        import pyarrow as pa

        with pa.OSFile(str(path), "rb") as file, pa.ipc.open_file(file) as reader:
            return reader.read_all()


class Polars:
    """Frames of polars."""

    name = "polars"
    suffix = ".arrow"

    def accepts(self, value: object) -> bool:
        """Frames of exactly polars' own class."""
        return str(type(value).__module__).startswith("polars.") and type(value).__qualname__ == "DataFrame"

    def save(self, value: Any, path: Path) -> None:
        """Write an uncompressed Arrow file, read it back and compare."""
        try:
            value.write_ipc(path, compression="uncompressed")
            again = self.load(path, {})
        except Exception as error:
            # For columns of Python objects, polars raises its own errors or panics.
            raise DataError(f"polars cannot write it as an Arrow file: {error}") from error
        if again.schema != value.schema or not again.equals(value, null_equal=True):
            raise DataError("polars does not read back the same frame")

    def load(self, path: Path, extra: Mapping[str, str]) -> Any:  # noqa: ARG002
        """The frame."""
        import polars as pl

        # Not from the path, which polars would map into memory: the artifact may be deleted before the frame.
        return pl.read_ipc(io.BytesIO(path.read_bytes()))
