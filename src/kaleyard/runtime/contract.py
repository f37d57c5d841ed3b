"""The names that a compiled component, a step notebook and the step runner agree on."""

from __future__ import annotations

import hashlib
import re
import unicodedata

__all__ = [
    "CELLS_VARIABLE",
    "COMMAND",
    "FAILURE_FILE",
    "FILES",
    "IO_VARIABLE",
    "METADATA",
    "METRICS",
    "NOTEBOOK",
    "PAGE",
    "PARAMETER_FILES",
    "POD_VARIABLE",
    "RAISES",
    "RANDOM_STATE",
    "RESERVED",
    "RESULT",
    "STEP_FOLDER",
    "WORK_VARIABLE",
    "artifact_name",
    "files_input",
]

# Output artifacts every step has beside its own values. Users' variables may not start with this prefix.
RESERVED = "kaleyard_"
NOTEBOOK = "kaleyard_notebook"
PAGE = "kaleyard_page"
METRICS = "kaleyard_metrics"
# The folder with every file that the step has written.
FILES = "kaleyard_files"
# The value that holds the state of the process's generators of random numbers.
RANDOM_STATE = "kaleyard_random_state"

# The entry point, the same for a process, a container and a pod.
COMMAND = ("python", "-m", "kaleyard.runtime")
# Where an image holds step.ipynb and project/.
STEP_FOLDER = "/opt/step"

# The key of our block in the metadata of a step notebook and of its cells.
METADATA = "kaleyard"
# Jupyter's own tag of a cell that may raise: what comes after it runs all the same.
RAISES = "raises-exception"
# Which cells of the user's notebook the step's cells are: numbers with commas between them.
CELLS_VARIABLE = "KALEYARD_CELLS"
# The kernel finds where values come from and go to in the file this variable names.
IO_VARIABLE = "KALEYARD_STEP_IO"
# The folder that stands for the project's root while a step runs; paths below it mean the same in every step.
WORK_VARIABLE = "KALEYARD_WORK_FOLDER"
# A pod of Kubeflow Pipelines is known by this variable. In it the step's last line says what it gave, behind this word:
# the server's API tells neither metrics nor digests, but a pod's log can be read.
POD_VARIABLE = "KFP_POD_NAME"
RESULT = "kaleyard result "
# Beside the executor output: files of the project that the values of parameters name, each under its own path.
PARAMETER_FILES = "parameter-files"
# Beside the executor output: what went wrong, as data, for whoever started the step.
FAILURE_FILE = "failure.json"

_LONGEST = 120
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def files_input(step: str) -> str:
    """The name of the input artifact with the files that an earlier step has written."""
    return f"{FILES}_of_{step}"


def artifact_name(variable: str) -> str:
    """The name KFP knows a variable or parameter by: the same, for all but a few.

    KFP allows only ASCII letters, digits and underscores after a first letter, and calls components with keyword
    arguments, so not `self`. Other names are spelled out behind our reserved prefix, so that no two become one.
    """
    name = unicodedata.normalize("NFKC", variable)  # as Python itself does
    if not (_PLAIN.fullmatch(name) and name != "self"):
        spelled = (c if c.isascii() and c.isalnum() else "__" if c == "_" else f"_{ord(c):x}_" for c in name)
        name = f"{RESERVED}x_{''.join(spelled)}"
    if len(name) <= _LONGEST:
        return name
    # Files are called by it, and a file's name has an end.
    return f"{name[: _LONGEST - 17]}_{hashlib.sha256(name.encode()).hexdigest()[:16]}"
