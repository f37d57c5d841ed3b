from __future__ import annotations

import importlib.util
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kaleyard.compiler.dockerfile import dockerfile
from kaleyard.config import template_folder
from kaleyard.errors import ProjectError
from kaleyard.pipeline import Step

BASE = "python:3.12-slim"
LAYERS = ("runner", "numpy", "scipy", "others")


@dataclass
class Stage:
    """A stage of a Dockerfile: what it stands on, and its instructions, each in one line."""

    base: str
    name: str
    instructions: list[str] = field(default_factory=list)

    def all(self, word: str) -> list[str]:
        """What stands behind each instruction of that name."""
        return [line.removeprefix(f"{word} ") for line in self.instructions if line.startswith(f"{word} ")]


def lines(step: str = "train", base: str = BASE, layers: Collection[str] = LAYERS) -> list[str]:
    """The Dockerfile's instructions, one a line, without comments."""
    text = dockerfile(Step(step, ()), base, layers).decode()
    kept = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    return [re.sub(r"\s+", " ", line) for line in kept.replace("\\\n", " ").splitlines() if line.strip()]


def stages(step: str = "train", base: str = BASE, layers: Collection[str] = LAYERS) -> list[Stage]:
    found: list[Stage] = []
    for line in lines(step, base, layers):
        word, *rest = line.split(" ")
        if word == "FROM":
            found.append(Stage(rest[0], rest[2] if len(rest) > 1 else ""))
        else:
            found[-1].instructions.append(line)
    return found


def layer_sources(image: list[Stage]) -> list[str]:
    """The folders whose contents become the image's layers, from the first."""
    return [words.split(" ")[1] for words in image[-1].all("COPY")]


def test_only_instructions_that_docker_and_buildah_both_know_are_used() -> None:
    text = dockerfile(Step("train", ()), BASE, LAYERS).decode()
    assert {line.split(" ")[0] for line in lines()} <= {"ARG", "FROM", "COPY", "RUN", "ENV", "USER", "WORKDIR", "LABEL"}
    for refused in ("# syntax", "<<", "--link", "--network", "env=", "--parents", "--exclude"):
        assert refused not in text


def test_a_person_reads_it() -> None:
    text = dockerfile(
        Step("train", ()), BASE, ("runner", "numpy", "pandas", "pyarrow", "scikit-learn", "scipy", "others")
    )
    assert len(text.splitlines()) <= 60
    assert max(len(line) for line in text.decode().splitlines()) <= 120


def test_an_image_has_no_entrypoint_and_no_command() -> None:
    assert not [line for line in lines() if line.startswith(("ENTRYPOINT", "CMD"))]


def test_the_step_runs_as_no_particular_user_with_its_home_in_tmp() -> None:
    last = stages()[-1]
    assert last.all("USER") == ["1000:0"]
    assert last.all("WORKDIR") == ["/tmp"]
    (environment,) = last.all("ENV")
    assert {"HOME=/tmp", "MPLCONFIGDIR=/tmp/mpl", "PYTHONPATH=/opt/kaleyard"} <= set(environment.split())


def test_steps_with_the_same_packages_differ_in_labels_alone() -> None:
    one, other = lines("train"), lines("report")
    differing = [(a, b) for a, b in zip(one, other, strict=True) if a != b]
    assert [(a.split(" ")[0], b.split(" ")[0]) for a, b in differing] == [("LABEL", "LABEL")]


def test_the_runners_layer_is_made_alike_whatever_else_the_step_has() -> None:
    with_others, alone = stages(), stages(layers=("runner",))
    assert layer_sources(with_others)[0] == layer_sources(alone)[0] == "/layers/runner/"
    made = [{stage.name: stage for stage in image} for image in (with_others, alone)]
    assert made[0]["runner"] == made[1]["runner"]
    assert "packages/large" not in " ".join(lines(layers=("runner", "others"))), "there is no such folder"
    assert "packages/others" not in " ".join(lines(layers=("runner", "numpy")))


def test_a_small_package_more_installs_no_large_one_again() -> None:
    one, other = (
        {stage.name: stage for stage in stages(layers=layers)} for layers in (LAYERS, ("runner", "numpy", "scipy"))
    )
    assert one["large"] == other["large"]


def test_layers_that_change_most_come_last() -> None:
    names = [source.split("/")[2] for source in layer_sources(stages())]
    assert names == [*LAYERS, "kaleyard", "project", "step"]


