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

# The prefix of the artifacts that every step has besides its values. Users' variables may not start with it.
RESERVED = "kaleyard_"
NOTEBOOK = "kaleyard_notebook"
PAGE = "kaleyard_page"
METRICS = "kaleyard_metrics"
# The folder with every file that the step has written.
FILES = "kaleyard_files"
# The value that holds the state of the process's random number generators.
RANDOM_STATE = "kaleyard_random_state"

# The entry point, the same for a process, a container and a pod.
COMMAND = ("python", "-m", "kaleyard.runtime")
# Where an image holds step.ipynb and project/.
STEP_FOLDER = "/opt/step"

# The key of our block in the metadata of a step notebook and of its cells.
METADATA = "kaleyard"
# Jupyter's tag for a cell that may raise: the cells below it still run.
RAISES = "raises-exception"
# The cell numbers in the user's notebook of the step's cells, separated by commas.
CELLS_VARIABLE = "KALEYARD_CELLS"
# The path of the file that tells the kernel where to load and save values.
IO_VARIABLE = "KALEYARD_STEP_IO"
# The folder that is the project's root while a step runs; paths below it mean the same in every step.
WORK_VARIABLE = "KALEYARD_WORK_FOLDER"
# Kubeflow Pipelines sets this variable in a pod. There, the step's last log line reports metrics and digests after the
# RESULT prefix: the server's API has neither, but a pod's log can be read.
POD_VARIABLE = "KFP_POD_NAME"
RESULT = "kaleyard result "
# Next to the executor output: the project's files that parameter values name, each under its own path.
PARAMETER_FILES = "parameter-files"
# Next to the executor output: the error as data, for the process that started the step.
FAILURE_FILE = "failure.json"

_MAX_LENGTH = 120
_KFP_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def files_input(step: str) -> str:
    """The name of the input artifact that holds the files of an earlier step."""
    return f"{FILES}_of_{step}"


def artifact_name(variable: str) -> str:
    """The name of a variable or parameter in KFP; the same for all but a few.

    KFP allows only ASCII letters, digits and underscores after a first letter. It passes names as keyword arguments,
    so `self` is not allowed either. Other names are spelled out after the reserved prefix, so that none collide.
    """
    name = unicodedata.normalize("NFKC", variable)  # as Python itself does
    if not (_KFP_NAME.fullmatch(name) and name != "self"):
        spelled = (c if c.isascii() and c.isalnum() else "__" if c == "_" else f"_{ord(c):x}_" for c in name)
        name = f"{RESERVED}x_{''.join(spelled)}"
    if len(name) <= _MAX_LENGTH:
        return name
    # Files have this name, and a file name has a maximum length.
    return f"{name[: _MAX_LENGTH - 17]}_{hashlib.sha256(name.encode()).hexdigest()[:16]}"
