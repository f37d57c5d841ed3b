"""What ships: the wheel and the source distribution hold what they should, and the wheel works by itself."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    code = (
        "import sys, os; os.chdir(sys.argv[1]); from hatchling import build; "
        "build.build_wheel(sys.argv[2]); build.build_sdist(sys.argv[2])"
    )
    subprocess.run([sys.executable, "-c", code, str(repository), str(folder)], check=True, capture_output=True)
    return folder


def test_the_wheel_holds_the_package_its_assets_and_the_templates(built: Path, repository: Path) -> None:
    (wheel,) = built.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    source = repository / "src" / "kaleyard"
    ours = {p.relative_to(source.parent).as_posix() for p in source.rglob("*") if p.is_file() and p.suffix != ".pyc"}
    assert ours <= names
    assert "kaleyard/templates/step/Dockerfile.j2" in names
    assert "kaleyard/templates/cluster/compatibility.yaml" in names
    others = {n for n in names - ours if not n.startswith("kaleyard-") and not n.startswith("kaleyard/templates/")}
    assert others == set()
    assert not any(n.endswith(".ipynb") for n in names)


def test_the_source_distribution_holds_what_the_wheel_is_built_from(built: Path) -> None:
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {"/".join(n.split("/")[1:]) for n in opened.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "templates/step/Dockerfile.j2"} <= names
    assert not any(n.startswith(("tests/", "runs/", ".venv/", "components/")) for n in names)


def test_the_unpacked_wheel_finds_its_templates_without_the_repository(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from kaleyard.config import template_folder; "
        "from kaleyard.reporting.graph import as_svg; from kaleyard.pipeline import Pipeline, Step; "
        "print(template_folder('step')); as_svg(Pipeline('p', 'n.ipynb', (Step('a', ()),)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], check=True, capture_output=True, text=True, cwd=tmp_path
    )
    assert done.stdout.strip().startswith(str(tmp_path))
