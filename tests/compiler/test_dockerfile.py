from __future__ import annotations

import importlib.util
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kaleyard.compiler.dockerfile import PRUNED_PATHS, dockerfile
from kaleyard.config import template_folder
from kaleyard.errors import ProjectError
from kaleyard.pipeline import Step

BASE = "python:3.12-slim"


LAYERS = {"runner": ("jedi", "papermill"), "own-numpy": ("numpy",), "own-six": ("six",)}


def lines(step: str = "train", base: str = BASE, layers: Mapping[str, tuple[str, ...]] = LAYERS) -> list[str]:
    """The Dockerfile's instructions, one a line, without comments."""
    text = dockerfile(Step(step, ()), base, layers).decode()
    kept = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    return [re.sub(r"\s+", " ", line) for line in kept.replace("\\\n", " ").splitlines() if line.strip()]


def stages(step: str = "train", layers: Mapping[str, tuple[str, ...]] = LAYERS) -> list[list[str]]:
    found: list[list[str]] = []
    for line in lines(step, layers=layers):
        if line.startswith("FROM "):
            found.append([])
        if found:
            found[-1].append(line)
    return found


def test_only_instructions_that_docker_and_buildah_both_know_are_used() -> None:
    text = dockerfile(Step("train", ()), BASE, LAYERS).decode()
    assert {line.split(" ")[0] for line in lines()} == {"ARG", "FROM", "COPY", "RUN", "ENV", "USER", "WORKDIR", "LABEL"}
    for refused in ("# syntax", "<<", "--link", "--network", "env=", "--parents", "--exclude", "ADD "):
        assert refused not in text
    assert not [line for line in lines() if line.startswith("#")]


def test_an_image_has_no_entrypoint_and_no_command() -> None:
    assert not [line for line in lines() if line.startswith(("ENTRYPOINT", "CMD"))]


def test_the_step_runs_as_no_particular_user_with_its_home_in_tmp() -> None:
    last = stages()[-1]
    assert "USER 1000:0" in last
    assert "WORKDIR /tmp" in last
    (environment,) = (line for line in last if line.startswith("ENV "))
    assert {"HOME=/tmp", "MPLCONFIGDIR=/tmp/mpl", "PYTHONPATH=/opt/kaleyard"} <= set(environment.split())


def test_all_but_the_last_stage_and_its_first_layers_are_the_same_for_every_step() -> None:
    one, other = stages("train"), stages("report")
    assert one[:-1] == other[:-1]
    same = [a == b for a, b in zip(one[-1], other[-1], strict=True)]
    assert same.index(False) > one[-1].index("COPY --from=step /layer/ /")


def test_a_layer_of_packages_is_the_same_whatever_else_the_step_has() -> None:
    one, other = stages(), stages(layers={"runner": LAYERS["runner"], "own-numpy": ("numpy",)})
    assert [stage for stage in one if stage in other] == other[:-1]


def test_layers_that_change_most_come_last() -> None:
    copied = [line.split("=")[1].split(" ")[0] for line in stages()[-1] if line.startswith("COPY ")]
    assert copied == ["packages-runner", "packages-own-numpy", "packages-own-six", "kaleyard", "project", "step"]


def test_build_arguments_change_nothing_but_labels() -> None:
    last = stages()[-1]
    places = [n for n, line in enumerate(last) if line.startswith("ARG ")]
    assert len(places) == 3
    assert all(line.startswith(("ARG ", "LABEL ")) for line in last[places[0] :])


def test_each_layer_has_its_own_requirements_and_the_secrets() -> None:
    made = [stage for stage in stages() if stage[0].startswith("FROM tools AS packages-")]
    assert [stage[1].split(" ")[1] for stage in made] == [f"packages/{layer}.txt" for layer in LAYERS]
    for _, _, install in made:
        assert "target=/run/secrets/ca " in install
        assert "target=/run/secrets/pipconf " in install
    assert [("--environment" in stage[2], "--without" in stage[2]) for stage in made] == [
        (True, True),
        (False, True),
        (False, False),
    ]


def test_what_is_left_out_of_a_package_nothing_else_of_it_imports() -> None:
    folder = Path(np.__file__).parents[1]
    aside = {"tests", "third_party", "conftest.py", "_precompute"}  # the last: how SciPy's authors made its tables
    for name, patterns in PRUNED_PATHS.items():
        for pattern in patterns:
            gone = [p for p in folder.glob(pattern) if p.is_dir()]
            assert gone or name == "pyarrow", pattern
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
    assert lines(base=base)[0] == f"ARG BASE={base}"


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
    monkeypatch.setattr(module, "LAYER", tmp_path / "layer")
    monkeypatch.setattr(module, "ENVIRONMENT", environment)
    monkeypatch.setattr(module, "REQUIREMENTS", tmp_path / "requirements.txt")
    return module


def code(layer: Any) -> Path:
    """A folder in the layer with a module, one that is no Python 3, a script and a secret."""
    folder: Path = layer.LAYER / "opt/kaleyard"
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
        made.append(files(layer.LAYER))
        shutil.rmtree(layer.LAYER)
    assert made[0] == made[1]
    (bytecode,) = [data for name, (_, _, data) in made[0].items() if name.endswith(".pyc")]
    assert bytecode[4:8] == b"\1\0\0\0", "its source is not looked at"
    assert str(layer.LAYER).encode() not in bytecode
    assert {time for _, time, _ in made[0].values()} == {layer.TIME}
    modes = {name: stat.S_IMODE(mode) for name, (mode, _, _) in made[0].items()}
    assert modes[f"opt/{folder.name}/private"] == 0o644
    assert modes[f"opt/{folder.name}/script"] == 0o755


def test_code_that_does_not_compile_at_all_fails_the_build(layer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = layer.LAYER / "opt"
    folder.mkdir(parents=True)
    (folder / "old.py").write_text("print 1\n")
    monkeypatch.setattr(sys, "argv", ["layer.py", "code"])
    with pytest.raises(SystemExit, match="no bytecode"):
        layer.main()


def test_what_is_left_out_is_gone_and_nothing_beside_it(layer: Any, tmp_path: Path) -> None:
    site = tmp_path / "lib/python3.12/site-packages"
    for name in ("a/tests/x.py", "a/b/tests/x.py", "a/testing.py", "c/tests/x.py"):
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).touch()
    layer.leave_out(tmp_path, ["a/**/tests"])
    assert sorted(p.relative_to(site).as_posix() for p in site.rglob("*.py")) == ["a/testing.py", "c/tests/x.py"]


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
    layer.install(tmp_path / "inside")
    told = {line for line in (tmp_path / "variables").read_text().splitlines() if line.split("=")[0] in names.values()}
    assert told == {f"{names[name]}={tmp_path / name}" for name in given}
    assert "--require-hashes --no-deps" in (tmp_path / "words").read_text()


def test_a_failed_installation_fails_the_build(layer: Any) -> None:
    layer.REQUIREMENTS.write_text("nothing==1 --hash=sha256:00\n--no-such-option\n")
    with pytest.raises(SystemExit):
        layer.install(layer.LAYER / "inside")


def test_making_a_dockerfile_loads_neither_kfp_nor_kale() -> None:
    program = (
        "import sys; from kaleyard.compiler.dockerfile import dockerfile; from kaleyard.pipeline import Step;"
        "dockerfile(Step('a', ()), 'x'); print({'kfp', 'kale'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True, text=True)
    assert done.stdout.strip() == "set()"
