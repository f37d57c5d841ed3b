"""An executed notebook as one HTML page: nbconvert's body in our template, without scripts or network access."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from kaleyard.runtime.executor_io import atomic_write
from kaleyard.runtime.terminal_text import without_escapes, without_rewritten

__all__ = ["write_page"]

_ASSETS = Path(__file__).parent / "assets"
_MAX_TEXT = 1_000_000  # characters of one text; longer ones lose their middle
_CHUNK = 10_000

# Tags of the cells that papermill adds: notes about an error, and the parameters of a run.
_PAPERMILL_NOTE = "papermill-error-cell-tag"
_INJECTED = "injected-parameters"

_STATES = {"failed": "failed", "stopped": "did not end", "unrun": "not run"}
_FOLDED = {"setup": "Setup", "load": "Load inputs", "save": "Save outputs"}
# MIME types that need no script, richest first.
_FORMS = ("text/html", "text/markdown", "image/svg+xml", "image/png", "image/jpeg", "text/plain", "text/latex")

_MARKUP = re.compile(r"<script.*?</script\s*>|<style.*?</style\s*>|<[^>]*>", re.DOTALL | re.IGNORECASE)


def write_page(notebook: Path, target: Path, title: str) -> None:
    """Write the notebook as a page to `target`, completely or not at all.

    A notebook that ended early is shown as far as it ran; for an invalid notebook the page says so.
    Raises OSError if `notebook` cannot be read or `target` cannot be written.
    """
    text = notebook.read_text(encoding="utf-8", errors="replace")
    atomic_write(target, _page(text, notebook.name, title).encode(errors="replace"))


def _page(text: str, name: str, title: str) -> str:
    from jinja2 import Environment, FileSystemLoader
    from markupsafe import Markup
    from nbformat import ValidationError

    body, facts, banner = "", [("Notebook", name)], None
    try:
        cells, about = _cells(text)
    except (ValueError, KeyError, TypeError, AttributeError, ValidationError) as error:
        banner = {"what": f"{name} cannot be read as a notebook.", "more": str(error)[:400]}
    else:
        banner = _banner(cells)
        original_name = _dict(about.get("kaleyard")).get("notebook")
        facts = [("Notebook", str(original_name or name)), *_facts(_dict(about.get("papermill")))]
        body = _body(cells)
    environment = Environment(loader=FileSystemLoader(_ASSETS), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    shell = environment.get_template("page.html.j2")
    return shell.render(title=title, facts=facts, banner=banner, body=Markup(body)) + "\n"  # noqa: S704 - see _body


def _cells(text: str) -> tuple[list[Any], dict[str, Any]]:
    """The notebook's cells, each with a `view`, and its metadata."""
    import nbformat

    # Not nbformat.read: its validation takes longer than everything else, and a page is also useful for odd notebooks.
    book = nbformat.reader.reads(text)
    if book["nbformat"] != 4:  # noqa: PLR2004 - the format nbconvert speaks
        book = nbformat.convert(book, 4)
    cells = [cell for cell in book["cells"] if _PAPERMILL_NOTE not in _tags(cell)]
    if not any(_own_metadata(cell) for cell in cells):
        # Without our metadata, all cells but papermill's are the user's.
        users = (cell for cell in cells if _INJECTED not in _tags(cell))
        for number, cell in enumerate(users, 1):
            cell["metadata"]["kaleyard"] = {"role": "user", "cell": number}
    anchors: set[str] = set()
    for position, cell in enumerate(cells, 1):
        cell["source"] = _cut(cell["source"])
        if cell["cell_type"] == "code":
            cell["outputs"] = _page_outputs(cell["outputs"])
        view = cell["view"] = nbformat.from_dict(_view(cell))
        if view["anchor"] in anchors or not view["anchor"]:
            view["anchor"] = f"part-{position}"
        anchors.add(view["anchor"])
    return cells, _dict(book["metadata"])


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _own_metadata(cell: Any) -> dict[str, Any]:
    return _dict(cell["metadata"].get("kaleyard"))


