"""Where verbs show what people look at: a terminal here, a notebook's output where `%kaleyard` calls them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from kaleyard.pipeline import Pipeline
    from kaleyard.reporting.console import Reporter
    from kaleyard.rules.findings import Finding

__all__ = ["Screen", "counted", "finding_lines", "screen"]


class Screen:
    """A terminal, or a file that stands in for one. What shows more than text overrides its methods."""

    def graph(self, pipeline: Pipeline) -> None:
        """The steps of a pipeline and how they hang together."""
        from kaleyard.reporting.graph import as_text

        click.echo(as_text(pipeline))

    def findings(self, findings: Sequence[Finding]) -> None:
        """What `check` found."""
        click.echo("\n".join(finding_lines(findings)))

    def reporter(self) -> Reporter:
        """What tells of a run while it goes on."""
        from kaleyard.reporting.console import make_reporter

        return make_reporter(json=False)


def screen() -> Screen:
    """Where the command under way shows things: what its caller gave as the context's object, else the terminal."""
    found = click.get_current_context().find_object(Screen)
    return found or Screen()


def finding_lines(findings: Sequence[Finding]) -> list[str]:
    """Every finding as text, and their number."""
    lines = [f"{'disabled' if f.disabled else f.severity}: {f}" for f in findings]
    return [*lines, counted(findings)]


def counted(findings: Sequence[Finding]) -> str:
    """How many findings of each kind there are, in words."""
    counts = {"error": 0, "warning": 0, "disabled": 0}
    for finding in findings:
        counts["disabled" if finding.disabled else finding.severity] += 1
    parts = [f"{n} {word}{'s' * (n != 1 and word != 'disabled')}" for word, n in counts.items() if n]
    return ", ".join(parts) or "no findings"
