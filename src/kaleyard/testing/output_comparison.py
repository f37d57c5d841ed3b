"""What of an output counts when it is compared: not what is another each time, and numbers within a tolerance."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from kaleyard.errors import ProjectError

__all__ = ["align", "by_kind", "options_of", "quiet", "sanitizers", "tolerance_of"]

# The random part of an identifier that is only there to connect a piece of HTML with its script or style.
_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
_DAY = r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
# A line of `ls -l`: the time of the last change is between size and name, a year if it is older than half of one.
_LISTED = (
    r"(?m)^([-bcdlps](?:[-r][-w][-xsStT]){3}[.+@]?[ \t]+\d+[ \t]+(?:\S+[ \t]+){1,2}?"
    r"(?:\d+,[ \t]*\d+|[\d.,]+[KMGTP]?)[ \t]+)"
    rf"(?:{_MONTH}[ \t]+\d{{1,2}}|\d{{1,2}}[ \t]+{_MONTH})[ \t]+(?:\d{{1,2}}:\d{{2}}|\d{{4}})(?=[ \t])"
)
# `date`, `time.ctime()` and the headers of HTTP.
_DATED = (
    rf"\b{_DAY},? (?:{_MONTH} [ \d]\d|\d{{1,2}} {_MONTH} \d{{4}}) \d{{2}}:\d{{2}}:\d{{2}}"
    r"(?: [AP]M)?(?: [A-Z]{3,5}\b)?(?: \d{4}\b)?"
)
# Where Python and its packages are. A path begins at a boundary: a search from every slash of base64 takes minutes.
_INSTALLED = (
    r"(?<![^\s'\"<>:,(=\[])(?:[A-Za-z]:)?[/\\][^\s'\"<>:,]{0,300}[/\\]"
    r"(?:(?:site|dist)-packages|lib[/\\]python3\.\d+)(?![\w.-])"
)

# In this order: what is longer comes before what is a part of it. Each stays as narrow as the library that writes it
# allows: whatever else differs in the same line must still fail the test.
_ALWAYS = (
    # reprlib, which scikit-learn uses, shortens `<Foo object at 0x7f05a0106840>` in the middle; pandas does at the end.
    (r"(\.\.\.)(?:0?x[0-9a-fA-F]{6,16}|[0-9a-fA-F]{8,16})(>|&gt;)", r"\1ADDRESS\2"),
    (r"\bat 0x[0-9a-fA-F]{1,16}(?=\.\.\.)", "at 0xADDRESS"),
    (r"0x[0-9a-fA-F]{6,16}\b", "0xADDRESS"),
    (r"\bstarted (daemon )?\d{6,}(?=\)(?:>|&gt;))", r"started \1THREAD"),
    # Ray's workers, and glog's lines as TensorFlow writes them.
    (r"(?m)^((?:\x1b\[[\d;]*m)*\((?:\S+ )?pid=)\d+(?=[,)])", r"\1PID"),
    (r"(?m)^([IWEF])\d{4} \d{2}:\d{2}:[\d.]+ +\d+ (?=\S+:\d+\])", r"\1 TIME "),
    (_LISTED, r"\1TIME"),
    (_DATED, "TIME"),
    # The head of a summary of statsmodels.
    (rf"(\bDate:(?:</th>)?\s*(?:<td>)?\s*){_DAY}, \d{{2}} {_MONTH} \d{{4}}", r"\1DATE"),
    (r"\b\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}([.,]\d+)?)?(Z|[+-]\d{2}:?\d{2})?", "TIME"),
    (r"\b\d{2}:\d{2}:\d{2}([.,]\d+)?\b", "TIME"),
    (r"(?m)^(CPU times|Wall time): .*$", r"\1: TIME"),
    # Only there if it took longer than a tenth of a second.
    (r"(?m)^(?:Compiler|Parser) *: [\d.]+ (?:ns|[uµμ]s|ms|s|min)\b.*$\n?", ""),
    (r"(?m)^(?:\d+min )?[\d.]+ ?(ns|[uµμ]s|ms|s) ± .* per loop .*$", "TIMES"),
    (r"(?m)^\d+ loops?, best of \d+: .* per loop$", "TIMES"),
    (r"(?m)^The slowest run took [\d.]+ times longer than the fastest\..*$\n?", ""),
    (r"(?m)^peak memory: [\d.]+ MiB, increment: -?[\d.]+ MiB$", "MEMORY"),
    # Keras, with its colours or without.
    (r"(?<![\d.])\d+s(?:\x1b\[0m)? \d+(?:us|ms|s)/(step|epoch|sample)\b", r"TIME/\1"),
    (r"(?m)^.*\d+%\|.*\|.*$\n?", ""),
    (r"(?m)^Matplotlib is building the font cache.*$\n?", ""),
    (
        r"(?m)^.*\bTqdmWarning: IProgress not found\b.*$\n?(?:^[ \t]+from \S+ import .*\btqdm\b.*$\n?)?",
        "",
    ),
    # Identifiers in HTML: of scikit-learn, plotly, altair, pandas' styles, and matplotlib's SVG.
    (r"\b(sk-(?:container|estimator)-id-)\d+", r"\1ID"),
    (
        rf"(\b(?:id|for)=[\"'](?:sk-)?|#sk-|\b(?:getElementById|newPlot|addFrames|animate)\(\s*[\"']){_UUID}",
        r"\1UUID",
    ),
    (r"\b(altair-viz-)[0-9a-f]{32}", r"\1ID"),
    (r"(\bid=\"|#)T_(?:[0-9a-f]{8}(?:_[0-9a-f]{4}){3}_[0-9a-f]{12}|[0-9a-f]{5})(?![0-9a-f])", r"\1T_ID"),
    (r"(\bid=\"|#)(image|C[0-9a-f]+_[0-9a-f]+_|[hmp])[0-9a-f]{10}(?![0-9a-f])", r"\1\2ID"),
    (_INSTALLED, "PACKAGES"),
    (r"ipykernel_\d+[/\\]\d+\.py", "ipykernel.py"),
    (r"(/tmp|/var/tmp|/var/folders|/private/var/folders)/[^\s'\"<>:,)]+", "TEMPORARY"),
)
# What nbval does not compare: a traceback names lines of libraries, and a widget's model is another each time.
_WIDGET = "application/vnd.jupyter.widget-view+json"
_UNTESTED = ("image/png", "image/jpeg", _WIDGET)
# Sanitizers read texts; base64 would only take their time.
_BINARY = ("image/png", "image/jpeg", "image/gif", "image/webp", "application/pdf")
_NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.]*\w)")


def sanitizers(root: Path, patterns: Iterable[str]) -> dict[str, str]:
    """Patterns and the replacements of what they match: ours, the project's folder, then `patterns`.

    Raises ProjectError for one that is no regular expression.
    """
    found = dict(_ALWAYS) | {re.escape(str(root)): "PROJECT"}
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            fix = "Mend it: sanitize in [tool.kaleyard]."
            raise ProjectError(f"{pattern!r} is no regular expression: {error}", fix=fix) from error
        found[pattern] = "SANITIZED"
    return found


def tolerance_of(default: str, *metadata: Mapping[str, Any]) -> float:
    """The relative tolerance that the last of the notebook's and the cell's metadata states, else the project's.

    Raises ProjectError for one that is no number from 0 to 1.
    """
    tolerance: Any = default
    for one in metadata:
        ours = one.get("kaleyard")
        tolerance = ours.get("tolerance", tolerance) if isinstance(ours, Mapping) else tolerance
    try:
        value = float(tolerance)
    except (TypeError, ValueError):
        value = math.nan
    if not 0 <= value < 1:
        fix = 'State it as a share: "tolerance": 1e-6 under "kaleyard" in the metadata, or in [tool.kaleyard].'
        raise ProjectError(f"{tolerance!r} is no tolerance", fix=fix)
    return value


def options_of(cell: Any) -> dict[str, bool]:
    """What the cell's tags and comments say to nbval: `check` is there only if they say so."""
    from nbval.plugin import find_comment_markers, find_metadata_tags

    return dict(find_metadata_tags(cell.metadata)) | dict(find_comment_markers(cell.source))


