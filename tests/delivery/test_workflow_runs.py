"""A new project's workflow, done here: check, test, then the images that are missing, then a run.

The registry and the engine are real; Kubeflow Pipelines is a server in a thread (tests/support/kfp_server.py).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import kaleyard
from container_engine import secrets
from kfp_server import Kfp, run_at, serving_kfp
from template_repository import commit_all, git
from workflow import Event, Outcome, run_workflow

pytest_plugins = ["engine", "project_environment"]

STEPS = ("preprocess", "train", "test", "deploy")


@dataclass
class Place:
    """A project's repository, and all that its workflow meets."""

    origin: Path
    folder: Path
    venv: Path
    settings: dict[str, str]
    event: Event
    pushes: int = 0
    changes_packages: bool = False

    def push(self, event: str = "push", workflow: str = "pipeline.yml") -> Outcome:
        """Commit what is there, and do what GitHub would do then."""
        commit_all(self.origin)
        self.pushes += 1
        happened = Event(event, self.event.variables, {} if event == "pull_request" else self.event.secrets)
        return run_workflow(
            self.origin / ".github" / "workflows" / workflow,
            self.origin,
            self.folder / f"push-{self.pushes}",
            happened,
            prepare=self._prepare,
            settings=self.settings,
        )

    def _prepare(self, clone: Path) -> None:
        # An environment takes a minute: the one that such a project's make made is put where this one's would be.
        if self.changes_packages:
            shutil.copytree(self.venv, clone / ".venv", symlinks=True, copy_function=os.link)
            (clone / ".venv" / ".ready").unlink()
            (clone / ".venv" / ".ready").touch()
        else:
            (clone / ".venv").symlink_to(self.venv, target_is_directory=True)
            (self.venv / ".ready").touch()

    def kaleyard(self, *words: str) -> None:
        subprocess.run([str(self.venv / "bin" / "kaleyard"), *words], cwd=self.origin, check=True, capture_output=True)

    def edit(self, change: Callable[[str], str]) -> None:
        path = self.origin / "notebooks" / "regression.ipynb"
        before = path.read_text(encoding="utf-8")
        after = change(before)
        assert after != before
        path.write_text(after, encoding="utf-8")


def states(outcome: Outcome) -> dict[str, str]:
    return {name: job.state for name, job in outcome.items()}


def printed(outcome: Outcome) -> str:
    return "\n".join(text for job in outcome.values() for text in job.printed.values())


@pytest.fixture
def place(tmp_path: Path, venv: Path) -> Place:
    """A new project, compiled and committed, on a machine without a registry or a cluster."""
    origin = kaleyard.new(tmp_path / "origin")
    settings = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "CI": "true", "GITHUB_ACTIONS": "true"}
    made = Place(origin, tmp_path, venv, settings, Event())
    made.kaleyard("compile")
    return made


@pytest.fixture
def kfp() -> Iterator[Kfp]:
    with serving_kfp(looks=[run_at("SUCCEEDED", *((name, "SUCCEEDED") for name in STEPS))] * 4) as server:
        yield server


@pytest.mark.engine
def test_a_push_builds_what_is_missing_and_runs_it(place: Place, registry: str, base_image: str, kfp: Kfp) -> None:
    place.event = Event(
        variables={
            "REGISTRY": f"{registry}/{uuid.uuid4().hex}",  # with nothing in it yet
            "REGISTRY_USER": "me",
            "KFP_HOST": kfp.url,
        },
        secrets={"REGISTRY_TOKEN": "a-token", "KFP_TOKEN": "another"},
    )
    place.settings |= {"KALEYARD_BUILD_SECRETS": " ".join(f"id={n},src={p}" for n, p in secrets().items())}
    place.settings |= {name: os.environ[name] for name in ("DOCKER_HOST", "DOCKER_BUILDKIT") if name in os.environ}
    pyproject = place.origin / "pyproject.toml"
    pyproject.write_text(pyproject.read_text("utf-8").replace("python:3.12-slim", base_image), encoding="utf-8")
    place.kaleyard("compile")

    first = place.push()
    assert states(first) == dict.fromkeys(("check", "test", "images", "run"), "done"), printed(first)
    assert built(first) == set(STEPS)
    package = place.folder / "push-1" / "artifacts" / "packages" / "regression" / "pipeline.yaml"
    assert package.read_text(encoding="utf-8").count("@sha256:") == len(STEPS)
    assert len(kfp.things["versions"]) == len(kfp.things["runs"]) == 1
    assert {h.get("authorization", h.get("Authorization")) for h in kfp.headers} == {"Bearer another"}

    second = place.push()
    assert states(second)["run"] == "done", printed(second)
    assert built(second) == set()
    assert len(kfp.things["versions"]) == 1  # the same content is the same version

    place.edit(lambda text: text.replace("Ridge(alpha=ALPHA)", "Ridge(alpha=ALPHA, fit_intercept=True)"))
    place.kaleyard("compile")
    third = place.push()
    assert states(third)["run"] == "done", printed(third)
    assert built(third) == {"train"}
    assert len(kfp.things["versions"]) == 2

    request = place.push("pull_request")
    assert states(request) == {"check": "done", "test": "done", "images": "skipped", "run": "skipped"}
    assert "a-token" not in printed(first) + printed(second)


