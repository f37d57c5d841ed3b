"""A GitHub workflow's jobs, done here: every `run:` as it stands, in the order of `needs`, each job in a clean clone.

GitHub itself cannot be here. What stands for it: expressions are worked out by the few rules that our workflows use;
`actions/checkout` is the clone, `setup-python` does nothing, and artifacts are kept in a folder.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml

__all__ = ["Event", "Job", "Outcome", "run_workflow"]

_EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)


@dataclass
class Event:
    """What GitHub knows when it starts a workflow."""

    name: str = "push"
    variables: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)

    def value(self, expression: str) -> Any:
        """What the expression says; names that are not there are empty, as on GitHub."""
        source = expression.replace("&&", " and ").replace("||", " or ")
        source = re.sub(r"!(?!=)", " not ", source)
        names = {
            "github": _Empty(event_name=self.name, actor="somebody", token="token-of-the-job", ref="refs/heads/main"),
            "vars": _Empty(**self.variables),
            "secrets": _Empty(**self.secrets),
            "format": lambda text, *values: text.format(*values),
            "cancelled": lambda: False,
        }
        return eval(source, {"__builtins__": {}}, names)

    def text(self, template: str) -> str:
        """The text with its expressions worked out."""
        return _EXPRESSION.sub(lambda match: str(self.value(match[1].strip()) or ""), template)

    def allows(self, condition: str | None) -> bool:
        """Whether an `if:` holds."""
        if condition is None:
            return True
        inside = _EXPRESSION.fullmatch(condition.strip())
        return bool(self.value((inside[1] if inside else condition).strip()))


class _Empty(SimpleNamespace):
    def __getattr__(self, name: str) -> str:
        return ""


@dataclass
class Job:
    """How a job ended, and what its `run:` steps printed, by the steps' names."""

    state: str
    printed: dict[str, str] = field(default_factory=dict)


Outcome = dict[str, Job]


def run_workflow(
    path: Path,
    origin: Path,
    folder: Path,
    event: Event,
    *,
    prepare: Callable[[Path], None],
    settings: Mapping[str, str],
) -> Outcome:
    """What became of each job of the workflow at `path` (in the repository at `origin`), each in a clone in `folder`.

    `prepare` is called on each clone before its first step; `settings` are variables of the machine it runs on.
    """
    told = yaml.safe_load(path.read_text(encoding="utf-8"))
    outcome: Outcome = {}
    for name, job in told["jobs"].items():
        needed = [job["needs"]] if isinstance(job.get("needs"), str) else job.get("needs", [])
        if not all(outcome[other].state == "done" for other in needed) or not event.allows(job.get("if")):
            outcome[name] = Job("skipped")
            continue
        clone = folder / name
        subprocess.run(["git", "clone", "--quiet", str(origin), str(clone)], check=True)
        prepare(clone)
        artifacts = folder / "artifacts"
        outcome[name] = _run_job(job, clone, artifacts, event, dict(settings) | _variables(told, event))
    return outcome


def _variables(told: Mapping[str, Any], event: Event) -> dict[str, str]:
    return {name: event.text(str(value)) for name, value in told.get("env", {}).items()}


def _run_job(job: Mapping[str, Any], clone: Path, artifacts: Path, event: Event, settings: dict[str, str]) -> Job:
    settings |= _variables(job, event)
    done = Job("done")
    for step in job["steps"]:
        if not event.allows(step.get("if")) or (done.state == "failed" and "cancelled" not in str(step.get("if"))):
            continue
        if "uses" in step:
            _use(step, clone, artifacts)
            continue
        ended = subprocess.run(
            ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step["run"]],
            cwd=clone,
            env=settings | _variables(step, event),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=900,
        )
        done.printed[step["name"]] = ended.stdout
        if ended.returncode:
            done.state = "failed"
    return done


def _use(step: Mapping[str, Any], clone: Path, artifacts: Path) -> None:
    action = step["uses"].partition("@")[0]
    if action == "actions/upload-artifact":
        source = clone / step["with"]["path"]
        target = artifacts / step["with"]["name"]
        target.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        elif source.exists():
            shutil.copy(source, target)
    elif action == "actions/download-artifact":
        shutil.copytree(artifacts / step["with"]["name"], clone / step["with"]["path"], dirs_exist_ok=True)
    else:
        assert action in ("actions/checkout", "actions/setup-python"), os.fspath(clone)
