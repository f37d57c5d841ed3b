"""The names that every notebook has without making them."""

from __future__ import annotations

import builtins

__all__ = ["GIVEN"]

# What IPython puts into every notebook's namespace, beside Python's own.
GIVEN = frozenset(dir(builtins)) | {
    *("display", "get_ipython", "In", "Out", "exit", "quit", "_", "__", "___", "_i", "_ii", "_iii", "_ih", "_oh"),
    *("_dh", "__name__", "__builtins__", "__doc__", "__annotations__"),
    # What IPython takes for a magic where it stands alone.
    *("pwd", "ls", "ll", "cd", "who", "whos", "history", "clear"),
}