def built(outcome: Outcome) -> set[str]:
    """The steps whose images `kaleyard build` says that it pushed."""
    (text,) = [t for name, t in outcome["images"].printed.items() if name.startswith("The images")]
    return {line.split(":")[0].strip() for line in text.splitlines() if ": pushed" in line}


def drifted(text: str) -> str:
    assert '"53.32\\n"' in text
    return text.replace('"53.32\\n"', '"53.33\\n"')


def wrong(text: str) -> str:
    assert "331 patients" in text
    return text.replace("331 patients", "332 patients")


def stripped(text: str) -> str:
    data = json.loads(text)
    for cell in data["cells"]:
        if cell["cell_type"] == "code":
            cell |= {"outputs": [], "execution_count": None}
    return json.dumps(data, indent=1, ensure_ascii=False) + "\n"


@pytest.mark.parametrize("change", [wrong, drifted, stripped])
def test_a_notebook_that_is_not_as_it_says_stops_before_any_image(place: Place, change: Callable[[str], str]) -> None:
    place.event = Event(variables={"REGISTRY": "127.0.0.1:1/never", "REGISTRY_USER": "me"})
    place.edit(change)
    outcome = place.push()
    assert states(outcome) == {"check": "done", "test": "failed", "images": "skipped", "run": "skipped"}
    assert "::error file=notebooks/regression.ipynb,line=" in printed(outcome)
    # What the tests found is kept for people, though the job failed.
    assert (place.folder / "push-1" / "artifacts" / "notebooks" / "notebooks.xml").is_file()


def test_a_finding_or_stale_components_stop_before_the_tests(place: Place) -> None:
    place.edit(lambda text: text.replace("model.predict(X_test)", "model.predict(X_tset)"))
    outcome = place.push()
    assert states(outcome)["check"] == "failed"
    assert set(states(outcome).values()) == {"failed", "skipped"}
    place.edit(lambda text: text.replace("model.predict(X_tset)", "model.predict(X_test[:])"))
    outcome = place.push()
    assert states(outcome)["check"] == "failed"
    assert "stale" in printed(outcome)


def test_without_a_registry_a_push_ends_with_the_tests(place: Place) -> None:
    outcome = place.push()
    assert states(outcome) == {"check": "done", "test": "done", "images": "skipped", "run": "skipped"}


def test_the_nightly_workflow_tests_the_notebooks(place: Place) -> None:
    assert states(place.push("schedule", "nightly.yml")) == {"notebooks": "done"}
    place.edit(drifted)
    assert states(place.push("schedule", "nightly.yml")) == {"notebooks": "failed"}


def test_the_weekly_workflow_offers_a_new_lock(place: Place) -> None:
    # GitHub's own program cannot reach GitHub here: one in its place writes down what it is told.
    fake = place.folder / "bin" / "gh"
    fake.parent.mkdir()
    fake.write_text(f'#!/bin/sh\necho "$@" >> "{place.folder}/gh.txt"\n', encoding="utf-8")
    fake.chmod(0o755)
    place.settings |= {"PATH": f"{fake.parent}:{os.environ['PATH']}"} | {
        name: value for name, value in os.environ.items() if name.startswith(("UV_", "PIP_", "SSL_", "REQUESTS_"))
    }
    place.changes_packages = True
    lock = place.origin / "requirements.lock"
    text = lock.read_text(encoding="utf-8")
    lock.write_text(text.replace("# via\n", "# via  \n", 1), encoding="utf-8")  # a new lock differs from this one
    outcome = place.push("schedule", "lock.yml")
    assert states(outcome) == {"update": "done"}, printed(outcome)
    assert "pr create --head update-lock" in (place.folder / "gh.txt").read_text(encoding="utf-8")
    changed = git(place.origin, "diff", "--stat", "main", "update-lock")
    assert "requirements.lock" in changed


@pytest.fixture
def hooked(place: Place) -> Place:
    place._prepare(place.origin)
    commit_all(place.origin)
    return place


def commit(place: Place) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).parent / "pre-commit"), "run", "--all-files"],
        cwd=place.origin,
        capture_output=True,
        text=True,
        check=False,
        env=place.settings,
    )


def test_pre_commit_passes_a_new_project_and_stops_what_ci_would(hooked: Place) -> None:
    clean = commit(hooked)
    assert clean.returncode == 0, clean.stdout + clean.stderr
    assert clean.stdout.count("Passed") == 4
    hooked.edit(lambda text: text.replace("model.predict(X_test)", "model.predict(X_tset)"))
    broken = commit(hooked)
    assert broken.returncode == 1
    assert "KY201" in broken.stdout
    assert broken.stdout.count("Failed") >= 2  # the rules, and the components that cannot be made
    shutil.rmtree(hooked.origin / ".git")
