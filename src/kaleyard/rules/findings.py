"""The base class of all rules, and the findings they report."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, TypeVar

from kaleyard.errors import Location

__all__ = ["Example", "Finding", "Rule", "Severity"]

Severity = Literal["error", "warning"]
Subject = TypeVar("Subject")
# A small notebook that breaks a rule: the source and the tags of each cell.
Example = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding: the rule's code and title, the location, the message, and what to do.

    `disabled` says what disabled the rule here, if anything did: such a finding is shown and stops nothing.
    `follows` names the finding that probably caused this one.
    """

    code: str
    title: str
    severity: Severity
    place: Location
    what: str
    advice: str
    line: int | None = None
    disabled: str = ""
    follows: str = ""

    @property
    def is_error(self) -> bool:
        """Whether the finding keeps the pipeline from starting."""
        return self.severity == "error" and not self.disabled

    def __str__(self) -> str:
        suffix = f" (disabled by {self.disabled})" if self.disabled else ""
        suffix += f" (follows from {self.follows})" if self.follows else ""
        return f"{self.place}: {self.code} {self.what}{suffix}\n    {self.advice}"

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
            "disabled": self.disabled,
            "follows": self.follows,
        }


class Rule(ABC, Generic[Subject]):
    """A rule: `code`, `title`, `why` it matters, `severity`; the class docstring is the advice in each finding.

    `check` yields findings, created by `finding`. `example` is a notebook that breaks this rule and no other; `files`
    must exist beside it. To add a rule, write a class and add it to `RULES` of its module.
    """

    code: ClassVar[str]
    title: ClassVar[str]
    why: ClassVar[str]
    severity: ClassVar[Severity] = "error"
    example: ClassVar[Example] = ()
    files: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def advice(cls) -> str:
        """What to do: the class docstring on one line."""
        return " ".join(inspect.cleandoc(cls.__doc__ or "").split())

    @abstractmethod
    def check(self, subject: Subject) -> Iterable[Finding]:
        """A finding for every place that breaks the rule."""

    def finding(self, location: Location, message: str, *, advice: str = "", line: int | None = None) -> Finding:
        """A finding of this rule, with the rule's own advice unless there is a more specific one."""
        return Finding(self.code, self.title, self.severity, location, message, advice or self.advice(), line)
