"""The cluster scripts under shellcheck, and under bats with stand-ins for what makes clusters."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cluster_tools import program

HERE = Path(__file__).parents[1] / "cluster_scripts"
CASES = re.findall(r'(?m)^@test "(.*)" \{$', (HERE / "scripts.bats").read_text())


def test_shellcheck_finds_nothing_in_any_script(repository: Path) -> None:
    scripts = [*(repository / "templates" / "cluster").glob("*.sh"), HERE / "stand-ins" / "tool"]
    scripts += [p for p in (repository / ".ci").iterdir() if p.read_text().startswith("#!/usr/bin/env bash")]
    assert len(scripts) > 8
    command = [str(Path(sys.executable).with_name("shellcheck")), "-x", "-P", str(repository), *map(str, scripts)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=repository)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("case", CASES)
def test_the_scripts_do_what_they_say(case: str, tmp_path: Path) -> None:
    variables = os.environ | {
        "REAL_KALEYARD": str(Path(sys.executable).with_name("kaleyard")),
        "BATS_TMPDIR": str(tmp_path),
        "TMPDIR": str(tmp_path),
    }
    done = subprocess.run(
        [program("bats"), "--filter", f"^{re.escape(case)}$", str(HERE / "scripts.bats")],
        capture_output=True,
        text=True,
        check=False,
        env=variables,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"ok 1 {case}" in done.stdout
    assert "1..1" in done.stdout
