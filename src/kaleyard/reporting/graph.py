"""Draws a pipeline: for a terminal, as SVG, as a page, as JSON. Equal pipelines give equal bytes."""

from __future__ import annotations

import io
import json
import math
import re
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kaleyard.pipeline import Pipeline, Step
from kaleyard.reporting.graph_layout import GAP, Layers, step_depths
from kaleyard.runtime.contract import RANDOM_STATE

__all__ = ["StepLook", "as_html", "as_json", "as_svg", "as_text", "readable", "render"]

# Step pages use the runtime's assets too, for one style. Changes to reporting's own assets rebuild no step's image.
_ASSETS = (Path(__file__).parent / "assets", Path(__file__).parents[1] / "runtime" / "assets")
# XML cannot represent these characters. Names do not contain them, but defaults and messages may.
_UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_NO_BREAK = "\ue000"  # stands for a space where a line must not be broken

_PAD = 14.0
_NARROWEST_BOX, _WIDEST_BOX = 108.0, 240.0
_WIDEST = 1010.0  # a drawing wider than this is turned top to bottom, if that makes it narrower
_LINE, _LONGEST_TEXT = 14.0, 22
_MOST_LABELLED = 12  # edges; if there are more, none is labelled with its values


@dataclass(frozen=True, slots=True)
class StepLook:
    """A step's state in a drawing (`done`, `cached`, `failed`, ...) and a few words, such as its time."""

    state: str
    words: str = ""


def render(template: str, **values: Any) -> str:
    """Render a template from assets or runtime/assets, with every value escaped."""
    from jinja2 import Environment, FileSystemLoader

    environment = Environment(loader=FileSystemLoader(_ASSETS), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"value_text": _value_text, "readable": readable}
    return _UNWRITABLE.sub("\ufffd", environment.get_template(template).render(**values)) + "\n"


def readable(name: str) -> str:
    """A readable name for what passes between steps: a value, a file, or the random state."""
    # The pattern "*" stands for all files.
    return {RANDOM_STATE: "random state", "*": "files"}.get(name, name)


def as_json(pipeline: Pipeline) -> str:
    """The pipeline as JSON: `Pipeline.to_dict()` and its edges."""
    edges = [{"from": start, "to": end, "values": names} for start, end, names in pipeline.edges]
    return json.dumps(pipeline.to_dict() | {"edges": edges}, indent=1, ensure_ascii=False) + "\n"


def as_html(pipeline: Pipeline) -> str:
    """A self-contained page with the graph, the steps and the parameters."""
    from markupsafe import Markup

    links = {name: f"#step-{number}" for number, name in enumerate(pipeline.names, 1)}
    svg = Markup(as_svg(pipeline, links=links))  # noqa: S704 - escaped by its own template
    return render("pipeline.html.j2", title=pipeline.name, pipeline=pipeline, svg=svg, inputs=_inputs, outputs=_outputs)


def as_text(pipeline: Pipeline, width: int = 100) -> str:
    """The pipeline for a terminal: the steps in order, with depth, inputs, outputs and parameters."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    rows = []
    for rail, step in zip(_rails(pipeline), pipeline.steps, strict=True):
        takes = [
            f"{', '.join(names)} ←{_NO_BREAK}{source}" if names else f"after{_NO_BREAK}{source}"
            for source, names in _inputs(step)
        ]
        gives = [f"{name}{_NO_BREAK}(metric)" if name in step.metrics else readable(name) for name in _outputs(step)]
        rows.append((rail, step.name, *map(", ".join, (takes, gives, step.parameters))))
    steps = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0))
    # Omit empty columns.
    shown = [n for n in range(5) if any(row[n] for row in rows)]
    for n in shown:
        steps.add_column(("", "step", "takes", "gives", "parameters")[n], overflow="fold", no_wrap=n == 0)
    for row in rows:
        steps.add_row(*(Text(row[n]) for n in shown))
    defaults = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for parameter in pipeline.parameters:
        defaults.add_row(Text(parameter.name), Text(_value_text(parameter.default), overflow="ellipsis", no_wrap=True))
    console = Console(
        width=width,
        file=io.StringIO(),
        color_system=None,
        force_jupyter=False,
        legacy_windows=False,
        _environ={},
    )
    with console.capture() as text:
        console.print(Text(" · ".join(p for p in (pipeline.name, _count(pipeline), pipeline.notebook) if p)))
        for part in (steps, defaults):
            if part.row_count:
                console.print("", part, sep="\n")
    return "\n".join(
        line.rstrip() for line in _UNWRITABLE.sub("\ufffd", text.get().replace(_NO_BREAK, " ")).split("\n")
    )


def _rails(pipeline: Pipeline) -> list[str]:
    """Each step's depth, with a bracket around neighbours of the same depth, which can run in parallel."""
    depths = [-1, *step_depths(pipeline).values(), -1]
    wide = len(str(max(depths) + 1))
    bracket = {(False, False): "─", (False, True): "┬", (True, True): "├", (True, False): "└"}
    return [
        f"{'' if before == here else here + 1:>{wide}} {bracket[before == here, after == here]}"
        for before, here, after in zip(depths, depths[1:], depths[2:], strict=False)
    ]


