"""A limit on the output of a cell."""

from __future__ import annotations

from typing import Any

from nbformat import NotebookNode
from nbformat.v4 import new_output

__all__ = ["MOST_OUTPUT", "BoundedOutput"]

# Characters of output kept per cell: without a limit, a cell that prints forever fills the memory.
MOST_OUTPUT = 20_000_000


class BoundedOutput:
    """A mixin before nbclient's client that cuts the output of a cell at a limit, with a note."""

    _kept = 0
    _cell = -1

    def output(
        self, outs: list[NotebookNode], msg: dict[str, Any], display_id: str | None, cell_index: int
    ) -> NotebookNode | None:
        """The output as nbclient keeps it; None beyond the limit."""
        if cell_index != self._cell:
            self._cell, self._kept = cell_index, 0
        before = self._kept
        self._kept += _length(msg["content"])
        if self._kept <= MOST_OUTPUT or msg["msg_type"] == "error":
            output: NotebookNode | None = super().output(outs, msg, display_id, cell_index)  # type: ignore[misc]
            return output
        if before <= MOST_OUTPUT:
            notice = f"\n[Output cut: this cell printed more than {MOST_OUTPUT:,} characters.]\n"
            outs.append(new_output("stream", name="stderr", text=notice))
        return None


def _length(content: dict[str, Any]) -> int:
    text = content.get("text")
    if isinstance(text, str):
        return len(text)
    data = content.get("data")
    return sum(len(v) for v in data.values() if isinstance(v, str)) if isinstance(data, dict) else 0
