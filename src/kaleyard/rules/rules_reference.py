"""The page `docs/rules.md`, generated from the classes of the rules.

To update it, run `python -m kaleyard.rules.rules_reference > docs/rules.md`.
"""

from __future__ import annotations

import sys
import textwrap

from kaleyard.rules.checker import RULES
from kaleyard.rules.findings import Example

__all__ = ["rules_page"]

_TOPICS = {
    "KY1": "Tags and structure",
    "KY2": "Names and values",
    "KY3": "Parameters and metrics",
    "KY4": "Packages, modules and files",
    "KY5": "Data between steps",
    "KY6": "Hygiene",
}
_INTRODUCTIONS = {
    "KY2": """\
KY206, KY208 and KY209 belong together: **a step may not change a value that another step also uses. If it does, the
run stops instead of giving a wrong result.**
""",
}
_HEAD = """\
# The rules of `kaleyard check`

<!-- Written from the code by `python -m kaleyard.rules.rules_reference`; a test holds the two together. -->

`kaleyard check` reads notebooks without running them. An error keeps the pipeline from starting; a warning does not.

To disable a rule for a project, name it in pyproject.toml:

```toml
[tool.kaleyard]
disable = ["KY601"]
```

To disable a rule for one cell, put a comment in the cell:

```python
# kaleyard: disable=KY601
```

Findings of disabled rules are still shown, marked as disabled, and stop nothing. The example of each rule is a small
notebook, written as its cells with their tags, that breaks only this rule.
"""


def rules_page() -> str:
    """The page as Markdown."""
    parts = [_HEAD]
    topic = ""
    for code, rule in RULES.items():
        if code[:3] != topic:
            topic = code[:3]
            parts.append(f"## {_TOPICS[topic]}\n")
            parts += [_INTRODUCTIONS[topic]] if topic in _INTRODUCTIONS else []
        parts.append(f"### {code}: {rule.title}\n\n*{rule.severity.capitalize()}*\n")
        parts += [_paragraph(f"**Why is this bad?** {rule.why}"), _paragraph(f"**What to do:** {rule.advice()}")]
        if rule.example:
            files = f", with {', '.join(f'`{f}`' for f in rule.files)} beside the notebook" if rule.files else ""
            parts.append(f"**Example**{files}:\n\n{_cells(rule.example)}")
    return "\n".join(parts)


def _paragraph(text: str) -> str:
    return textwrap.fill(text, 120, break_on_hyphens=False) + "\n"


def _cells(example: Example) -> str:
    cells = (f"# {_tag_line(tags)}\n{source}" for source, tags in example)
    return "```python\n" + "\n\n".join(cells) + "\n```\n"


def _tag_line(tags: str) -> str:
    counts = [t.partition(":")[2] for t in tags.split() if t.startswith("run:")]
    words = [t for t in tags.split() if not t.startswith("run:")] or ["no tag"]
    return " ".join(words) + (f" (ran as number {counts[0]})" if counts else "")


if __name__ == "__main__":
    sys.stdout.write(rules_page())
