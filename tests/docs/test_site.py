"""The site of the docs: it builds strictly, without a network, and says what the code says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from kaleyard.cli import cli
from kaleyard.notebook.tags import TAGS


@pytest.fixture(scope="module")
def site(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    settings = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=repository, env=settings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_verb_with_its_options_is_on_the_site(site: Path) -> None:
    text = (site / "commands.html").read_text()
    top = click.Context(cli)
    for name in cli.list_commands(top):
        command = cli.get_command(top, name)
        assert command is not None
        assert f"kaleyard {name}" in text
        for option in (o for p in command.params if isinstance(p, click.Option) for o in p.opts):
            assert option in text, (name, option)


def test_every_tag_and_setting_is_on_the_site(site: Path) -> None:
    tags, settings = (site / "tags.html").read_text(), (site / "settings.html").read_text()
    assert all(f"<code>{tag.example}</code>" in tags for tag in TAGS)
    assert "<code>base-image</code>" in settings
    assert "KALEYARD_REGISTRY" in settings
    assert "130 interrupted" in settings


def test_the_site_asks_no_other_place_for_anything(site: Path) -> None:
    for page in site.rglob("*.html"):
        fetched = re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=\"(https?://[^\"]+)", page.read_text())
        assert fetched == [], page.name


def test_a_link_that_leads_nowhere_stops_the_build(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("[gone](gone.md)")
    text = (repository / "mkdocs.yml").read_text()
    (tmp_path / "mkdocs.yml").write_text(text.partition("nav:\n  - Kale")[0].replace("hooks: [docs/pages.py]\n", ""))
    command = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "gone.md" in done.stdout + done.stderr
