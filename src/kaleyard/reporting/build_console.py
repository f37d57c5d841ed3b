"""What a build tells while it goes on: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Protocol, TextIO

from kaleyard.records.image_record import BuiltPipeline, StepImage

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

__all__ = ["BuildReporter", "LiveBuildReporter", "PlainBuildReporter", "SilentBuildReporter", "make_build_reporter"]

_STYLES = {
    "waiting": "dim",
    "building": "cyan",
    "pushing": "cyan",
    "there": "blue",
    "built": "green",
    "pushed": "green",
}


class BuildReporter(Protocol):
    """Hears what happens to images."""

    def started(self, built: BuiltPipeline) -> None:
        """The build begins; the names of all images are known."""
        ...

    def waits(self) -> None:
        """Another build of the project goes first."""
        ...

    def changed(self, image: StepImage) -> None:
        """An image has a new state."""
        ...

    def finished(self, built: BuiltPipeline, *, dry_run: bool = False) -> None:
        """It is over, and the package is written if there is one."""
        ...

    def close(self) -> None:
        """Nothing more comes, whatever happened."""
        ...


class SilentBuildReporter:
    """Tells nothing."""

    def started(self, built: BuiltPipeline) -> None:
        """Nothing is told."""

    def waits(self) -> None:
        """Nothing is told."""

    def changed(self, image: StepImage) -> None:
        """Nothing is told."""

    def finished(self, built: BuiltPipeline, *, dry_run: bool = False) -> None:
        """Nothing is told."""

    def close(self) -> None:
        """Nothing is left to do."""


class PlainBuildReporter(SilentBuildReporter):
    """A line for each thing that happens."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout

    def started(self, built: BuiltPipeline) -> None:
        """The pipeline, and how many images it has."""
        self._print(f"images of {built.pipeline}: {len(built.steps)}")

    def waits(self) -> None:
        """Another build goes first."""
        self._print("  waiting for another build of this project")

    def changed(self, image: StepImage) -> None:
        """The step, its image's state and time."""
        self._print(f"  {image.step}: {_words(image)}")

    def finished(self, built: BuiltPipeline, *, dry_run: bool = False) -> None:
        """What was made, and where the package is."""
        for line in build_summary(built, dry_run=dry_run):
            self._print(line)

    def _print(self, line: str) -> None:
        print(line, file=self._stream, flush=True)


class LiveBuildReporter(PlainBuildReporter):
    """A table that changes as the images do."""

    def __init__(self) -> None:
        super().__init__()
        self._built: BuiltPipeline | None = None
        self._live: Live | None = None
        self._since: dict[str, float] = {}

    def started(self, built: BuiltPipeline) -> None:
        """The table appears."""
        from rich.live import Live

        self._built = built
        self._live = Live(get_renderable=self._table, refresh_per_second=4)
        self._live.start()

    def changed(self, image: StepImage) -> None:
        """The step's row changes."""
        if image.state == "building":
            self._since[image.step] = time.monotonic()

    def finished(self, built: BuiltPipeline, *, dry_run: bool = False) -> None:
        """The table stays, and the outcome follows."""
        self.close()
        super().finished(built, dry_run=dry_run)

    def close(self) -> None:
        """The table is as it was last."""
        if self._live:
            self._live.stop()
        self._live = None

    def _table(self) -> Table:
        from rich.markup import escape
        from rich.table import Table

        table = Table(box=None, padding=(0, 2), show_header=False)
        for name, image in self._built.steps.items() if self._built else ():
            since = time.monotonic() - self._since[name] if name in self._since else 0.0
            seconds = image.seconds or since
            took = f"{seconds:.1f} s" if seconds else ""
            table.add_row(escape(name), f"[{_STYLES[image.state]}]{image.state}[/]", took, f"[dim]{image.name}[/]")
        return table


def build_summary(built: BuiltPipeline, *, dry_run: bool = False) -> list[str]:
    """The outcome in lines: how many images were built and pushed, in what time, and where the package is."""
    count = len(built.steps)
    images = f"{count} image{'s' * (count != 1)}"
    if dry_run:
        missing = [image for image in built.steps.values() if image.state == "waiting"]
        lines = [f"  {image.step}: would be built as {image.name}" for image in missing]
        return [*lines, f"{images}: {count - len(missing)} there, {len(missing)} to build"]
    made, pushed = (sum(getattr(i, what) for i in built.steps.values()) for what in ("built", "pushed"))
    lines = [f"{images}: {made} built, {pushed} pushed, in {built.seconds:.1f} s"]
    return lines + ([f"package: {built.package}"] if built.package else [])


def make_build_reporter(*, json: bool = False) -> BuildReporter:
    """What fits where the output goes."""
    if json:
        return SilentBuildReporter()
    return LiveBuildReporter() if sys.stdout.isatty() else PlainBuildReporter()


def _words(image: StepImage) -> str:
    took = f" in {image.seconds:.1f} s" if image.seconds else ""
    where = image.pinned if image.digest else image.name
    told = {"there": f"is there, {where}", "pushed": f"pushed{took}, {where}", "built": f"built{took}, {where}"}
    return told.get(image.state, image.state)
