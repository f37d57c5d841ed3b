from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from kaleyard.compiler.dockerfile import dockerfile
from kaleyard.errors import ProjectError
from kaleyard.pipeline import Step

BASE = "python:3.12-slim"


def lines(step: str = "train", base: str = BASE) -> list[str]:
    """The Dockerfile's instructions, one a line, without comments."""
    text = dockerfile(Step(step, ()), base).decode()
    kept = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    return [re.sub(r"\s+", " ", line) for line in kept.replace("\\\n", " ").splitlines() if line.strip()]


def stages(step: str = "train") -> list[list[str]]:
    found: list[list[str]] = []
    for line in lines(step):
        if line.startswith("FROM "):
            found.append([])
        if found:
            found[-1].append(line)
    return found


def test_only_instructions_that_docker_and_buildah_both_know_are_used() -> None:
    text = dockerfile(Step("train", ()), BASE).decode()
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
    assert same.index(False) > one[-1].index("COPY --chmod=755 step.ipynb /opt/step/step.ipynb")


def test_layers_that_change_most_come_last() -> None:
    copied = [line.split(" ")[-2] for line in stages()[-1] if line.startswith("COPY ")]
    assert copied == ["/opt/venv", "/opt/kaleyard", "project", "step.ipynb"]


def test_build_arguments_change_nothing_but_labels() -> None:
    last = stages()[-1]
    places = [n for n, line in enumerate(last) if line.startswith("ARG ")]
    assert len(places) == 3
    assert all(line.startswith(("ARG ", "LABEL ")) for line in last[places[0] :])


def test_packages_are_those_of_the_lock_and_nothing_else() -> None:
    (install,) = (line for line in lines() if "pip" in line and line.startswith("RUN "))
    assert "--require-hashes --no-deps" in install
    assert install.count("-r /tmp/requirements.txt") == 1
    assert "target=/run/secrets/ca " in install
    assert "target=/run/secrets/pipconf " in install


@pytest.mark.parametrize("base", ["", "a b", "x\nRUN evil", 'x" evil="1', "x{{ 1 }}", "$HOME"])
def test_a_base_image_that_is_no_name_is_refused(base: str) -> None:
    with pytest.raises(ProjectError, match=r"step train: .* is not the name of an image"):
        dockerfile(Step("train", ()), base)


def test_a_base_image_may_be_named_by_digest() -> None:
    base = "localhost:5000/a/b_c.d@sha256:0123"
    assert lines(base=base)[0] == f"ARG BASE={base}"


def shell(line: str) -> str:
    """What a RUN instruction hands to the shell."""
    return re.sub(r"^RUN (--mount=\S+ )*", "", line)


@pytest.mark.parametrize("number", [0, 1])
def test_what_the_image_runs_is_sound_shell(number: int) -> None:
    script = shell([line for line in lines() if line.startswith("RUN ")][number])
    subprocess.run(["sh", "-n", "-c", script], check=True)


def install(folder: Path, python: str) -> subprocess.CompletedProcess[str]:
    """The end of the packages' RUN, with `python` for base image's python3, in `folder` for the image."""
    tools, venv = folder / "tools", folder / "venv"
    bytecode = venv / "lib/python3.12/site-packages/papermill/__pycache__"
    for place in (tools, venv / "bin", bytecode):
        place.mkdir(parents=True)
    (bytecode / "x.pyc").touch()
    for fake in (tools / "python3", venv / "bin/python"):
        fake.write_text(f"#!/bin/sh\n{python}\n")
        fake.chmod(0o755)
    script = shell(next(line for line in lines() if line.startswith("RUN ")))
    script = script.replace("/run/secrets", str(folder / "secrets")).replace("/opt/venv", str(venv))
    variables = {"PATH": f"{tools}:/usr/bin:/bin"}
    return subprocess.run(["sh", "-c", script], env=variables, capture_output=True, check=False, text=True)


@pytest.mark.parametrize("given", [(), ("ca",), ("ca", "pipconf")])
def test_pip_is_told_of_the_secrets_that_are_given_and_of_no_others(tmp_path: Path, given: tuple[str, ...]) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    for name in given:
        (secrets / name).touch()
    done = install(tmp_path, 'if [ "$2" = pip ]; then echo "${PIP_CERT-none} ${PIP_CONFIG_FILE-none}"; fi')
    told = [str(secrets / name) if name in given else "none" for name in ("ca", "pipconf")]
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == told


@pytest.mark.parametrize("word", ["venv", "pip"])
def test_a_failed_installation_fails_the_build(tmp_path: Path, word: str) -> None:
    assert install(tmp_path, f'[ "$2" != {word} ]').returncode != 0


def test_a_package_with_a_file_that_does_not_compile_fails_no_build(tmp_path: Path) -> None:
    assert install(tmp_path, '[ "$2" != compileall ]').returncode == 0


def test_making_a_dockerfile_loads_neither_kfp_nor_kale() -> None:
    program = (
        "import sys; from kaleyard.compiler.dockerfile import dockerfile; from kaleyard.pipeline import Step;"
        "dockerfile(Step('a', ()), 'x'); print({'kfp', 'kale'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True, text=True)
    assert done.stdout.strip() == "set()"
