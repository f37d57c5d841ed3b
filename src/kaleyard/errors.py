"""Every error Kaleyard raises on purpose, in one tree.

    KaleyardError                 exit code
    ├── UsageError                    2   wrong option, parameter or file
    │   ├── NotebookError             2   the file is no notebook Kaleyard can read
    │   ├── ParameterError            2   unknown parameter, or a value of the wrong type
    │   └── ProjectError              2   pyproject.toml, lock file or folders are not as needed
    ├── CheckError                    3   `check` has findings
    ├── StaleError                    3   committed components differ from their notebooks
    ├── RunError                      1   a run ended with failed steps
    ├── StepError                     1   one step failed
    │   ├── CellError                 1   a cell raised
    │   ├── KernelDiedError           1   the kernel was killed, or ended itself
    │   ├── StepTimeoutError          1   the step ran longer than allowed
    │   ├── StepStoppedError          1   the step was stopped from outside
    │   └── DataError                 1   a value cannot be saved or loaded
    └── ExternalError                 4   disk, engine, registry or cluster refuses
        ├── AccessDeniedError         4   a registry or server does not let us in
        └── UnknownOutcomeError       4   nobody knows whether a server did what it was asked to

A message has three parts: what happened, where (notebook, cell as Jupyter counts it, step), what to do.
Errors travel between processes as plain data (`to_dict`, `from_dict`), never as pickles.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

__all__ = [
    "AccessDeniedError",
    "CellError",
    "CheckError",
    "DataError",
    "ExternalError",
    "KaleyardError",
    "KernelDiedError",
    "Location",
    "NotebookError",
    "ParameterError",
    "ProjectError",
    "RunError",
    "StaleError",
    "StepError",
    "StepStoppedError",
    "StepTimeoutError",
    "UnknownOutcomeError",
    "UsageError",
    "from_dict",
]


@dataclass(frozen=True, slots=True)
class Location:
    """Where something is: notebook, cell number (from 1, all cells counted) and step, as far as known."""

    notebook: str | None = None
    cell: int | None = None
    step: str | None = None

    def __str__(self) -> str:
        parts = [f"cell {self.cell}"] if self.cell is not None else []
        parts += [f"step {self.step}"] if self.step is not None else []
        rest = ", ".join(parts)
        return ": ".join(part for part in (self.notebook, rest) if part)


class KaleyardError(Exception):
    """The base: what happened, where, and what to do about it."""

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, place: Location | None = None, fix: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.place = place or Location()
        self.fix = fix

    def __str__(self) -> str:
        where = str(self.place)
        lines = [f"{where}: {self.what}" if where else self.what]
        lines += [f"  {self.fix}"] if self.fix else []
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """The error as JSON values, for `from_dict`."""
        return {
            "kind": type(self).__name__,
            "what": self.what,
            "notebook": self.place.notebook,
            "cell": self.place.cell,
            "step": self.place.step,
            "fix": self.fix,
        }


class UsageError(KaleyardError):
    """An option, parameter or file that cannot be used as it is."""

    exit_code = 2


class NotebookError(UsageError):
    """The file is not a notebook Kaleyard can read as a pipeline."""


class ParameterError(UsageError):
    """A parameter the pipeline does not have, or a value its type does not allow."""


class ProjectError(UsageError):
    """The project's settings, lock file or folders are not as needed."""


class CheckError(KaleyardError):
    """`check` has findings that stop a run."""

    exit_code = 3


class StaleError(KaleyardError):
    """What is committed under components/ is not what the notebooks say."""

    exit_code = 3


class RunError(KaleyardError):
    """A run ended, and not all of its steps are done."""


class StepError(KaleyardError):
    """One step failed."""


class CellError(StepError):
    """A cell raised: `ename`, `evalue` and the user's own traceback, as the kernel gave it."""

    def __init__(
        self,
        what: str,
        *,
        place: Location | None = None,
        fix: str | None = None,
        ename: str = "",
        evalue: str = "",
        traceback: str = "",
    ) -> None:
        super().__init__(what, place=place, fix=fix)
        self.ename = ename
        self.evalue = evalue
        self.traceback = traceback

    def to_dict(self) -> dict[str, Any]:
        """The error as JSON values, traceback included."""
        more = {"ename": self.ename, "evalue": self.evalue, "traceback": self.traceback}
        return super().to_dict() | more


class KernelDiedError(StepError):
    """The kernel was killed from outside, or ended its own process."""


class StepTimeoutError(StepError):
    """The step ran longer than its time allows."""


class StepStoppedError(StepError):
    """The step was stopped before its end, by Ctrl-C or by the end of the run."""


class DataError(StepError):
    """A value between steps that cannot be saved, or was not found as it was saved."""


class ExternalError(KaleyardError):
    """Something outside is missing or refuses: disk, engine, registry, cluster."""

    exit_code = 4


class AccessDeniedError(ExternalError):
    """A registry or server answered, and does not let us in."""


class UnknownOutcomeError(ExternalError):
    """A server was asked to do something, and its answer was lost."""


_STEP_ERRORS: dict[str, type[StepError]] = {
    cls.__name__: cls for cls in (StepError, CellError, KernelDiedError, StepTimeoutError, StepStoppedError, DataError)
}


def from_dict(data: dict[str, Any]) -> StepError:
    """The step's error that another process wrote with `to_dict`; an unknown kind becomes a StepError."""
    cls = _STEP_ERRORS.get(str(data.get("kind")), StepError)
    place = Location(data.get("notebook"), data.get("cell"), data.get("step"))
    more = {k: str(data.get(k, "")) for k in ("ename", "evalue", "traceback")} if cls is CellError else {}
    return cls(str(data.get("what", "")), place=place, fix=data.get("fix"), **more)
