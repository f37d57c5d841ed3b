"""New projects from the template, by cookiecutter and by `kaleyard new`: whole and valid, or refused and not there."""

from __future__ import annotations

import io
import itertools
import json
import os
import re
import runpy
import subprocess
import sys
import tomllib
import zipfile
from email import message_from_bytes
from pathlib import Path

import nbformat
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from test_project_update import command

import kaleyard
from kaleyard.errors import ExternalError, UsageError
from kaleyard.project_template.template_rendering import questions
from kaleyard.project_template.wheel import write_wheel
from template_repository import PROJECT, copy_repository

_EVERY = {
    "license": ("Apache-2.0", "MIT", "BSD-3-Clause", "none"),
    "python_version": ("3.12", "3.11", "3.13"),
    "starter": ("tabular", "blank"),
}


def every_combination() -> list[dict[str, str]]:
    return [dict(zip(_EVERY, chosen, strict=True)) for chosen in itertools.product(*_EVERY.values())]


def test_the_combinations_are_all_that_the_template_offers(repository: Path) -> None:
    offered = {n: tuple(a) for n, a in questions(repository / "templates/project").items() if isinstance(a, list)}
    assert offered == _EVERY


@pytest.mark.parametrize("answers", every_combination(), ids=lambda a: "-".join(a.values()))
def test_every_combination_is_a_valid_project(answers: dict[str, str], tmp_path: Path) -> None:
    folder = kaleyard.new(tmp_path / "one", answers)
    told = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    environment = yaml.safe_load((folder / "environment.yml").read_text(encoding="utf-8"))
    (notebook,) = (folder / "notebooks").glob("*.ipynb")
    nbformat.validate(nbformat.read(notebook, as_version=4))
    assert told["tool"]["kaleyard"]["base-image"] == f"python:{answers['python_version']}-slim"
    assert told["project"].get("license", "none") == answers["license"]
    assert (folder / "LICENSE").exists() == (answers["license"] != "none")
    assert environment["name"] == told["project"]["name"] == "one"
    assert (folder / told["tool"]["uv"]["sources"]["kaleyard"]["path"]).is_file()
    top = {path.name for path in folder.iterdir()}
    assert top >= {"notebooks", "components", ".github", "tests", "environment.yml", "README.md", "pyproject.toml"}
    assert top >= {"Makefile", ".gitignore", "requirements.lock"}
    literal = {".github", "requirements.lock"}
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix != ".whl" and not literal & set(path.relative_to(folder).parts):
            text = path.read_text(encoding="utf-8")
            assert "{{" not in text, path
            assert "{%" not in text, path
            assert "cookiecutter." not in text, path


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("House prices", "house-prices"),
        ("v1.2 of it", "v1-2-of-it"),
        ("Käse für Öl", "kase-fur-ol"),
        ("日本", "ri-ben"),
        ("import", "import"),
        ("2nd try", "2nd-try"),
        ("quo\"te's and back\\slash", "quo-te-s-and-back-slash"),
        ("emoji 🥬 kale", "emoji-kale"),
        ("$(touch hostile) `id`", "touch-hostile-id"),
    ],
)
def test_any_name_is_a_valid_project(name: str, slug: str, tmp_path: Path) -> None:
    answers = {"project_name": name, "description": f"About {name}", "author": name}
    folder = kaleyard.new(tmp_path / "it", answers)
    told = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (told["name"], told["description"]) == (slug, f"About {name}")
    assert told["authors"] == [{"name": name}]
    assert f"# {name}\n" in (folder / "README.md").read_text(encoding="utf-8")
    assert not (folder / "hostile").exists()


@pytest.mark.parametrize(
    "answers",
    [
        {"project_slug": "Has Space"},
        {"project_slug": "../outside"},
        {"project_slug": "/root"},
        {"project_slug": ""},
        {"project_slug": "-leading"},
        {"project_slug": "numpy"},
        {"project_slug": "kaleyard"},
        {"project_slug": "x" * 61},
        {"project_name": "!!!"},
        {"project_name": " "},
        {"description": "two\nlines"},
        {"author": "bell\a"},
        {"registry": "https://example.com"},
        {"registry": 'a" quote'},
        {"license": "GPL"},
        {"starter": "images"},
        {"colour": "green"},
    ],
    ids=str,
)
def test_answers_that_make_no_project_are_refused_and_nothing_is_there(answers: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        kaleyard.new(tmp_path / "it", answers)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_exists_is_never_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my-pipelines").mkdir()
    (tmp_path / "my-pipelines" / "mine.txt").write_text("mine", encoding="utf-8")
    (tmp_path / "link").symlink_to("nowhere")
    monkeypatch.chdir(tmp_path)
    for folder in ("my-pipelines", None, "link"):
        with pytest.raises(UsageError, match="exists already"):
            kaleyard.new(folder)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["link", "mine.txt", "my-pipelines"]


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ExternalError, match="cannot be made"):
        kaleyard.new(tmp_path / "file" / "project")


