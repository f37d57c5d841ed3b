"""What is public, and what asking for it costs."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import pytest
import yaml

import kaleyard
from template_repository import PROJECT

HEAVY = ("kale", "kfp", "papermill", "nbformat", "nbconvert", "jsonschema", "pandas", "numpy", "sklearn", "IPython")


def test_what_is_public_is_what_is_visible() -> None:
    assert sorted(kaleyard.__all__) == dir(kaleyard)
    for name in kaleyard.__all__:
        assert getattr(kaleyard, name).__doc__, name


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = kaleyard.nothing


@pytest.mark.parametrize(
    "code",
    [
        "import kaleyard",
        "import kaleyard.cli",
        "import kaleyard.runtime.serializers",
        "from kaleyard.cli import cli; cli(['--help'], standalone_mode=False)",
        "from kaleyard.cli import cli; cli(['run', '--help'], standalone_mode=False)",
    ],
)
def test_asking_for_little_imports_nothing_heavy(code: str) -> None:
    after = f"import sys\n{code}\nprint([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", after], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_step_imports_neither_kale_nor_kfp_nor_the_command_line() -> None:
    code = (
        "import sys, kaleyard.runtime.step, kaleyard.runtime.exchange.kernel_io\n"
        "import kaleyard.runtime.notebook_page, kaleyard.runtime.kernels.papermill_engine\n"
        "print(sorted(m for m in sys.modules if m.startswith('kaleyard') and 'runtime' not in m))\n"
        "print([m for m in ('kale', 'kfp', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["['kaleyard', 'kaleyard.errors']", "[]"]


def test_environment_project_and_lock_name_the_same_packages(repository: Path) -> None:
    data = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    lock = {m[1] for m in re.finditer(r"(?m)^([a-z0-9-]+)==", (repository / "requirements.lock").read_text())}
    told = [r for rs in (data["dependencies"], *data["optional-dependencies"].values()) for r in rs]
    names = {re.split(r"[\[<>=~! ]", r, maxsplit=1)[0] for r in told}
    assert names <= lock
    environment = (repository / "environment.yml").read_text()
    assert "--requirement requirements.lock" in environment
    (top,) = re.findall(r"Top level: (.*?);", environment)
    assert {"kfp", "kubeflow-kale", "papermill", "jupyterlab", "scikit-learn", "nbval", "pytest"} == set(
        top.split(", ")
    )
    assert set(top.split(", ")) <= names
    python = data["requires-python"]
    assert f"python {python}" in environment


@pytest.mark.parametrize("folder", [".", PROJECT], ids=["here", "in a new project"])
def test_pip_takes_what_conda_would_hand_it(repository: Path, folder: Path | str) -> None:
    # conda is not here; it writes its `pip:` section to a file beside environment.yml, and gives that to pip.
    told = yaml.safe_load((repository / folder / "environment.yml").read_text().replace("{{", "x").replace("}}", "x"))
    (lines,) = [part["pip"] for part in told["dependencies"] if isinstance(part, dict)]
    with tempfile.NamedTemporaryFile("w", dir=repository / folder, suffix=".txt") as file:
        file.write("\n".join(lines))
        file.flush()
        # Everything is installed already, so that nothing is fetched.
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--no-index", "-r", file.name]
        done = subprocess.run(command, cwd=repository / folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_lock_pins_every_package_with_hashes_and_names_no_host(repository: Path) -> None:
    text = (repository / "requirements.lock").read_text()
    entries = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
    assert all(re.match(r"[a-z0-9.-]+==\S+", e) for e in entries)
    assert text.count("--hash=sha256:") > len(entries)
    assert "://" not in text
