"""The plan of the packages: what it promises, checked against the files, lazy imports and names in strings included."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"
PACKAGE = SOURCE / "kaleyard"
MODULE = re.compile(r"kaleyard(?:\.[a-z_]+)+")

# Libraries that take long to import, or that one place is to know: who may import them, at the top or lazily.
OWNERS = {
    "kale": {"notebook.kale_loader"},
    "kfp": {"compiler.component", "compiler.pipeline_package", "kubeflow.client"},
    "kfp_server_api": {"kubeflow.client", "kubeflow.submitter"},
    "kubernetes": {"kubeflow.watch"},
    "papermill": {"runtime.kernels.papermill_engine", "runtime.step", "runtime.step_failure"},
    "nbval": {"testing.output_comparison", "testing.output_update", "testing.pytest_items"},
    "cookiecutter": {"project_template.template_rendering"},
    "docker": set[str](),
}
# Importing any module of these packages must not import any of these.
HEAVY = (
    "kale",
    "kfp",
    "kubernetes",
    "sklearn",
    "pandas",
    "numpy",
    "IPython",
    "nbconvert",
    "papermill",
    "pyarrow",
    "rich",
)


def name_of(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py")) if "templates" not in path.parts}


def imports(path: Path) -> Iterator[str]:
    """What a file imports, at its top or in a function, or names in a string that is a module's name."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in MODULES else node.module for name in inner)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and MODULE.fullmatch(node.value):
            if node.value in MODULES:
                yield node.value
        elif isinstance(node, ast.Call) and node.args and "import_module" in ast.unparse(node.func):
            value = node.args[0]
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield value.value


IMPORTS = {name: sorted(set(imports(path))) for name, path in MODULES.items()}


def layers() -> dict[str, int]:
    """The height of each package, as the contract in `pyproject.toml` has it."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = settings["tool"]["importlinter"]["contracts"]
    lines: list[str] = contract["layers"]
    return {room.strip(): -height for height, line in enumerate(lines) for room in line.split("|")}


def test_imports_lead_downwards_lazy_ones_and_names_in_strings_too() -> None:
    heights = layers()

    def height(module: str) -> int | None:
        return heights.get(".".join(module.split(".")[:2]))

    wrong = []
    compared = 0
    for module, targets in IMPORTS.items():
        if module in ("kaleyard", "kaleyard.__main__"):
            continue  # the public names
        for target in targets:
            if target.startswith("kaleyard.") and target.split(".")[1] != module.split(".")[1]:
                compared += 1
                above, below = height(module), height(target)
                assert above is not None, module
                assert below is not None, target
                if below >= above:
                    wrong.append(f"{module} imports {target}")
    assert compared > 300
    assert wrong == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    left = {m: {t for t in targets if t in MODULES and t != m} for m, targets in IMPORTS.items() if m != "kaleyard"}
    while free := [m for m, targets in left.items() if not targets & left.keys()]:
        for module in free:
            del left[module]
    assert sorted(left) == []


@pytest.mark.parametrize("library", OWNERS)
def test_a_library_is_imported_where_the_table_says(library: str) -> None:
    users = {m.removeprefix("kaleyard.") for m in IMPORTS if library in {t.partition(".")[0] for t in IMPORTS[m]}}
    assert users == OWNERS[library]


def test_importing_every_module_loads_no_heavy_library() -> None:
    own = {"kaleyard.jupyter", "kaleyard.testing", "kaleyard.runtime", "kaleyard.execution"}
    light = [m for m in MODULES if ".".join(m.split(".")[:2]) not in own and not m.endswith("__main__")]
    code = f"import importlib, sys\nfor m in {light!r}:\n    importlib.import_module(m)\n"
    code += f"print(sorted(m for m in {HEAVY!r} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert len(light) > 80
    assert done.stdout.strip() == "[]"


def test_file_names_are_unique() -> None:
    counted = Counter(
        path.name for name, path in MODULES.items() if not name.startswith("kaleyard.cli.") and path.stem[:2] != "__"
    )
    assert [name for name, count in counted.items() if count > 1] == []
    verbs = {path.name for path in (PACKAGE / "api").glob("[!_]*.py")}
    assert verbs == {path.name for path in (PACKAGE / "cli").glob("[!_]*.py")} - {"screen.py", "argument_types.py"}


def test_a_folder_has_a_dozen_files_at_most() -> None:
    counted = Counter(path.parent for path in MODULES.values() if path.stem != "__init__")
    assert {str(folder): count for folder, count in counted.items() if count > 12} == {}


def test_the_page_is_as_the_packages_say() -> None:
    page = subprocess.run(
        [sys.executable, ROOT / "docs" / "architecture.py"], capture_output=True, text=True, check=True
    ).stdout
    assert (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8") == page


def test_every_file_that_the_page_names_is_there() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z_]+(?:/[a-z_]+)*(?:/|\.py))`", page))
    packages = {path.parent.name + "/" for path in MODULES.values() if path.stem == "__init__"}
    assert len(named) > 60
    assert sorted(n for n in named - packages if not (PACKAGE / n).exists()) == []
    files = {stem for line in page.splitlines() if "Files:" in line for stem in re.findall(r"`(\w+)`", line)}
    assert files <= {path.stem for path in MODULES.values()}
    assert len(page.partition("## Where to put")[2].partition("## Words")[0].strip().splitlines()) > 10


def test_no_public_name_is_also_a_package() -> None:
    import kaleyard

    assert len(kaleyard.__all__) > 10
    assert not {f"kaleyard.{name}" for name in kaleyard.__all__} & set(MODULES)