def test_the_verb_says_what_to_do_next_and_answers_are_words(tmp_path: Path) -> None:
    done = command("kaleyard", "new", "license=MIT", "project_name=House prices", "--no-input", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "made house-prices\n" in done.stdout
    assert "make run" in done.stdout
    assert "MIT License" in (tmp_path / "house-prices" / "LICENSE").read_text(encoding="utf-8")
    refused = command("kaleyard", "new", "other", "nonsense", "--no-input", folder=tmp_path)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "Traceback" not in refused.stderr


def test_on_a_terminal_the_questions_are_asked(tmp_path: Path) -> None:
    master, slave = os.openpty()
    program = str(Path(sys.executable).parent / "kaleyard")
    with subprocess.Popen(
        [program, "new", "starter=blank"], stdin=slave, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path
    ) as asking:
        os.close(slave)
        os.write(master, b"Apples\n\n\n\n2\n\n\n\n")
        shown, problems = asking.communicate(timeout=120)
    os.close(master)
    assert asking.returncode == 0, problems.decode()
    assert "Name of the project" in shown.decode()
    assert "MIT License" in (tmp_path / "apples" / "LICENSE").read_text(encoding="utf-8")
    assert (tmp_path / "apples" / "notebooks" / "blank.ipynb").is_file()


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    return copy_repository(repository, tmp_path_factory.mktemp("clone") / "kaleyard")


def test_plain_cookiecutter_makes_the_same_project_as_the_verb(clone: Path, tmp_path: Path) -> None:
    done = command("cookiecutter", "--no-input", f"git+{clone.as_uri()}", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    made = kaleyard.new(tmp_path / "by-verb", {"project_name": "My pipelines"})
    other = tmp_path / "my-pipelines"
    names = {p.relative_to(made).as_posix() for p in made.rglob("*") if p.is_file()}
    assert names == {p.relative_to(other).as_posix() for p in other.rglob("*") if p.is_file()}
    for name in names - {".cruft.json"}:
        assert (made / name).read_bytes() == (other / name).read_bytes(), name


def test_cookiecutter_leaves_nothing_of_a_refused_project(clone: Path, tmp_path: Path) -> None:
    done = command("cookiecutter", "--no-input", str(clone), "project_slug=numpy", folder=tmp_path)
    assert done.returncode != 0
    assert "choose another" in done.stderr
    assert not (tmp_path / "numpy").exists()


def test_no_password_of_the_templates_address_gets_into_the_project(clone: Path, tmp_path: Path) -> None:
    subprocess.run(
        ["git", "-C", str(clone), "remote", "add", "origin", "https://me:s3cret@example.com/kaleyard.git"], check=True
    )
    try:
        done = command("cookiecutter", "--no-input", str(clone), folder=tmp_path)
    finally:
        subprocess.run(["git", "-C", str(clone), "remote", "remove", "origin"], check=True)
    note = (tmp_path / "my-pipelines" / ".cruft.json").read_text(encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert "s3cret" not in note
    assert json.loads(note)["template"] == "https://example.com/kaleyard.git"


def test_the_wheel_holds_what_hatchling_puts_into_one_and_is_the_same_each_time(
    repository: Path, tmp_path: Path
) -> None:
    code = "import os, sys; os.chdir(sys.argv[1]); from hatchling import build; build.build_wheel(sys.argv[2])"
    subprocess.run([sys.executable, "-c", code, str(repository), str(tmp_path / "h")], check=True, capture_output=True)
    (theirs,) = map(zipfile.ZipFile, (tmp_path / "h").glob("*.whl"))
    first = write_wheel(tmp_path / "a").read_bytes()
    assert first == write_wheel(tmp_path / "b").read_bytes()
    ours = zipfile.ZipFile(io.BytesIO(first))
    assert set(ours.namelist()) == set(theirs.namelist())
    assert ours.testzip() is None
    for name in ours.namelist():
        if name.endswith("/METADATA"):
            assert _needs(ours.read(name)) == _needs(theirs.read(name))
        elif not name.endswith(("/WHEEL", "/RECORD")):
            assert ours.read(name) == theirs.read(name), name


def _needs(metadata: bytes) -> tuple[list[str | None], SpecifierSet, set[str]]:
    told = message_from_bytes(metadata)
    one = [told[field] for field in ("Name", "Version", "Summary", "License-Expression", "License-File")]
    needs = {str(Requirement(line)) for line in told.get_all("Requires-Dist", [])}
    return one, SpecifierSet(str(told["Requires-Python"])), needs


@pytest.mark.parametrize("target", ["help", "environment", "check", "notebooks", "compile"])
def test_what_the_workflows_call_is_the_same_in_both_makefiles(repository: Path, target: str) -> None:
    def recipe(path: Path) -> str:
        (found,) = re.findall(rf"(?ms)^{target}:.*?(?=\n\n|\Z)", path.read_text(encoding="utf-8"))
        return str(found)

    assert recipe(repository / "Makefile") == recipe(repository / PROJECT / "Makefile")


def test_copies_are_held_together(repository: Path) -> None:
    project = repository / PROJECT
    assert (project / ".gitignore").read_bytes() == (repository / ".gitignore").read_bytes()
    licence = repository / "templates" / "project" / "templates" / "licenses" / "Apache-2.0"
    assert licence.read_bytes() == (repository / "LICENSE").read_bytes()
    locking = runpy.run_path(str(repository / "templates" / "project_lock.py"))
    assert (project / "requirements.lock").read_text(encoding="utf-8") == locking["project_lock"]()
    told = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    version = f"wheels/kaleyard-{told['version']}-py3-none-any.whl"
    for name in ("pyproject.toml", "environment.yml"):
        assert version in (project / name).read_text(encoding="utf-8")
    versions = set(told["optional-dependencies"]["project"])
    asked = (project / "pyproject.toml").read_text(encoding="utf-8")
    assert all(f'"{one}"' in asked for one in versions)