def quiet(outputs: Iterable[Any], patterns: Mapping[str, str]) -> list[Any]:
    """Copies of the outputs with stand-ins for what the patterns match, each stream in one piece.

    A stream of which nothing is left is gone: a warning that does not count may come in one run only.
    """
    import nbformat
    from nbval.plugin import coalesce_streams

    found = []
    for output in coalesce_streams([nbformat.from_dict(json.loads(json.dumps(o))) for o in outputs]):
        for key in {"text", "data", "ename", "evalue", "traceback"} & output.keys():
            output[key] = nbformat.from_dict(_quiet(output[key], patterns))
        if output.output_type != "stream" or output.text:
            found.append(output)
    return found


def _quiet(value: Any, patterns: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        for pattern, words in patterns.items():
            value = re.sub(pattern, words, value)
        return value
    if isinstance(value, dict):
        return {k: v if k in _BINARY else _quiet(v, patterns) for k, v in value.items() if k != _WIDGET}
    return [_quiet(v, patterns) for v in value] if isinstance(value, list) else value


def by_kind(outputs: Iterable[Any]) -> dict[str, list[Any]]:
    """What nbval compares: for each stream, MIME type and part of an error all there is of it, in order."""
    found: dict[str, list[Any]] = {}
    for output in outputs:
        if output["output_type"] == "stream":
            parts = {output["name"]: output["text"]}
        elif output["output_type"] == "error":
            parts = {key: output[key] for key in ("ename", "evalue")}
        else:
            parts = {k: v for k, v in (output.get("data") or {}).items() if k not in _UNTESTED}
        for kind, value in parts.items():
            found.setdefault(kind, []).append(value)
    return found


def align(outputs: list[Any], reference: list[Any], tolerance: float) -> list[Any]:
    """The outputs with each text as in the reference where the two differ in numbers alone, and these are close.

    With a number its width may change, so white space counts once. Shapes of outputs are left as they are.
    """
    if not tolerance:
        return outputs
    stored: dict[str, list[str]] = {}
    for kind, _, text in _texts(reference):
        stored.setdefault(kind, []).append(text)
    counts: dict[str, int] = {}
    for kind, holder, text in _texts(outputs):
        number = counts[kind] = counts.get(kind, -1) + 1
        before = stored.get(kind, ())
        if number < len(before) and text != before[number] and _is_close(text, before[number], tolerance):
            holder[kind.partition(" ")[2]] = before[number]
    return outputs


def _texts(outputs: list[Any]) -> Iterator[tuple[str, Any, str]]:
    """Every text: what it is, what holds it, and the text. A stream's is under `text`, others under their MIME type."""
    for output in outputs:
        if output["output_type"] == "stream":
            yield f"{output['name']} text", output, output["text"]
        for kind, text in (output.get("data") or {}).items():
            if isinstance(text, str) and kind.startswith(("text/", "application/json")):
                yield f"data {kind}", output["data"], text


def _is_close(one: str, other: str, tolerance: float) -> bool:
    plain, stored = (" ".join(_NUMBER.sub("#", text).split()) for text in (one, other))
    if plain != stored:
        return False
    pairs = zip(_NUMBER.findall(one), _NUMBER.findall(other), strict=True)
    return all(math.isclose(float(a), float(b), rel_tol=tolerance, abs_tol=0.0) for a, b in pairs)