def test_every_layer_comes_from_a_stage_that_is_there_on_the_same_base() -> None:
    found = stages(base=f"{BASE}@sha256:{'0' * 64}")
    known = {stage.name for stage in found[:-1]}
    assert {words.split(" ")[0].removeprefix("--from=") for words in found[-1].all("COPY")} <= known
    assert {stage.base for stage in found} - known == {f"{BASE}@sha256:{'0' * 64}"}


def test_build_arguments_change_nothing_but_labels() -> None:
    instructions = stages()[-1].instructions
    first = next(n for n, line in enumerate(instructions) if line.startswith("ARG "))
    assert {line.split(" ")[0] for line in instructions[first:]} == {"ARG", "LABEL"}
    told = {line.split(" ")[1].partition("=")[0] for line in instructions[first:] if line.startswith("ARG ")}
    assert told == {"KALEYARD_KEY", "REVISION", "SOURCE"}


def test_what_installs_has_the_secrets_and_nothing_else_has() -> None:
    for stage in stages():
        for command in stage.all("RUN"):
            installs = re.search(r"layer\.py (runner|packages)$", command) is not None
            given = set(re.findall(r"type=secret,id=(\w+)", command))
            assert given == ({"ca", "pipconf"} if installs else set()), command


def test_what_is_left_out_of_a_package_nothing_else_of_it_imports(layer: Any) -> None:
    folder = Path(np.__file__).parents[1]
    aside = {"tests", "third_party", "conftest.py", "_precompute"}  # the last: how SciPy's authors made its tables
    for pattern in layer.LEFT_OUT:
        gone = [p for p in folder.glob(pattern) if p.is_dir()]
        assert gone or pattern.startswith("pyarrow"), pattern
        for path in (folder / pattern.split("/")[0]).rglob("*.py"):
            if any(path.is_relative_to(g) for g in gone) or aside & {*path.parts}:
                continue
            words = re.findall(r"(?m)^(?:from|import) ([\w.]+)", path.read_text(encoding="utf-8"))
            assert not [w for w in words if "tests" in w.split(".") or "third_party" in w.split(".")], path


@pytest.mark.parametrize("base", ["", "a b", "x\nRUN evil", 'x" evil="1', "x{{ 1 }}", "$HOME"])
def test_a_base_image_that_is_no_name_is_refused(base: str) -> None:
    with pytest.raises(ProjectError, match=r"step train: .* is not the name of an image"):
        dockerfile(Step("train", ()), base)


def test_a_base_image_may_be_named_by_digest() -> None:
    base = "localhost:5000/a/b_c.d@sha256:0123"
    assert {stage.base for stage in stages(base=base)} == {base, "tools"}


def test_what_the_image_runs_is_sound_shell() -> None:
    for line in lines():
        if line.startswith("RUN "):
            script = re.sub(r"^RUN (--mount=\S+ )*", "", line)
            subprocess.run(["sh", "-n", "-c", script], check=True)


@pytest.fixture
def layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`layer.py` as a module, with a folder for the image's root; its environment has this Python."""
    path = template_folder("step") / "layer.py"
    spec = importlib.util.spec_from_file_location("layer", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    environment = tmp_path / "opt/venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    monkeypatch.setattr(module, "LAYERS", tmp_path / "layers")
    monkeypatch.setattr(module, "ENVIRONMENT", environment)
    monkeypatch.setattr(module, "PACKAGES", tmp_path / "packages")
    return module


def code(layer: Any) -> Path:
    """A folder in the layer with a module, one that is no Python 3, a script and a secret."""
    folder: Path = layer.LAYERS / "code/opt/kaleyard"
    folder.mkdir(parents=True)
    (folder / "module.py").write_text("def f(x):\n    return x in {'one', 'two', 'three', 'four', 'five', 'six'}\n")
    (folder / "old.py").write_text("print 1\n")
    script = folder / "script"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o700)
    (folder / "private").write_text("x")
    (folder / "private").chmod(0o600)
    return folder


def files(folder: Path) -> dict[str, tuple[int, float, bytes]]:
    paths = sorted(folder.rglob("*"))
    found = ((p, p.stat()) for p in paths)
    return {
        p.relative_to(folder).as_posix(): (s.st_mode, s.st_mtime, b"" if p.is_dir() else p.read_bytes())
        for p, s in found
    }


