"""Writes a run's index.html: its results, its parameters and files, and each step."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from kaleyard.errors import ExternalError
from kaleyard.pipeline import Pipeline
from kaleyard.records.run_record import Run, StepRun
from kaleyard.reporting.file_previews import Previews, link_to, size_of
from kaleyard.reporting.graph import StepLook, as_svg, render
from kaleyard.reporting.profile import MEANINGS, PHASES
from kaleyard.runtime.executor_io import atomic_write
from kaleyard.runtime.terminal_text import without_escapes

__all__ = ["write_report"]

# The words for counted states, in the order in which they are listed.
_WORDS = {
    "failed": "failed",
    "stopped": "stopped",
    "done": "ran",
    "cached": "cached",
    "running": "running",
    "waiting": "waiting",
    "skipped": "skipped",
}
_MOST_TEXT = 200_000
_MOST_PICTURE, _MOST_PICTURES = 2_000_000, 20_000_000  # characters of base64: of one, of all
_MOST_METRICS = 24


def write_report(run: Run) -> None:
    """Write the run's report, atomically. Raises ExternalError if the folder cannot be written."""
    page = _page(run)
    try:
        atomic_write(run.report, page)
    except OSError as error:
        raise ExternalError(
            f"{run.report} cannot be written: {error.strerror}", fix="Free disk space, or make it writable."
        ) from error


def _page(run: Run) -> str:
    whole = _whole(run)
    previews = Previews(run)
    steps = [_step(run, step, number, whole, previews) for number, step in enumerate(run.steps.values(), 1)]
    _add_pictures(run, steps)
    pipeline = Pipeline.from_dict(run.pipeline_data) if run.pipeline_data else None
    metrics = [
        {"name": name, "value": _number(value), "exact": repr(value), "step": step.name}
        for step in run.steps.values()
        for name, value in step.metrics.items()
    ]
    return render(
        "report.html.j2",
        title=f"{run.pipeline}: {run.state}",
        run=run,
        facts=_facts(run),
        errors=[step for step in steps if step["error"]],
        graphs=_graphs(pipeline, steps) if pipeline else [],
        metrics=metrics[:_MOST_METRICS],
        parameters=_parameters(run, pipeline),
        files=previews.overview({step["name"]: step["anchor"] for step in steps}),
        steps=steps,
        phases=list(MEANINGS.items()) if any(step.times for step in run.steps.values()) else [],
        half=_time(whole / 2),
        whole=_time(whole),
    )


def _facts(run: Run) -> list[tuple[str, str]]:
    """The facts under the title."""
    counts = Counter(step.state for step in run.steps.values())
    summary = ", ".join(f"{counts[state]} {word}" for state, word in _WORDS.items() if counts[state])  # type: ignore[index]
    started = _moment(run.started)
    facts = [
        ("Started", f"{started:%Y-%m-%d %H:%M:%S} {started.tzname() or ''}".strip() if started else run.started),
        ("Took", _time(run.seconds)),
        ("Steps", f"{len(run.steps)}: {summary}" if summary else "none"),
    ]
    return [(name, value) for name, value in facts if value]


def _graphs(pipeline: Pipeline, steps: Iterable[dict[str, Any]]) -> list[Any]:
    """The drawing, and one from top to bottom for narrow screens if the first runs left to right."""
    from markupsafe import Markup

    looks = {step["name"]: StepLook(step["state"], step["time"]) for step in steps}
    links = {step["name"]: step["page"] or f"#{step['anchor']}" for step in steps}
    drawn = dict.fromkeys(as_svg(pipeline, looks, links, down=down) for down in (None, True))
    return [Markup(svg) for svg in drawn]  # noqa: S704 - escaped by its own template


def _parameters(run: Run, pipeline: Pipeline | None) -> list[dict[str, Any]]:
    """Every parameter with its value, its default where known, and the steps that use it."""
    defaults = pipeline.defaults() if pipeline else {}
    steps = pipeline.steps if pipeline else ()
    return [
        {
            "name": name,
            "value": value,
            "known": name in defaults,
            "default": defaults.get(name),
            "changed": name in defaults and not _same(value, defaults[name]),
            "used": [step.name for step in steps if name in step.parameters],
        }
        for name, value in (defaults | run.parameters).items()
    ]


def _same(a: Any, b: Any) -> bool:
    # As JSON: true is not 1, and a NaN equals a NaN.
    return json.dumps(a, sort_keys=True, default=str) == json.dumps(b, sort_keys=True, default=str) or (
        type(a) in (int, float) and type(b) in (int, float) and a == b
    )


# One step.


