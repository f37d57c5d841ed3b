"""An executed notebook as one HTML page: nbconvert's body in our own shell, no scripts, nothing from the network."""

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
_MOST = 1_000_000  # characters of one text; what is longer loses its middle
_PIECE = 10_000

# What papermill puts round a failing cell, and round the parameters of a run.
_PAPERMILL_NOTE = "papermill-error-cell-tag"
_INJECTED = "injected-parameters"

_STATES = {"failed": "failed", "stopped": "did not end", "unrun": "not run"}
_FOLDED = {"setup": "Setup", "load": "Load inputs", "save": "Save outputs"}
# The richest form that needs no script.
_FORMS = ("text/html", "text/markdown", "image/svg+xml", "image/png", "image/jpeg", "text/plain", "text/latex")

_DRAWN = re.compile(r"<script.*?</script\s*>|<style.*?</style\s*>|<[^>]*>", re.DOTALL | re.IGNORECASE)


def write_page(notebook: Path, target: Path, title: str) -> None:
    """The notebook as a page at `target`, whole or not at all.

    A notebook that was cut short is shown as far as it goes; a file that is no notebook gives a page saying so.
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
        told = _dict(about.get("kaleyard")).get("notebook")
        facts = [("Notebook", str(told or name)), *_facts(_dict(about.get("papermill")))]
        body = _body(cells)
    environment = Environment(loader=FileSystemLoader(_ASSETS), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    shell = environment.get_template("page.html.j2")
    return shell.render(title=title, facts=facts, banner=banner, body=Markup(body)) + "\n"  # noqa: S704 - see _body


def _cells(text: str) -> tuple[list[Any], dict[str, Any]]:
    """The notebook's cells, each with a `view`, and its metadata."""
    import nbformat

    # Not nbformat.read: its validation takes longer than all the rest, and an odd notebook is shown all the same.
    book = nbformat.reader.reads(text)
    if book["nbformat"] != 4:  # noqa: PLR2004 - the format nbconvert speaks
        book = nbformat.convert(book, 4)
    cells = [cell for cell in book["cells"] if _PAPERMILL_NOTE not in _tags(cell)]
    if not any(_ours(cell) for cell in cells):
        # Nobody said which cells are the user's: all but papermill's are.
        users = (cell for cell in cells if _INJECTED not in _tags(cell))
        for number, cell in enumerate(users, 1):
            cell["metadata"]["kaleyard"] = {"role": "user", "cell": number}
    anchors: set[str] = set()
    for position, cell in enumerate(cells, 1):
        cell["source"] = _cut(cell["source"])
        if cell["cell_type"] == "code":
            cell["outputs"] = _shown(cell["outputs"])
        view = cell["view"] = nbformat.from_dict(_view(cell))
        if view["anchor"] in anchors or not view["anchor"]:
            view["anchor"] = f"part-{position}"
        anchors.add(view["anchor"])
    return cells, _dict(book["metadata"])


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _ours(cell: Any) -> dict[str, Any]:
    return _dict(cell["metadata"].get("kaleyard"))


def _tags(cell: Any) -> list[Any]:
    tags = cell["metadata"].get("tags")
    return tags if isinstance(tags, list) else []


# What is said of each cell.


def _view(cell: Any) -> dict[str, Any]:
    """How a cell is shown: its label, whether it is folded, and how it ended."""
    ours, papermill = _ours(cell), _dict(cell["metadata"].get("papermill"))
    role, number = str(ours.get("role")), ours.get("cell")
    number = number if isinstance(number, int) else None
    raised = next((o for o in cell.get("outputs", []) if o["output_type"] == "error"), None)
    state = _state(cell, raised is not None)
    named = f"cell {number}" if number else ""
    label = "Parameters of this run" if _INJECTED in _tags(cell) else "Parameters" if role == "parameters" else ""
    folded = role in _FOLDED
    return {
        "kind": cell["cell_type"],
        "fold": folded,
        "open": state in ("failed", "stopped"),
        "label": label or _FOLDED.get(role) or named.capitalize(),
        "more": " · ".join(part for part in (named, _STATES.get(state)) if part),
        "named": named.capitalize() if role == "user" else _FOLDED.get(role, label) or "A cell",
        "anchor": f"cell-{number}" if number else "",
        "state": f" {state}" if state else "",
        "raised": raised,
        "time": _time(papermill.get("duration")),
    }


