"""The workflows as files: what they may do, what they are made of, and that new projects have the same ones."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster_tools import program
from template_repository import PROJECT

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
# This one tests Kaleyard itself; all others are those of new projects too.
ONLY_HERE = {"repository.yml"}
# Read off the workflows of attrs, black, cibuildwheel, kind and Kubeflow Pipelines (August 2026), where two or more
# agree; dependency-review-action off those of OpenSSF Scorecard and Sentry.
PINS = {
    "actions/checkout": ("3d3c42e5aac5ba805825da76410c181273ba90b1", "v7.0.1"),
    "actions/dependency-review-action": ("a1d282b36b6f3519aa1f3fc636f609c47dddb294", "v5.0.0"),
    "actions/download-artifact": ("3e5f45b2cfb9172054b4087a40e8e0b5a5461e7c", "v8.0.1"),
    "actions/setup-python": ("5fda3b95a4ea91299a34e894583c3862153e4b97", "v7.0.0"),
    "actions/upload-artifact": ("043fb46d1a93c77aae656e7c1c64a875d1fc6a0a", "v7.0.1"),
}


def told(path: Path) -> dict[Any, Any]:
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(data, dict)
    return data


def console(name: str) -> str:
    return str(Path(sys.executable).parent / name)


def checked(*command: str) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_zizmor_finds_nothing_even_as_an_auditor() -> None:
    checked(console("zizmor"), "--offline", "--no-progress", "--persona=auditor", ".github/workflows")


def test_actionlint_finds_nothing() -> None:
    checked(program("actionlint"), *map(str, WORKFLOWS))


def test_they_are_as_the_schema_says() -> None:
    checked(console("check-jsonschema"), "--builtin-schema", "vendor.github-workflows", *map(str, WORKFLOWS))


def test_new_projects_have_the_same_workflows_and_hooks() -> None:
    theirs = ROOT / PROJECT / ".github" / "workflows"
    assert {p.name for p in theirs.iterdir()} == {p.name for p in WORKFLOWS} - ONLY_HERE
    for path in theirs.iterdir():
        assert path.read_bytes() == (ROOT / ".github" / "workflows" / path.name).read_bytes(), path.name
    assert (ROOT / PROJECT / ".pre-commit-config.yaml").read_bytes() == (ROOT / ".pre-commit-config.yaml").read_bytes()


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda p: p.stem)
def test_every_action_is_pinned_by_commit_with_its_release_beside_it(path: Path) -> None:
    used = re.findall(r"uses: (\S+?)@(\S+)(?: # (\S+))?$", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert used
    assert len(used) == path.read_text(encoding="utf-8").count("uses:")
    for action, commit, release in used:
        assert (commit, release) == PINS[action]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda p: p.stem)
def test_every_job_may_do_little_and_ends(path: Path) -> None:
    workflow = told(path)
    assert workflow["permissions"] == {}
    assert workflow["concurrency"]["group"]
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 360
        assert job["permissions"]["contents"] == ("write" if path.stem == "lock" else "read")
        for step in job["steps"]:
            if "checkout" in step.get("uses", ""):
                assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda p: p.stem)
def test_no_job_that_a_pull_request_starts_reads_a_secret(path: Path) -> None:
    workflow = told(path)
    events = workflow[True]  # YAML reads `on` as true
    assert "pull_request_target" not in events
    for job in workflow["jobs"].values():
        guarded = "pull_request" not in events or _only_after_a_push(job, workflow["jobs"])
        assert guarded or not re.search(r"secrets\.|github\.token", yaml.safe_dump(job))


def _only_after_a_push(job: dict[str, Any], jobs: dict[str, Any]) -> bool:
    condition = job.get("if", "")
    return "github.event_name != 'pull_request' &&" in condition or (
        isinstance(job.get("needs"), str) and _only_after_a_push(jobs[job["needs"]], jobs)
    )


def test_nothing_that_others_write_reaches_a_shell() -> None:
    for path in WORKFLOWS:
        for job in told(path)["jobs"].values():
            assert not any("${{" in step.get("run", "") for step in job["steps"]), path.name
