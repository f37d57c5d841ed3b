"""What a rule is, and what it finds."""

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
# A small notebook that breaks a rule: its cells' sources, each with its tags.
Example = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding: the rule's code and title, where, what exactly, and what to do.

    `disabled` tells who switched it off, if anybody did: such a finding stops nothing and is shown all the same.
    `follows` names the finding that this one may be gone with.
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
        """Whether it keeps the pipeline from starting."""
        return self.severity == "error" and not self.disabled

    def __str__(self) -> str:
        off = f" (disabled by {self.disabled})" if self.disabled else ""
        off += f" (follows from {self.follows})" if self.follows else ""
        return f"{self.place}: {self.code} {self.what}{off}\n    {self.advice}"

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
    """A rule: `code`, `title`, `severity`; the class docstring is the advice given with each finding.

    `check` yields findings made with `found`. `example` is a notebook that breaks this rule and no other; `files` are
    what must lie beside it. A new rule is a class and a row in a table of `rules`.
    """

    code: ClassVar[str]
    title: ClassVar[str]
    severity: ClassVar[Severity] = "error"
    example: ClassVar[Example] = ()
    files: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def advice(cls) -> str:
        """What to do, in the words of the class docstring, on one line."""
        return " ".join(inspect.cleandoc(cls.__doc__ or "").split())

    @abstractmethod
    def check(self, subject: Subject) -> Iterable[Finding]:
        """Every place where the rule is broken."""

    def found(self, place: Location, what: str, *, advice: str = "", line: int | None = None) -> Finding:
        """A finding of this rule, with the rule's advice unless a nearer one is given."""
        return Finding(self.code, self.title, self.severity, place, what, advice or self.advice(), line)
