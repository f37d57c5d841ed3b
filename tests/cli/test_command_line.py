"""The command line: what it prints, where, and with which exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from kaleyard.cli import cli, main
from notebook_builder import notebook

VERBS = (
    "new",
    "update",
    "show",
    "check",
    "test",
    "run",
    "compile",
    "lock",
    "login",
    "build",
    "submit",
    "runs",
    "logs",
    "doctor",
)


def kaleyard(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kaleyard", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(verb: str) -> None:
    done = CliRunner().invoke(cli, [verb, "--help"])
    assert done.exit_code == 0
    assert f"Example: kaleyard {verb}" in " ".join(done.output.split())


def test_the_verbs_are_these() -> None:
    assert tuple(cli.list_commands(click.Context(cli))) == VERBS


def test_a_run_prints_plain_lines_and_exits_0_and_the_report_is_there(project: Path) -> None:
    notebook(project / "notebooks" / "one.ipynb", ("a = 2", "step:make"), ("print(a)", "pipeline-metrics"))
    done = kaleyard("run", cwd=project)
    assert done.returncode == 0, done.stderr
    assert "make: done" in done.stdout
    assert "a = 2" in done.stdout
    assert Path(done.stdout.rpartition("report: ")[2].strip()).is_file()
    again = kaleyard("run", "notebooks/one.ipynb", "--json", cwd=project)
    data = json.loads(again.stdout)
    assert data["steps"]["make"]["state"] == "cached"
    assert data["state"] == "done"


def test_a_failed_step_exits_1_with_place_and_traceback(project: Path) -> None:
    path = notebook(project / "notebooks" / "bad.ipynb", ("x = 1", "step:fine"), ("y = x / 0", "step:breaks"))
    done = kaleyard("run", path)
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stdout
    assert "notebooks/bad.ipynb: cell 2, step breaks" in done.stdout
    assert "Traceback" in done.stdout
    assert "\x1b" not in done.stdout
    assert "kaleyard" not in done.stdout.split("Traceback")[1].split("report:")[0]
    assert not done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["run", "missing.ipynb"], 2, "no such file"),
        (["run", "notebooks/good.ipynb", "-p", "M=1"], 2, "has no parameter M"),
        (["run", "notebooks/good.ipynb", "-p", "N=x"], 2, "not of type int"),
        (["run", "notebooks/good.ipynb", "--only", "nothing"], 2, "has no step nothing"),
        (["run", "notebooks/good.ipynb", "--runner", "magic"], 2, "no runner magic"),
        (["run", "--jobs", "0"], 2, "jobs"),
        (["show", "notebooks/good.ipynb", "--format", "gif"], 2, "no format gif"),
        (["run", "notebooks/bad.ipynb"], 3, "KY201"),
        (["check", "notebooks/good.ipynb", "notebooks/bad.ipynb"], 3, "cell 1, step only: KY201"),
        (["compile", "notebooks/good.ipynb"], 2, "requirements.lock"),
        (["frobnicate"], 2, "frobnicate"),
    ],
)
def test_each_kind_of_error_has_its_exit_code_and_no_traceback(
    project: Path,
    arguments: list[str],
    code: int,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    notebook(project / "notebooks" / "good.ipynb", ("N = 1", "pipeline-parameters"), ("a = N", "step:only"))
    notebook(project / "notebooks" / "bad.ipynb", ("a = undefined_thing", "step:only"))
    monkeypatch.chdir(project)
    monkeypatch.setattr(sys, "argv", ["kaleyard", *arguments])
    # In this process: `import kale` takes seconds in each new one.
    with pytest.raises(SystemExit) as exit_info:
        main()
    told = "".join(capsys.readouterr())
    assert exit_info.value.code == code, told
    assert words in told
    assert "Traceback" not in told


def test_a_broken_setting_is_told_with_the_settings_there_are(project: Path) -> None:
    (project / "pyproject.toml").write_text("[tool.kaleyard]\nregistri = 'x'\n")
    notebook(project / "notebooks" / "good.ipynb", ("a = 1", "step:only"))
    done = kaleyard("check", cwd=project)
    assert done.returncode == 2
    assert "registri" in done.stderr
    assert "base-image" in done.stderr


def test_show_writes_each_format(project: Path) -> None:
    path = notebook(project / "notebooks" / "good.ipynb", ("a = 1", "step:first"), ("b = a", "step:second"))
    for form, begins in (("svg", "<svg"), ("html", "<!doctype html>"), ("json", "{")):
        target = project / f"out.{form}"
        done = CliRunner().invoke(cli, ["show", str(path), "--format", form, "-o", str(target)])
        assert done.exit_code == 0, done.output
        assert target.read_text().lower().startswith(begins)
    text = CliRunner().invoke(cli, ["show", str(path)]).output
    assert "first" in text
    assert "second" in text