def _state(cell: Any, raised: bool) -> str:
    """How the cell ended: `failed`, `stopped` (it never ended), `unrun`, or empty for well."""
    papermill, times = (_dict(cell["metadata"].get(name)) for name in ("papermill", "execution"))
    status = papermill.get("status")
    if status == "failed" or (raised and "raises-exception" not in _tags(cell)):
        return "failed"
    # When the kernel dies, papermill marks every cell completed; the kernel's own times tell the truth.
    begun = any(str(name).startswith("iopub.") for name in times)
    if status == "running" or (begun and "shell.execute_reply" not in times):
        return "stopped"
    never = bool(status) and cell["cell_type"] == "code" and papermill.get("start_time", "") is None
    return "unrun" if status == "pending" or never else ""


def _banner(cells: Iterable[Any]) -> dict[str, Any] | None:
    """What to say at the top when the notebook did not end well."""
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
            more = "Its kernel died, or the step was stopped or ran out of time."
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
    if not isinstance(seconds, int | float) or seconds < 0.05:  # noqa: PLR2004 - nobody waits for less
        return ""
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {rest} s"  # noqa: PLR2004


# What is shown of each output.


def _shown(outputs: Iterable[Any]) -> list[Any]:
    """The outputs as the page shows them: streams joined, one form each, long texts cut."""
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
            shown.append({**output, "data": _form(output.get("data", {})), "metadata": {}})
    for output in shown:
        if "parts" in output:
            text = "".join(output.pop("parts"))
            output["text"] = _cut(without_rewritten(text) if "\r" in text else text)
    return [nbformat.from_dict(output) for output in shown]


def _form(data: dict[str, Any]) -> dict[str, str]:
    """The one form of a value that the page shows."""
    for form in _FORMS:
        value = data.get(form)
        if not isinstance(value, str):
            continue
        if form.startswith("image/"):
            return {form: value}
        # Half a table is no table, and what only a script would draw is nothing here.
        if form == "text/html" and (len(value) > _MOST or ("<script" in value and not _DRAWN.sub("", value).strip())):
            continue
        return {form: _cut(value)}
    kinds = ", ".join(sorted(map(str, data))) or "nothing"
    return {"text/plain": f"[not shown here: {kinds}]"}


def _cut(text: str) -> str:
    """The text, without its middle if it is very long."""
    if len(text) <= _MOST:
        return text
    left = len(text) - _MOST
    note = f"\n\n[... {left:,} characters are left out here; the executed notebook has them all ...]\n\n"
    return text[: _MOST // 2] + note + text[-_MOST // 2 :]


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
    exporter.register_filter("tidy", _tidy)
    exporter.register_filter("coloured", _coloured)
    # Past HTMLExporter's own method: it reads the whole page again with BeautifulSoup to add texts to pictures.
    book = from_dict({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells})
    body, _ = TemplateExporter.from_notebook_node(exporter, book)
    return str(body)


def _coloured(text: str) -> str:
    """Printed text as HTML, with its colours."""
    from nbconvert.filters import ansi2html

    if "\x1b" not in text:
        return str(ansi2html(text))
    # nbconvert copies the rest of the text at every colour; in pieces that stays quick.
    pieces, lines, size = [], [], 0
    for line in text.splitlines(keepends=True):
        lines.append(line)
        size += len(line)
        if size > _PIECE:
            pieces.append("".join(lines))
            lines, size = [], 0
    return "".join(str(ansi2html(piece)) for piece in [*pieces, "".join(lines)])


def _tidy(text: str) -> str:
    """HTML of the user with every element closed, without scripts and without what lies elsewhere."""
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
            note.string = f"[picture not kept in this page: {element.get('alt') or element.get('src')}]"
            element.replace_with(note)
    return str(soup)
