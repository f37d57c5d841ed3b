"""The docs are what the code says, and README's commands are real ones."""

from __future__ import annotations

import re
import runpy
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from kaleyard.cli import cli

CONSOLE = re.compile(r"```console\n(.*?)```", re.DOTALL)


def readme_commands(repository: Path) -> list[list[str]]:
    text = (repository / "README.md").read_text()
    lines = [line[2:] for block in CONSOLE.findall(text) for line in block.splitlines() if line.startswith("$ ")]
    return [shlex.split(line, comments=True) for line in lines]


def test_the_formats_page_is_what_the_formats_say(repository: Path) -> None:
    page = runpy.run_path(str(repository / "docs" / "formats.py"))["formats_page"]()
    assert (repository / "docs" / "formats.md").read_text() == page


def test_readmes_commands_are_make_targets_or_verbs(repository: Path) -> None:
    makefile = (repository / "Makefile").read_text()
    commands = readme_commands(repository)
    assert len(commands) > 5
    for command in commands:
        if command[:2] == ["make", "-C"]:  # in a project from the template, which has the same targets
            del command[1:3]
        if command[0] == "make":
            assert re.search(rf"(?m)^{command[1]}:", makefile), command
        else:
            assert command[0] == ".venv/bin/kaleyard"
            assert command[1] in cli.list_commands(click.Context(cli))


def test_readme_names_every_verb_and_every_exit_code(repository: Path) -> None:
    text = (repository / "README.md").read_text()
    for verb in cli.list_commands(click.Context(cli)):
        assert f"kaleyard {verb}" in text
    assert re.search(r"Exit codes: 0 .* 1 .* 2 .* 3 .* 4 .* 130", text, re.DOTALL)


def test_readmes_links_lead_somewhere(repository: Path) -> None:
    for page in [repository / "README.md", *(repository / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), target


def test_readmes_check_prints_what_readme_shows(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository)
    # Whether the base image is locked depends on whether a registry could be asked.
    monkeypatch.setenv("KALEYARD_BASE_IMAGE", f"python:3.12-slim@sha256:{'0' * 64}")
    text = (repository / "README.md").read_text()
    (block,) = [b for b in CONSOLE.findall(text) if "undefined_name" in b]
    command, _, shown = block.partition("\n")
    done = CliRunner().invoke(cli, shlex.split(command)[2:])
    assert done.output == shown
    assert done.exit_code == 3


def test_the_repository_names_no_path_of_a_machine(repository: Path) -> None:
    places = [*repository.glob("*.md"), *repository.glob("docs/*"), *repository.glob("notebooks/**/*.ipynb")]
    for path in [p for p in places if p.suffix in (".md", ".ipynb", ".py")]:
        assert not re.search(r"/(root|home|work)/\w", path.read_text()), path
