"""What a check is, and what it finds."""

from __future__ import annotations

import inspect
import re
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from kaleyard.config import Project

__all__ = ["LIMIT", "Answer", "Machine", "Probe", "ProbeResult", "State", "ask", "version_in"]

# fine: as it should be; tight: it works, with little to spare; unsure: it cannot be told, and most likely is;
# unset: nobody named one here.
State = Literal["fine", "tight", "missing", "old", "new", "small", "refused", "silent", "unsure", "unset"]

LIMIT = 4.0  # seconds that one check may take; all together are told within five
_VERSION = re.compile(r"\d+(?:\.\d+)+(?:-?rc\.?\d+)?")


@dataclass(frozen=True, slots=True)
class Machine:
    """Where the checks look, and what for."""

    project: Project
    purpose: str


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What a check found: its state, in words, the version or size if there is one, and what to do."""

    code: str
    name: str
    state: State
    what: str
    fix: str = ""
    version: str = ""
    needed: bool = False

    @property
    def will_do(self) -> bool:
        """Whether what was looked at can be used as it is."""
        return self.state in {"fine", "tight", "unsure"}

    @property
    def stops(self) -> bool:
        """Whether it is needed and cannot be used."""
        return self.needed and not self.will_do

    def to_dict(self) -> dict[str, Any]:
        """The finding as JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}


class Probe(ABC):
    """One thing to look at: `code`, `name`; the class docstring is the fix, unless a nearer one is told."""

    code: ClassVar[str]
    name: ClassVar[str]

    @classmethod
    def advice(cls) -> str:
        """What to do, in the words of the class docstring, on one line."""
        return " ".join(inspect.cleandoc(cls.__doc__ or "").split())

    @abstractmethod
    def look(self, machine: Machine) -> ProbeResult:
        """What there is. It may take its time: who asks sets the limit."""

    def found(self, state: State, what: str, *, fix: str = "", version: str = "") -> ProbeResult:
        """A finding of this check; the fix is told with what needs one."""
        advice = "" if state in {"fine", "unsure"} else fix or self.advice()
        return ProbeResult(self.code, self.name, state, what, advice, version)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a program said, and whether it did what it was told."""

    good: bool
    said: str
    complaint: str


def ask(command: Sequence[str]) -> Answer:
    """What a program answers to a short question; one that is silent for too long has failed."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=LIMIT - 0.5,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Answer(good=False, said="", complaint=f"it gave no answer in {LIMIT - 0.5:g} s")
    except OSError as error:
        return Answer(good=False, said="", complaint=str(error.strerror))
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    return Answer(done.returncode == 0, done.stdout.strip(), lines[-1] if lines else "it gave no reason")


def version_in(text: str) -> str:
    """The first thing in a text that looks like a version, "" if nothing does."""
    found = _VERSION.search(text)
    return found[0] if found else ""
