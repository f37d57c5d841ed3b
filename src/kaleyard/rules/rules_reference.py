"""The page about the rules, `docs/rules.md`, written from their classes.

`python -m kaleyard.rules.rules_reference > docs/rules.md` writes it anew.
"""

from __future__ import annotations

import sys

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
_HEAD = """\
# The rules of `kaleyard check`

<!-- Written from the code by `python -m kaleyard.rules.rules_reference`; a test holds the two together. -->

`kaleyard check` reads notebooks and starts no kernel. An error keeps the pipeline from starting; a warning is told.

A rule is switched off for a project in its pyproject.toml, and for one cell by a comment in it. What is found all the
same is shown as disabled.

```toml
[tool.kaleyard]
disable = ["KY601"]
```

```python
# kaleyard: disable=KY601
```

Each rule has an example: a notebook's cells with their tags, as small as it gets, that breaks this rule and no other.
"""


def rules_page() -> str:
    """The page, in Markdown."""
    parts = [_HEAD]
    topic = ""
    for code, rule in RULES.items():
        if code[:3] != topic:
            topic = code[:3]
            parts.append(f"## {_TOPICS[topic]}\n")
        files = f"With {', '.join(f'`{f}`' for f in rule.files)} beside the notebook:\n\n" if rule.files else ""
        parts.append(f"### {code}: {rule.title}\n\n*{rule.severity.capitalize()}.* {rule.advice()}\n")
        if rule.example:
            parts.append(f"{files}{_cells(rule.example)}")
    return "\n".join(parts)


def _cells(example: Example) -> str:
    cells = (f"# {_told(tags)}\n{source}" for source, tags in example)
    return "```python\n" + "\n\n".join(cells) + "\n```\n"


def _told(tags: str) -> str:
    ran = [t.partition(":")[2] for t in tags.split() if t.startswith("run:")]
    words = [t for t in tags.split() if not t.startswith("run:")] or ["no tag"]
    return " ".join(words) + (f" (ran as number {ran[0]})" if ran else "")


if __name__ == "__main__":
    sys.stdout.write(rules_page())
