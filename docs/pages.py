"""A hook of MkDocs: the pages that are written from the code while the site is built, and links that leave the docs.

So no such page can be stale, and a new verb, tag or setting is on the site without anybody's doing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import kaleyard.errors
from kaleyard.cli import cli
from kaleyard.config import Project
from kaleyard.notebook.tags import TAGS

__all__ = ["on_files", "on_page_markdown"]

# Links into the repository lead nowhere on the site: their text stays.
_OUTSIDE = re.compile(r"\[([^\]]+)\]\((?:\.\./)+(?:templates|notebooks|tests|src)\b[^)]*\)")
_WIDTH = 100
_CODES = (
    "0 done; 1 a step, cell or test failed; 2 wrong use; 3 findings, or stale components; "
    "4 something outside is missing or refuses; 130 interrupted."
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The files of the site, with the pages that the code tells."""
    for name, text in (("commands.md", _commands()), ("tags.md", _tags()), ("settings.md", _settings())):
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The page without links that leave the docs."""
    del page, config, files
    return _OUTSIDE.sub(r"\1", markdown)


def _commands() -> str:
    parts = ["# Commands\n\nOne verb per wish. `%kaleyard VERB` is the same inside a notebook.\n"]
    parts += [f"## kaleyard {name}\n\n```text\n{text}\n```\n" for name, text in _helps()]
    return "\n".join(parts)


def _helps() -> Iterator[tuple[str, str]]:
    top = click.Context(cli, info_name="kaleyard")
    for name in cli.list_commands(top):
        command = cli.get_command(top, name)
        assert command is not None
        inner = click.Context(command, info_name=name, parent=top, terminal_width=_WIDTH, max_content_width=_WIDTH)
        yield name, command.get_help(inner)


def _tags() -> str:
    rows = "\n".join(f"| `{tag.example}` | {tag.meaning} |" for tag in TAGS)
    return f"# Tags\n\nA cell's tags say what it is in the pipeline.\n\n| such as | meaning |\n| --- | --- |\n{rows}\n"


def _settings() -> str:
    rows = [
        f"| `{f.name.replace('_', '-')}` | `KALEYARD_{f.name.upper()}` | `{_shown(f.default)}` |"
        for f in fields(Project)
        if f.name != "root"
    ]
    told = (Project.__doc__ or "").partition("\n\n")[2]
    tree = (kaleyard.errors.__doc__ or "").partition("\n\n")[2].partition("\n\n")[0]
    return "\n".join(
        [
            "# Settings and exit codes\n\n## Settings\n",
            "`[tool.kaleyard]` in pyproject.toml, then the variables, then options of the command: the later wins.\n",
            "| setting | variable | default |\n| --- | --- | --- |",
            *rows,
            f"\n{told.strip()}\n",
            f"## Exit codes\n\n{_CODES}\n",
            f"```text\n{tree}\n```\n",
        ]
    )


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(value) or "nothing" if isinstance(value, tuple) else str(value)
