"""The table of tags, Kale's and Kaleyard's, and corrections for misspelled ones.

To add a tag, add a row to `TAGS`. Kale gets only its own tags, since it rejects others; `kale_adapter` reads
Kaleyard's. Tags of other tools, such as papermill and nbval, are ignored.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

__all__ = ["NETWORK_LABEL", "TAGS", "Tag", "TagProblem", "is_kales", "is_ours", "problem", "step_name"]

_NAME = r"[_a-z][_a-z0-9]*"
_SEGMENT = r"[a-zA-Z0-9](?:[a-zA-Z0-9_.-]*[a-zA-Z0-9])?"
_KEY = rf"{_SEGMENT}(?:/{_SEGMENT})?"
_LABEL = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"


@dataclass(frozen=True, slots=True)
class Tag:
    """One tag: the word before the colon, the pattern of the value after it (None: no value), and its meaning.

    `kales`: Kale knows the tag too.
    """

    word: str
    value: str | None
    example: str
    meaning: str
    kales: bool = True

    def matches(self, tag: str) -> bool:
        """Whether `tag` is this tag and well formed."""
        word, colon, value = tag.partition(":")
        if word != self.word:
            return False
        if self.value is None:
            return not colon
        return bool(colon) and re.fullmatch(self.value, value, re.DOTALL) is not None


TAGS: tuple[Tag, ...] = (
    Tag("imports", None, "imports", "imports; each step gets those it uses"),
    Tag("functions", None, "functions", "functions and constants; each step gets those it uses"),
    Tag("pipeline-parameters", None, "pipeline-parameters", "parameters with their defaults, as plain literals"),
    Tag("pipeline-metrics", None, "pipeline-metrics", "`print(name)` lines: the pipeline's metrics"),
    Tag("skip", None, "skip", "not part of the pipeline"),
    Tag("step", _NAME, "step:train", "starts or continues the step of that name"),
    Tag("prev", _NAME, "prev:preprocess", "this step comes after that one"),
    Tag("notebook", _NAME, "notebook:prepare", "another notebook as part of this pipeline"),
    Tag("limit", r"[_a-z\-./]+:[_a-zA-Z0-9.]+", "limit:memory:2Gi", "a resource limit of the step's pod"),
    Tag("label", rf"{_KEY}:.*", "label:team:pricing", "a label of the step's pod"),
    Tag("annotation", rf"{_KEY}:.*", "annotation:note:long", "an annotation of the step's pod"),
    Tag(
        "secret",
        rf"{_LABEL}(?:\.{_LABEL})*:[-._a-zA-Z0-9]+:[a-zA-Z_][a-zA-Z0-9_]*",
        "secret:database:password:DB_PASSWORD",
        "a key of a Kubernetes secret as an environment variable: secret, key, variable",
    ),
    Tag("image", r"\S+", "image:python:3.12-slim", "the step's own base image"),
    Tag("cache", r"enabled|disabled", "cache:disabled", "whether the step may be taken from the cache"),
    Tag("report", r"enabled|disabled", "report:disabled", "whether the step's page is made"),
    Tag(
        "network",
        r"on|off",
        "network:on",
        "whether the step's container reaches a network; off by default",
        kales=False,
    ),
)
# The label that `network:` sets on the step's pod, for a network policy of the cluster to select.
NETWORK_LABEL = "kaleyard/network"
_WORDS = {t.word: t for t in TAGS}

# Tags of other tools that resemble Kaleyard's.
_OTHER_TOOLS_TAGS = {
    "parameters",
    "injected-parameters",
    "default-parameters",
    "import-only",
    "skip-execution",
    "report",
    "image",
}
_SIMILARITY = 0.8
# Kale's panel in JupyterLab writes this tag on a cell that continues the step above.
_CONTINUES = "step:"


@dataclass(frozen=True, slots=True)
class TagProblem:
    """A misspelled tag: what is wrong with it, and the tag that was probably meant."""

    what: str
    meant: str


def is_ours(tag: str) -> bool:
    """Whether `tag` is one of `TAGS` and well formed."""
    row = _WORDS.get(tag.partition(":")[0])
    return row is not None and row.matches(tag)


def is_kales(tag: str) -> bool:
    """Whether `tag` is well formed and Kale knows it."""
    return is_ours(tag) and _WORDS[tag.partition(":")[0]].kales


def step_name(text: str) -> str:
    """The nearest valid step name to `text`: lower case, digits and underscores, not starting with a digit."""
    name = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
    return name if re.fullmatch(_NAME, name) else f"_{name}" if name else "step"


def problem(tag: str) -> TagProblem | None:
    """What is wrong with a misspelled tag; None for correct tags and those of other tools."""
    if is_ours(tag) or tag in _OTHER_TOOLS_TAGS or tag == _CONTINUES:
        return None
    if tag.startswith("block:"):
        meant = f"step:{tag[6:]}" if tag[6:] else "no tag: the cell continues the step above"
        return TagProblem(f"`{tag}`: `block:` is the old name of `step:`", meant)
    step_like = re.fullmatch(r"(?i)\s*(step|prev|notebook)[-_ =./]+(.+)", tag)
    if step_like and ":" not in tag:
        return TagProblem(f"`{tag}` is not a tag", f"{step_like[1].lower()}:{step_name(step_like[2])}")
    word, colon, value = tag.partition(":")
    plain = re.sub(r"[\s_]+", "-", word.strip().lower())
    row = _WORDS.get(plain) or _closest_tag(plain, with_value=bool(colon))
    if row is None:
        return None
    if row.value is None:
        return TagProblem(f"`{tag}` is not a tag", row.word)
    if not colon and plain not in ("step", "prev", "notebook"):
        return None
    meant = f"{row.word}:{value.strip()}"
    if row.matches(meant):
        return TagProblem(f"`{tag}` is not a tag", meant)
    if row.value == _NAME:
        meant = f"{row.word}:{step_name(value)}" if value.strip() else row.example
        message = f"`{tag}`: a name has lower-case letters, digits and underscores, and does not start with a digit"
        return TagProblem(message, meant)
    return TagProblem(f"`{tag}` is not well formed", row.example)


def _closest_tag(word: str, *, with_value: bool) -> Tag | None:
    words = [t.word for t in TAGS if (t.value is not None) == with_value]
    # difflib rates short words with two swapped letters as too different.
    anagram = next((w for w in words if sorted(w) == sorted(word)), None)
    if anagram:
        return _WORDS[anagram]
    matches = difflib.get_close_matches(word, words, n=1, cutoff=_SIMILARITY)
    return _WORDS[matches[0]] if matches else None