def _step(run: Run, step: StepRun, number: int, whole: float, previews: Previews) -> dict[str, Any]:
    """A step's data for the template."""
    page, notebook, log = (link_to(run.folder, path) for path in (step.page, step.notebook, step.log))
    links = (("Executed notebook", page), ("Notebook file", notebook), ("Log", log))
    ran = step.seconds > 0
    shown = {
        "name": step.name,
        "anchor": f"step-{number}",
        "state": step.state,
        "time": _time(step.seconds) if ran else "",
        "share": f"{step.seconds / whole:.0%}" if ran and whole else "",
        "bar": _bar(run, step, whole),
        "reason": step.reason,
        "parameters": list(step.parameters.items()),
        "metrics": [(name, _number(value)) for name, value in step.metrics.items()],
        "artifacts": [
            {"name": a.name, "format": a.format, "size": size_of(a.size), "link": link_to(run.folder, a.path)}
            for a in step.artifacts
        ],
        "files": previews.of(step),
        "error": _error(step.error) if step.error else None,
        "page": page,
        "links": [(name, link) for name, link in links if link],
        "picture": "",
    }
    details = ("parameters", "metrics", "artifacts", "files", "error")
    return shown | {"plain": not any(shown[key] for key in details)}


def _error(error: dict[str, Any]) -> dict[str, str]:
    """The error's parts as text."""
    place = [f"{name} {error[name]}" for name in ("cell", "step") if error.get(name) is not None]
    where = ": ".join(part for part in (str(error.get("notebook") or ""), ", ".join(place)) if part)
    parts = {"where": where, **{name: str(error.get(name) or "") for name in ("what", "fix", "traceback")}}
    texts = {name: _cut(without_escapes(text)).strip("\n") for name, text in parts.items()}
    # The id of the cell in the step's page.
    return texts | {"anchor": f"#cell-{error['cell']}" if isinstance(error.get("cell"), int) else ""}


def _cut(text: str) -> str:
    if len(text) <= _MOST_TEXT:
        return text
    half = _MOST_TEXT // 2
    return f"{text[:half]}\n\n[... {len(text) - _MOST_TEXT:,} characters are left out here ...]\n\n{text[-half:]}"


def _bar(run: Run, step: StepRun, whole: float) -> dict[str, Any] | None:
    """The step's bar on the time line: its start and width in per cent, and its parts in per cent of the bar."""
    begun, started = _moment(run.started), _moment(step.started)
    if not (begun and started and whole and step.seconds > 0):
        return None
    left = min(max((started - begun).total_seconds() / whole, 0), 1)
    parts = [
        {"name": name, "label": f"{name} {_time(value)}", "width": round(100 * value / step.seconds, 2)}
        for name in PHASES
        if (value := step.times.get(name, 0.0)) > 0
    ]
    width = min(step.seconds / whole, 1 - left)
    before = min(step.times.get("waiting", 0.0) / whole, left)
    after = min(step.times.get("report", 0.0) / whole, 1 - left - width)
    lines = (("waiting", left - before, before), ("report", left + width, after))
    return {
        "left": round(100 * left, 2),
        "width": round(100 * width, 2),
        "parts": parts,
        "lines": [
            {
                "name": name,
                "label": f"{name} {_time(step.times[name])}",
                "left": round(100 * at, 2),
                "width": round(100 * long, 2),
            }
            for name, at, long in lines
            if long > 0
        ],
    }


def _whole(run: Run) -> float:
    """The length of the time line: the run's time, or longer if a step ended later."""
    begun = _moment(run.started)
    ends = [run.seconds, *(step.seconds for step in run.steps.values())]
    for step in run.steps.values():
        started = _moment(step.started)
        if begun and started:
            ends.append((started - begun).total_seconds() + step.seconds)
    return max(ends)


def _add_pictures(run: Run, steps: Iterable[dict[str, Any]]) -> None:
    """Add the first picture of each executed notebook, as a data URI, up to a total size."""
    left = _MOST_PICTURES
    for shown in steps:
        path = run.steps[shown["name"]].notebook
        picture = _picture(run.folder / path) if path and shown["links"] else ""
        if len(picture) <= left:
            shown["picture"] = picture
            left -= len(picture)


def _picture(notebook: Path) -> str:
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        for output in (output for cell in cells for output in cell.get("outputs", ())):
            for kind in ("image/png", "image/jpeg"):
                data = output.get("data", {}).get(kind, "")
                text = re.sub(r"\s", "", data if isinstance(data, str) else "".join(data))
                if text and len(text) <= _MOST_PICTURE and re.fullmatch(r"[A-Za-z0-9+/]+=*", text):
                    return f"data:{kind};base64,{text}"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        # The notebook is missing or incomplete: the step has no picture.
        pass
    return ""


# How values are written.


def _moment(text: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.astimezone()


def _time(seconds: float) -> str:
    if seconds < 10:  # noqa: PLR2004
        return f"{seconds:.2g} s" if seconds < 1 else f"{seconds:.1f} s"
    if seconds < 60:  # noqa: PLR2004
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {rest} s"  # noqa: PLR2004


def _number(value: float) -> str:
    """A metric as text: four significant digits, or all digits in groups for whole and large numbers."""
    if isinstance(value, bool | str) or not math.isfinite(value):
        return str(value)
    if value == round(value) or abs(value) >= 10_000:  # noqa: PLR2004
        return f"{value:,.0f}" if abs(value) < 1e15 else f"{value:.3e}"  # noqa: PLR2004
    return f"{value:.4g}"