def _value_text(value: Any) -> str:
    """A parameter's value as text: strings without quotes, other values as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _count(pipeline: Pipeline) -> str:
    return f"{len(pipeline.steps)} step{'' if len(pipeline.steps) == 1 else 's'}"


def _inputs(step: Step) -> list[tuple[str, list[str]]]:
    """Each earlier step, with the values and files taken from it; none if only the order matters."""
    names: dict[str, list[str]] = defaultdict(list)
    for taken in step.inputs:
        names[taken.step].append(readable(taken.name))
    for files in step.file_inputs:
        names[files.step] += map(readable, files.paths)
    return [*names.items(), *((name, []) for name in step.after if name not in names)]


def _outputs(step: Step) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*step.outputs, *step.metrics)))


def as_svg(
    pipeline: Pipeline,
    states: Mapping[str, StepLook] | None = None,
    links: Mapping[str, str] | None = None,
    *,
    down: bool | None = None,
) -> str:
    """The pipeline as one SVG for light and dark pages, from left to right or from top to bottom (`down`).

    If `down` is None it runs left to right, unless that is too wide and top to bottom is narrower.
    """
    edges = pipeline.edges
    labels_of = {names: [readable(name) for name in names] for _, _, names in edges}
    texts = {names: _short(shown) if len(edges) <= _MOST_LABELLED else "" for names, shown in labels_of.items()}
    boxes = {s.name: _box(s, (states or {}).get(s.name), (links or {}).get(s.name, "")) for s in pipeline.steps}
    gap = max([GAP, *(_wide(text, 11) + 60 for text in texts.values() if text)])
    layers, vertical = Layers(pipeline, boxes, gap, down=False), Layers(pipeline, boxes, GAP, down=True)
    if down or (down is None and layers.length > max(_WIDEST, vertical.breadth)):
        layers = vertical
    layers.place()
    curves = [
        layers.curve(route) | {"values": labels_of[names], "text": texts[names]} for route, names in layers.routes
    ]
    labels: list[dict[str, Any]] = []
    for curve in curves:
        # A text that would overlap another is shown only in the edge's tooltip.
        curve["room"] = room = math.ceil(_wide(curve["text"], 11)) + 6
        near = (c for c in labels if abs(curve["y"] - c["y"]) < _LINE)
        if curve["text"] and all(abs(curve["x"] - c["x"]) > (room + c["room"]) / 2 for c in near):
            labels.append(curve)
    size = (layers.breadth, layers.length) if layers.down else (layers.length, layers.breadth)
    seen = {"title": f"Pipeline {pipeline.name}: {_count(pipeline)}", "edges": curves, "labels": labels}
    return render("graph.svg.j2", **seen, boxes=boxes.values(), linked=bool(links), size=[math.ceil(n) for n in size])


def _box(step: Step, look: StepLook | None, link: str) -> dict[str, Any]:
    """A step's box: its lines, size and tooltip; `Layers.place` adds its position."""
    lines = [("name", 13.5, step.name), ("more", 11.5, ", ".join(step.parameters))]
    lines += [("look", 11.5, f"{look.state} {look.words}".strip())] if look else []
    shown = [(kind, size, _cut(text, size)) for kind, size, text in lines if text]
    return {
        "step": step,
        "gives": [readable(name) for name in _outputs(step)],
        "state": look.state if look else "",
        "link": link,
        "width": math.ceil(max(_NARROWEST_BOX, *(_wide(text, size) + 2 * _PAD for _, size, text in shown))),
        "height": 17 + 18 * len(shown),
        "lines": [(kind, text, 22 + 18 * n) for n, (kind, _, text) in enumerate(shown)],
    }


def _short(names: Sequence[str]) -> str:
    text = ", ".join(names)
    if len(text) <= _LONGEST_TEXT or len(names) == 1:
        return text if len(text) <= _LONGEST_TEXT else ""
    # Names of files contain dots or slashes, names of values do not.
    files = sum("." in name or "/" in name for name in names)
    counts = ((len(names) - files, "value"), (files, "file"))
    return ", ".join(f"{n} {word}{'s' * (n != 1)}" for n, word in counts if n)


def _wide(text: str, size: float) -> float:
    """The approximate width of a text in a common sans-serif font, rather too large than too small."""
    extra = (0.12 * c.isupper() + 0.45 * (unicodedata.east_asian_width(c) in "WF") for c in text)
    return size * (sum(0.34 if c in "iljtf.,:'| " else 0.6 for c in text) + sum(extra))


def _cut(text: str, size: float) -> str:
    while _wide(text, size) > _WIDEST_BOX - 2 * _PAD:
        text = text[:-2] + "…"
    return text