def _tags(cell: Any) -> list[Any]:
    tags = cell["metadata"].get("tags")
    return tags if isinstance(tags, list) else []


# Cells.


def _view(cell: Any) -> dict[str, Any]:
    """How a cell is shown: its label, whether it is folded, and how it ended."""
    ours, papermill = _own_metadata(cell), _dict(cell["metadata"].get("papermill"))
    role, number = str(ours.get("role")), ours.get("cell")
    number = number if isinstance(number, int) else None
    raised = next((o for o in cell.get("outputs", []) if o["output_type"] == "error"), None)
    state = _state(cell, raised is not None)
    name = f"cell {number}" if number else ""
    label = "Parameters of this run" if _INJECTED in _tags(cell) else "Parameters" if role == "parameters" else ""
    folded = role in _FOLDED
    return {
        "kind": cell["cell_type"],
        "fold": folded,
        "open": state in ("failed", "stopped"),
        "label": label or _FOLDED.get(role) or name.capitalize(),
        "more": " · ".join(part for part in (name, _STATES.get(state)) if part),
        "named": name.capitalize() if role == "user" else _FOLDED.get(role, label) or "A cell",
        "anchor": f"cell-{number}" if number else "",
        "state": f" {state}" if state else "",
        "raised": raised,
        "time": _time(papermill.get("duration")),
    }


def _state(cell: Any, raised: bool) -> str:
    """How the cell ended: `failed`, `stopped` (it did not end), `unrun`, or empty if it succeeded."""
    papermill, times = (_dict(cell["metadata"].get(name)) for name in ("papermill", "execution"))
    status = papermill.get("status")
    if status == "failed" or (raised and "raises-exception" not in _tags(cell)):
        return "failed"
    # When the kernel dies, papermill marks every cell as completed; the kernel's own times are right.
    has_started = any(str(name).startswith("iopub.") for name in times)
    if status == "running" or (has_started and "shell.execute_reply" not in times):
        return "stopped"
    never_started = bool(status) and cell["cell_type"] == "code" and papermill.get("start_time", "") is None
    return "unrun" if status == "pending" or never_started else ""


def _banner(cells: Iterable[Any]) -> dict[str, Any] | None:
    """The message at the top of the page if a cell failed or did not end."""
    views = [cell["view"] for cell in cells]
    for view in views:
        if view["state"] == " failed":
            raised = view["raised"] or {"ename": "", "evalue": ""}
            message = without_escapes(str(raised["evalue"])).strip().split("\n")[0][:400]
            ename = raised["ename"]
            what = f"{view['named']} raised {ename}." if ename else f"{view['named']} failed."
            return {"what": what, "more": message, "anchor": view["anchor"]}
    for view in views:
        if view["state"] == " stopped":
            more = "Its kernel died, or the step was stopped or timed out."
            return {"what": f"{view['named']} did not end.", "more": more, "anchor": view["anchor"]}
    return None


def _facts(papermill: dict[str, Any]) -> list[tuple[str, str]]:
    """When the notebook ran and for how long."""
    facts = []
    try:
        started = datetime.fromisoformat(str(papermill.get("start_time")))
        facts.append(("Started", f"{started:%Y-%m-%d %H:%M} {started.tzname() or ''}".strip()))
    except ValueError:
        pass
    time = _time(papermill.get("duration"))
    return [*facts, ("Took", time)] if time else facts


def _time(seconds: Any) -> str:
    if not isinstance(seconds, int | float) or seconds < 0.05:  # noqa: PLR2004 - too short to show
        return ""
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {rest} s"  # noqa: PLR2004


# Outputs.


