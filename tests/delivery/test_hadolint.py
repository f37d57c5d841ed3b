"""The generated Dockerfiles under hadolint."""

from __future__ import annotations

import subprocess
from pathlib import Path

from cluster_tools import program

# A stage that only gathers files may be root's; test_dockerfile.py and the builds see to the last stage's user.
IGNORED = ("DL3002",)


def test_hadolint_finds_nothing_in_any_generated_dockerfile(repository: Path) -> None:
    files = sorted((repository / "components").glob("*/*/Dockerfile"))
    assert files
    command = [program("hadolint"), "--no-color", *(o for code in IGNORED for o in ("--ignore", code))]
    done = subprocess.run([*command, *map(str, files)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr
    for file in files:
        users = [line for line in file.read_text().splitlines() if line.startswith("USER ")]
        assert users[-1] != "USER 0:0", file
