"""What a rule is, and what it finds."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, TypeVar

from kaleyard.errors import Place

__all__ = ["Finding", "Rule", "Severity"]

Severity = Literal["error", "warning"]
Subject = TypeVar("Subject")


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding: the rule's code and title, where, what exactly, and what to do."""

    code: str
    title: str
    severity: Severity
    place: Place
    what: str
    advice: str
    line: int | None = None

    def __str__(self) -> str:
        return f"{self.place}: {self.code} {self.what}\n    {self.advice}"

    def to_dict(self) -> dict[str, Any]:
        """The finding as JSON values."""
        return {
            "code": self.code,
            "title": self.title,
            "severity": self.severity,
            "notebook": self.place.notebook,
            "cell": self.place.cell,
            "line": self.line,
            "step": self.place.step,
            "what": self.what,
            "advice": self.advice,
        }


class Rule(ABC, Generic[Subject]):
    """A rule: `code`, `title`, `severity`; the class docstring is the advice given with each finding.

    `check` yields findings made with `found`. A new rule is a class and a row in a table of `rules`.
    """

    code: ClassVar[str]
    title: ClassVar[str]
    severity: ClassVar[Severity] = "error"

    @classmethod
    def advice(cls) -> str:
        """What to do, in the words of the class docstring, on one line."""
        return " ".join(inspect.cleandoc(cls.__doc__ or "").split())

    @abstractmethod
    def check(self, subject: Subject) -> Iterable[Finding]:
        """Every place where the rule is broken."""

    def found(self, place: Place, what: str, *, advice: str = "", line: int | None = None) -> Finding:
        """A finding of this rule, with the rule's advice unless a nearer one is given."""
        return Finding(self.code, self.title, self.severity, place, what, advice or self.advice(), line)
