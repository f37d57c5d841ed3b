"""Which notebook a kernel runs, where that can be known."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

__all__ = ["this_notebook"]

_JUPYTER = "JPY_SESSION_NAME"  # Jupyter Server 2 and later set it when they start a kernel
_VS_CODE = "__vsc_ipynb_file__"  # VS Code puts it among the notebook's names


def this_notebook(shell: Any) -> Path | None:
    """The file of the notebook that an IPython shell runs, as its front end tells; None where none does.

    It is the name the notebook had when its kernel started: after a renaming there may be no such file.
    """
    path_text = shell.user_ns.get(_VS_CODE) or (os.environ.get(_JUPYTER) if getattr(shell, "kernel", None) else None)
    if not isinstance(path_text, str) or not path_text.endswith(".ipynb"):
        return None  # a console, or a text file that is edited as a notebook
    path = Path(path_text)
    # A server tells it from its own root where the notebook's folder is not known; kernels start in that folder.
    return path if path.is_absolute() or path.exists() else Path(path.name)