def _page_outputs(outputs: Iterable[Any]) -> list[Any]:
    """The outputs as the page shows them: joined streams, one MIME type each, long texts cut."""
    import nbformat

    shown: list[Any] = []
    for output in outputs:
        kind = output["output_type"]
        if kind == "stream" and shown and shown[-1].get("name") == output["name"]:
            shown[-1]["parts"].append(output["text"])
        elif kind == "stream":
            shown.append({"output_type": kind, "name": output["name"], "parts": [output["text"]]})
        elif kind == "error":
            lines = output.get("traceback") or [f"{output['ename']}: {output['evalue']}"]
            shown.append({**output, "text": _cut("\n".join(map(str, lines)))})
        else:
            shown.append({**output, "data": _richest_form(output.get("data", {})), "metadata": {}})
    for output in shown:
        if "parts" in output:
            text = "".join(output.pop("parts"))
            output["text"] = _cut(without_rewritten(text) if "\r" in text else text)
    return [nbformat.from_dict(output) for output in shown]


def _richest_form(data: dict[str, Any]) -> dict[str, str]:
    """The richest MIME type of an output that the page can show."""
    for form in _FORMS:
        value = data.get(form)
        if not isinstance(value, str):
            continue
        if form.startswith("image/"):
            return {form: value}
        # A cut table is useless, and content that only a script draws would be empty.
        if form == "text/html" and (
            len(value) > _MAX_TEXT or ("<script" in value and not _MARKUP.sub("", value).strip())
        ):
            continue
        return {form: _cut(value)}
    kinds = ", ".join(sorted(map(str, data))) or "nothing"
    return {"text/plain": f"[not shown here: {kinds}]"}


def _cut(text: str) -> str:
    """The text, without its middle if it is very long."""
    if len(text) <= _MAX_TEXT:
        return text
    omitted = len(text) - _MAX_TEXT
    note = f"\n\n[... {omitted:,} characters omitted; the executed notebook has them all ...]\n\n"
    return text[: _MAX_TEXT // 2] + note + text[-_MAX_TEXT // 2 :]


# nbconvert.


def _body(cells: list[Any]) -> str:
    """The cells as HTML, by nbconvert and notebook.html.j2."""
    from nbconvert import HTMLExporter
    from nbconvert.exporters.templateexporter import TemplateExporter
    from nbconvert.filters import Highlight2HTML
    from nbformat import from_dict

    exporter = HTMLExporter(
        template_name="base",
        template_file="notebook.html.j2",
        extra_template_paths=[str(_ASSETS)],
        extra_template_basedirs=[],
        default_preprocessors=[],
        exclude_anchor_links=True,
    )
    exporter.register_filter("highlight_code", Highlight2HTML(pygments_lexer="ipython3", parent=exporter))
    exporter.register_filter("sanitized", _sanitized)
    exporter.register_filter("coloured", _coloured)
    # Not HTMLExporter's own method, which parses the whole page with BeautifulSoup to add alternative texts to images.
    book = from_dict({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells})
    body, _ = TemplateExporter.from_notebook_node(exporter, book)
    return str(body)


def _coloured(text: str) -> str:
    """Printed text as HTML, with its colours."""
    from nbconvert.filters import ansi2html

    if "\x1b" not in text:
        return str(ansi2html(text))
    # nbconvert copies the rest of the text at every colour: chunks keep that fast.
    chunks, lines, size = [], [], 0
    for line in text.splitlines(keepends=True):
        lines.append(line)
        size += len(line)
        if size > _CHUNK:
            chunks.append("".join(lines))
            lines, size = [], 0
    return "".join(str(ansi2html(chunk)) for chunk in [*chunks, "".join(lines)])


def _sanitized(text: str) -> str:
    """The user's HTML with all elements closed, without scripts and external resources."""
    from bs4 import BeautifulSoup
    from bs4.exceptions import ParserRejectedMarkup
    from markupsafe import escape

    try:
        soup = BeautifulSoup(text, "html.parser")
    except ParserRejectedMarkup:
        return f"<pre>{escape(text)}</pre>"
    for element in soup(["script", "link", "meta", "base", "iframe", "object", "embed"]):
        element.decompose()
    for element in soup(lambda e: any(a in e.attrs for a in ("src", "srcset"))):
        if not str(element.get("src", "")).startswith("data:"):
            note = soup.new_tag("span", attrs={"class": "left-out"})
            note.string = f"[external picture omitted: {element.get('alt') or element.get('src')}]"
            element.replace_with(note)
    return str(soup)