def test_a_layer_is_compiled_readable_and_the_same_every_time(layer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["layer.py", "code"])
    made = []
    for _ in range(2):
        folder = code(layer)
        layer.main()
        made.append(files(layer.LAYERS / "code"))
        shutil.rmtree(layer.LAYERS)
    assert made[0] == made[1]
    (bytecode,) = [data for name, (_, _, data) in made[0].items() if name.endswith(".pyc")]
    assert bytecode[4:8] == b"\1\0\0\0", "its source is not looked at"
    assert str(layer.LAYERS).encode() not in bytecode
    assert {time for _, time, _ in made[0].values()} == {layer.TIME}
    modes = {name: stat.S_IMODE(mode) for name, (mode, _, _) in made[0].items()}
    assert modes[f"opt/{folder.name}/private"] == 0o644
    assert modes[f"opt/{folder.name}/script"] == 0o755


def test_code_that_does_not_compile_at_all_fails_the_build(layer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = layer.LAYERS / "code/opt"
    folder.mkdir(parents=True)
    (folder / "old.py").write_text("print 1\n")
    monkeypatch.setattr(sys, "argv", ["layer.py", "code"])
    with pytest.raises(SystemExit, match="no bytecode"):
        layer.main()


def test_what_is_left_out_is_gone_and_nothing_beside_it(layer: Any, tmp_path: Path) -> None:
    site = tmp_path / "lib/python3.12/site-packages"
    for name in ("numpy/tests/x.py", "numpy/b/tests/x.py", "numpy/testing.py", "astropy/tests/x.py"):
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).touch()
    layer.leave_out(tmp_path)
    left = sorted(p.relative_to(site).as_posix() for p in site.rglob("*.py"))
    assert left == ["astropy/tests/x.py", "numpy/testing.py"]


@pytest.mark.parametrize("given", [(), ("ca",), ("ca", "pipconf")])
def test_pip_is_told_of_the_secrets_that_are_given_and_of_no_others(
    layer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: tuple[str, ...]
) -> None:
    names = {"ca": "PIP_CERT", "pipconf": "PIP_CONFIG_FILE"}
    for variable in names.values():
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(layer, "SECRETS", {tmp_path / name: variable for name, variable in names.items()})
    for name in given:
        (tmp_path / name).touch()
    fake = tmp_path / "python"
    fake.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/words\nenv > {tmp_path}/variables\n')
    fake.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(fake))
    layer.install(tmp_path / "requirements.txt", tmp_path / "layers/numpy")
    told = {line for line in (tmp_path / "variables").read_text().splitlines() if line.split("=")[0] in names.values()}
    assert told == {f"{names[name]}={tmp_path / name}" for name in given}
    assert "--require-hashes --no-deps" in (tmp_path / "words").read_text()


def test_a_failed_installation_fails_the_build(layer: Any) -> None:
    requirements = layer.LAYERS.parent / "requirements.txt"
    requirements.write_text("nothing==1 --hash=sha256:00\n--no-such-option\n")
    with pytest.raises(SystemExit):
        layer.install(requirements, layer.LAYERS / "numpy")


def test_each_file_of_requirements_becomes_a_layer_and_the_runners_has_the_environment(
    layer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def install(requirements: Path, folder: Path) -> None:
        site = layer.inside(folder) / "lib/python3.12/site-packages"
        site.mkdir(parents=True)
        (site / f"{requirements.stem}.py").write_text(requirements.read_text())

    monkeypatch.setattr(layer, "install", install)
    layer.PACKAGES.mkdir()
    for kind, names in (("packages", ("numpy", "others")), ("runner", ("runner",))):
        for name in names:
            (layer.PACKAGES / f"{name}.txt").write_text("x = 1\n")
        monkeypatch.setattr(sys, "argv", ["layer.py", kind])
        layer.main()
        assert sorted(p.name for p in layer.LAYERS.iterdir()) == sorted(names)
        for name in names:
            environment = layer.inside(layer.LAYERS / name)
            assert (environment / "lib/python3.12/site-packages" / f"{name}.py").is_file()
            assert (environment / "bin/python").exists() == (kind == "runner")
            assert list(environment.rglob(f"{name}*.pyc"))
        shutil.rmtree(layer.LAYERS)
        shutil.rmtree(layer.PACKAGES)
        layer.PACKAGES.mkdir()


def test_making_a_dockerfile_loads_neither_kfp_nor_kale() -> None:
    program = (
        "import sys; from kaleyard.compiler.dockerfile import dockerfile; from kaleyard.pipeline import Step;"
        "dockerfile(Step('a', ()), 'x'); print({'kfp', 'kale'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True, text=True)
    assert done.stdout.strip() == "set()"
