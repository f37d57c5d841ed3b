"""What of an output counts when it is compared: not what is another each time, and numbers within a tolerance."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from kaleyard.errors import ProjectError

__all__ = ["align", "sanitizers", "tolerance_of"]

# Pictures are never compared, nor what is made of random ids; their text beside them is.
_ALWAYS = (
    (r"0x[0-9a-fA-F]{6,16}\b", "0xADDRESS"),
    (r"\b\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}([.,]\d+)?)?(Z|[+-]\d{2}:?\d{2})?", "TIME"),
    (r"\b\d{2}:\d{2}:\d{2}([.,]\d+)?\b", "TIME"),
    (r"(?m)^(CPU times|Wall time): .*$", r"\1: TIME"),
    (r"(?m)^[\d.]+ (ns|[uµμ]s|ms|s) ± .* per loop .*$", "TIMES"),
    (r"(?m)^.*\d+%\|.*\|.*$\n?", ""),
    (r"(?m)^Matplotlib is building the font cache.*$\n?", ""),
    (r"ipykernel_\d+[/\\]\d+\.py", "ipykernel.py"),
    (r"(/tmp|/var/tmp|/var/folders|/private/var/folders)/[^\s'\"<>:,)]+", "TEMPORARY"),
)
_NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.]*\w)")


def sanitizers(root: Path, told: Iterable[str]) -> dict[str, str]:
    """Patterns and what stands in for what they match: ours, the project's folder, and the `told` ones, in that order.

    Raises ProjectError for one that is no regular expression.
    """
    found = dict(_ALWAYS) | {re.escape(str(root)): "PROJECT"}
    for pattern in told:
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
    told: Any = default
    for one in metadata:
        ours = one.get("kaleyard")
        told = ours.get("tolerance", told) if isinstance(ours, Mapping) else told
    try:
        value = float(told)
    except (TypeError, ValueError):
        value = math.nan
    if not 0 <= value < 1:
        fix = 'State it as a share: "tolerance": 1e-6 under "kaleyard" in the metadata, or in [tool.kaleyard].'
        raise ProjectError(f"{told!r} is no tolerance", fix=fix)
    return value


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
