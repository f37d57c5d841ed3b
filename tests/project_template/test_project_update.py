"""A project made from an older template comes to this one: no edit is lost, and conflicts are shown as such."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import kaleyard
from kaleyard.cli import cli
from kaleyard.errors import ExternalError, ProjectError
from kaleyard.project_template.three_way_merge import merge_trees
from template_repository import PROJECT, commit_all, copy_repository, git

_OLD_LINE = "help: ## what there is to do\n"
_NEW_LINE = "help: ## these targets\n"


def command(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A console script of this environment, in a home of its own."""
    program = Path(sys.executable).parent / words[0]
    settings = {**os.environ, "HOME": str(folder), "GIT_CONFIG_GLOBAL": os.devnull}
    for name in ("AUTHOR", "COMMITTER"):
        settings |= {f"GIT_{name}_NAME": "Somebody", f"GIT_{name}_EMAIL": "somebody@example.com"}
    return subprocess.run(
        [str(program), *words[1:]], cwd=folder, capture_output=True, text=True, check=False, env=settings
    )


@pytest.fixture(scope="session")
def releases(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """The template's repository: tag `old` is a release before this one, `main` is this one."""
    folder = copy_repository(repository, tmp_path_factory.mktemp("releases") / "kaleyard")
    now = {p: (folder / PROJECT / p).read_text(encoding="utf-8") for p in ("Makefile", "README.md", "environment.yml")}
    template = folder / PROJECT
    assert _NEW_LINE in now["Makefile"]
    (template / "Makefile").write_text(now["Makefile"].replace(_NEW_LINE, _OLD_LINE), encoding="utf-8")
    (template / "README.md").write_text(now["README.md"].replace("## First run", "## To begin"), encoding="utf-8")
    (template / "environment.yml").unlink()
    tests = template / "tests" / "test_pipelines.py"
    now["tests/test_pipelines.py"] = tests.read_text(encoding="utf-8")
    tests.write_text(now["tests/test_pipelines.py"] + "\n# of the release before\n", encoding="utf-8")
    (template / "setup.cfg").write_text("[flake8]\nmax-line-length = 120\n", encoding="utf-8")
    (template / "tox.ini").write_text("[tox]\n", encoding="utf-8")
    (folder / "src" / "kaleyard" / "older.py").write_text('"""Not in this release."""\n', encoding="utf-8")
    commit_all(folder, "the release before")
    git(folder, "tag", "old")
    for path, text in now.items():
        (template / path).write_text(text, encoding="utf-8")
    for gone in (template / "setup.cfg", template / "tox.ini", folder / "src" / "kaleyard" / "older.py"):
        gone.unlink()
    commit_all(folder, "this release")
    return folder


@pytest.fixture(scope="session")
def old_project(releases: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project made by cookiecutter from the older release, committed."""
    folder = tmp_path_factory.mktemp("old")
    done = command(
        "cookiecutter", "--no-input", "--checkout", "old", f"git+{releases.as_uri()}", "license=MIT", folder=folder
    )
    assert done.returncode == 0, done.stderr
    commit_all(folder / "my-pipelines", "from the template")
    return folder / "my-pipelines"


@pytest.fixture
def project(old_project: Path, tmp_path: Path) -> Path:
    """That project for one test."""
    return shutil.copytree(old_project, tmp_path / "my-pipelines")


def edit(path: Path, before: str, after: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert before in text
    path.write_text(text.replace(before, after), encoding="utf-8")


def test_what_nobody_changed_becomes_as_the_new_template_has_it(project: Path, tmp_path: Path) -> None:
    done = kaleyard.update(project)
    fresh = kaleyard.new(tmp_path / "fresh", {"project_name": "My pipelines", "license": "MIT"})
    assert not done.conflicts
    for path in (
        "Makefile",
        "README.md",
        "environment.yml",
        "pyproject.toml",
        "wheels/kaleyard-0.1.0-py3-none-any.whl",
    ):
        assert (project / path).read_bytes() == (fresh / path).read_bytes(), path
    assert not (project / "setup.cfg").exists()
    assert "setup.cfg" in done.removed
    assert "environment.yml" in done.written


def test_edits_beside_the_templates_changes_are_merged(project: Path) -> None:
    edit(project / "Makefile", "clean: ## everything that was made", "clean: ## all of it\n\t@echo mine")
    (project / "mine.txt").write_text("mine\n", encoding="utf-8")
    commit_all(project)
    done = kaleyard.update(project)
    text = (project / "Makefile").read_text(encoding="utf-8")
    assert not done.conflicts
    assert _NEW_LINE in text
    assert "@echo mine" in text
    assert (project / "mine.txt").read_text(encoding="utf-8") == "mine\n"


def test_the_same_lines_changed_by_both_stand_marked_and_git_calls_them_a_conflict(project: Path) -> None:
    edit(project / "Makefile", _OLD_LINE, "help: ## my own words\n")
    commit_all(project)
    done = command("kaleyard", "update", folder=project)
    text = (project / "Makefile").read_text(encoding="utf-8")
    assert done.returncode == 3, done.stderr
    assert "conflict in Makefile: both changed it: 1 marked" in done.stdout
    assert "<<<<<<< yours\nhelp: ## my own words\n" in text
    assert f"{_NEW_LINE}>>>>>>> the template now" in text
    assert "UU Makefile" in git(project, "status", "--porcelain")


def test_what_the_project_dropped_stays_out(project: Path) -> None:
    (project / "README.md").unlink()
    commit_all(project)
    done = kaleyard.update(project)
    assert done.kept_out == ["README.md"]
    assert not (project / "README.md").exists()


def test_what_the_template_dropped_and_the_user_changed_stays(project: Path) -> None:
    edit(project / "tox.ini", "[tox]", "[tox]\nenvlist = mine")
    commit_all(project)
    done = kaleyard.update(project)
    assert "stays" in done.conflicts["tox.ini"]
    assert "envlist = mine" in (project / "tox.ini").read_text(encoding="utf-8")


def test_what_both_added_is_a_conflict_and_loses_neither(project: Path) -> None:
    (project / "environment.yml").write_text("name: mine\n", encoding="utf-8")
    commit_all(project)
    done = kaleyard.update(project)
    text = (project / "environment.yml").read_text(encoding="utf-8")
    assert "environment.yml" in done.conflicts
    assert "name: mine" in text
    assert "name: my-pipelines" in text


def test_notebooks_components_and_tests_are_the_users(project: Path) -> None:
    notebook = project / "notebooks" / "regression.ipynb"
    notebook.unlink()
    commit_all(project)
    done = kaleyard.update(project)
    assert not done.conflicts
    assert not any(path.startswith(("notebooks/", "components/", "tests/")) for path in [*done.written, *done.kept_out])
    assert "of the release before" in (project / "tests" / "test_pipelines.py").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "before", "mine", "after"),
    [
        ("a.ipynb", b'{"cells": [1]}', b'{"cells": [2]}', b'{"cells": [3]}'),
        ("picture.png", b"\x89PNG\0one", b"\x89PNG\0two", b"\x89PNG\0three"),
    ],
)
def test_what_is_no_text_and_notebooks_are_never_mixed(
    name: str, before: bytes, mine: bytes, after: bytes, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(mine)
    merge = merge_trees(tmp_path, {name: before}, {name: after})
    assert merge.writes == {f"{name}.template": after}
    assert f"{name}.template" in merge.conflicts[name]


def test_a_wheel_that_was_replaced_is_never_mixed(project: Path) -> None:
    (wheel,) = (project / "wheels").glob("*.whl")
    with_comment = wheel.read_bytes()[:-2] + b"\x04\x00mine"  # a zip file's comment: still the same wheel
    wheel.write_bytes(with_comment)
    (project / ".gitattributes").write_text("*.whl binary\n", encoding="utf-8")
    commit_all(project)
    done = kaleyard.update(project)
    assert not done.conflicts  # the old template's wheel is the one that is there
    assert wheel.read_bytes() != with_comment


def test_a_second_update_finds_nothing_to_do(project: Path) -> None:
    kaleyard.update(project)
    commit_all(project)
    done = kaleyard.update(project)
    assert (done.written, done.removed, done.conflicts, done.kept_out) == ([], [], {}, [])
    assert git(project, "status", "--porcelain") == ""


def test_a_project_within_a_larger_repository(project: Path, tmp_path: Path) -> None:
    shutil.rmtree(project / ".git")
    whole = tmp_path / "whole"
    inner = whole / "apps" / "pipelines"
    inner.parent.mkdir(parents=True)
    project.rename(inner)
    edit(inner / "Makefile", _OLD_LINE, "help: ## my own words\n")
    commit_all(whole)
    done = kaleyard.update(inner)
    assert list(done.conflicts) == ["Makefile"]
    assert "UU apps/pipelines/Makefile" in git(whole, "status", "--porcelain")


def test_the_templates_repository_can_be_named(project: Path, releases: Path) -> None:
    done = command("kaleyard", "update", "--from", str(releases), "--json", folder=project)
    assert done.returncode == 0, done.stderr
    assert "environment.yml" in json.loads(done.stdout)["written"]
    note = json.loads((project / ".cruft.json").read_text(encoding="utf-8"))
    assert note["commit"] == git(releases, "rev-parse", "main").strip()
    assert note["context"]["cookiecutter"]["license"] == "MIT"


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda p: shutil.rmtree(p / ".git"), "not in a git repository"),
        (lambda p: edit(p / "Makefile", _OLD_LINE, "x:\n"), "not committed"),
        (lambda p: (p / ".cruft.json").unlink(), "does not tell what the project was made from"),
        (lambda p: (p / ".cruft.json").write_text("[]"), "does not tell what the project was made from"),
    ],
)
def test_what_could_not_be_undone_or_compared_is_refused(project: Path, spoil: object, says: str) -> None:
    assert callable(spoil)
    spoil(project)
    if "tell" in says:
        commit_all(project)
    before = {p: p.read_bytes() for p in project.rglob("*") if p.is_file() and ".git" not in p.parts}
    with pytest.raises(ProjectError, match=says):
        kaleyard.update(project)
    assert before == {p: p.read_bytes() for p in project.rglob("*") if p.is_file() and ".git" not in p.parts}


@pytest.mark.parametrize("found", ["none", "two", "broken"])
def test_a_project_without_its_one_wheel_is_refused(project: Path, found: str) -> None:
    (wheel,) = (project / "wheels").glob("*.whl")
    if found == "none":
        wheel.unlink()
    elif found == "two":
        shutil.copy(wheel, wheel.with_name("kaleyard-0.0.9-py3-none-any.whl"))
    else:
        wheel.write_bytes(b"no wheel")
    commit_all(project)
    with pytest.raises(ProjectError, match="wheel"):
        kaleyard.update(project)


def test_a_repository_that_cannot_be_cloned_is_named(project: Path, tmp_path: Path) -> None:
    with pytest.raises(ExternalError, match="cannot be cloned"):
        kaleyard.update(project, source=str(tmp_path / "nowhere"))
    assert git(project, "status", "--porcelain") == ""


def test_plain_cruft_update_brings_the_same_and_loses_no_edit(project: Path, releases: Path) -> None:
    note = json.loads((project / ".cruft.json").read_text(encoding="utf-8"))
    assert (note["template"], note["commit"]) == (releases.as_uri(), git(releases, "rev-parse", "old").strip())
    edit(project / "Makefile", "clean: ## everything that was made", "clean: ## all of it\n\t@echo mine")
    edit(project / "README.md", "## To begin", "## My own words")
    commit_all(project)
    done = command("cruft", "update", "--skip-apply-ask", folder=project)
    assert done.returncode == 0, done.stdout + done.stderr
    text = (project / "Makefile").read_text(encoding="utf-8")
    assert _NEW_LINE in text
    assert "@echo mine" in text
    assert "## My own words" in (project / "README.md").read_text(encoding="utf-8")
    assert "UU README.md" in git(project, "status", "--porcelain")
    assert (project / "environment.yml").is_file()


def test_a_project_that_cruft_made_is_the_same_and_is_updated_alike(releases: Path, tmp_path: Path) -> None:
    words = ["create", releases.as_uri(), "--directory", "templates/project", "--checkout", "old", "--no-input"]
    done = command("cruft", *words, folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    project = tmp_path / "my-pipelines"
    assert list((project / "wheels").glob("kaleyard-*.whl"))
    commit_all(project)
    assert "environment.yml" in kaleyard.update(project).written


def test_the_verb_is_offered() -> None:
    assert {"new", "update"} <= set(cli.list_commands(None))  # type: ignore[arg-type]
