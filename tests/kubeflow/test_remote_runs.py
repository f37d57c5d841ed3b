"""`kaleyard runs` and `logs` for runs on a server (tests/support/kfp_server.py), alike with those of this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import kfp_server_api as models
import pytest
import yaml
from click.testing import CliRunner, Result

import kaleyard
from kaleyard.cli import cli
from kaleyard.errors import ExternalError, UsageError
from kaleyard.kubeflow import client as connection
from kaleyard.reporting.console import SilentReporter
from kfp_server import Kfp, run_at, serving_kfp
from notebook_builder import notebook

BEGAN = datetime(2026, 11, 24, 4, 22, tzinfo=UTC)


@pytest.fixture
def kfp(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kfp]:
    """A server with 250 runs of two pipelines, the pods of the last one at hand."""
    monkeypatch.setattr(connection, "_FIRST_WAIT", 0.01)
    monkeypatch.chdir(project)
    with serving_kfp() as server:
        monkeypatch.setenv("KALEYARD_KFP_HOST", server.url)
        for name in ("housing", "pi"):
            server.add("pipelines", {"display_name": name})
        for number in range(250):
            reference = models.V2beta1PipelineVersionReference(pipeline_id=f"pipelines-{1 + number % 2}")
            config = models.V2beta1RuntimeConfig(parameters={"SEED": number})
            made = BEGAN + timedelta(hours=number)
            server.add(
                "runs",
                {
                    "display_name": f"run {number}",
                    "state": "FAILED" if number == 249 else "SUCCEEDED",
                    "created_at": made,
                    "finished_at": made + timedelta(seconds=90),
                    "pipeline_version_reference": reference,
                    "runtime_config": config,
                },
            )
        context = {"name": "x", "context": {"cluster": "c", "user": "u"}}
        told: dict[str, Any] = {"clusters": [{"name": "c", "cluster": {"server": server.url}}], "contexts": [context]}
        told |= {"users": [{"name": "u", "user": {}}], "current-context": "x"}
        (project / "kubeconfig").write_text(yaml.safe_dump(told))
        monkeypatch.setenv("KUBECONFIG", str(project / "kubeconfig"))
        yield server


def command(*arguments: str) -> Result:
    return CliRunner().invoke(cli, [*arguments])


def test_runs_of_a_server_are_listed_newest_first_as_local_ones_are(kfp: Kfp) -> None:
    done = command("runs", "--remote", "--limit", "3")
    assert done.exit_code == 0, done.output
    first, second, *_ = done.output.splitlines()[1:]
    assert second.split()[:2] == ["done", "2026-12-04"]
    assert first.split() == ["failed", "2026-12-04", "13:22", "90.0", "s", "remote:pi/runs-250", "SEED=249", "-"]
    assert "and 247 more" in done.output
    assert len(kaleyard.runs("housing", remote=True).runs) == 125
    told = json.loads(command("runs", "--remote", "--json", "--pipeline", "pi").stdout)
    assert {one["pipeline"] for one in told["runs"]} == {"pi"}
    assert told["runs"][0]["place"] == kfp.url


def test_a_run_here_and_one_there_are_compared(kfp: Kfp, project: Path) -> None:
    path = notebook(
        project / "notebooks" / "pi.ipynb",
        ("SEED = 249", "pipeline-parameters"),
        ("some_text = str(SEED)", "step:make_some"),
        ("size = len(some_text)", "step:measure"),
        ("print(size)", "pipeline-metrics"),
    )
    here = kaleyard.run(path, reporter=SilentReporter(), cold=True)
    digest = here.steps["make_some"].artifacts[0].sha256
    reference = models.V2beta1PipelineVersionReference(pipeline_id="pipelines-2")
    config = models.V2beta1RuntimeConfig(parameters={"SEED": 249})
    tasks = (("root-driver", "SUCCEEDED"), ("make-some", "SUCCEEDED"), ("measure", "SUCCEEDED"))
    kfp.looks = [run_at("SUCCEEDED", *tasks, pipeline_version_reference=reference, runtime_config=config)]
    kfp.logs = {
        "pod-make-some": f'kaleyard result {{"metrics": {{}}, "sha256": {{"some_text": "{digest}"}}}}\n',
        "pod-measure": 'kaleyard result {"metrics": {"size": 4}, "sha256": {}}\n',
    }
    rows = {row.name: row for row in kaleyard.compare_runs("pi/latest", "remote:pi/latest").rows}
    assert rows["SEED"].same
    assert rows["make_some.some_text"].same
    assert not rows["size"].same
    assert set(rows["size"].values.values()) == {3, 4}


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ("remote:runs-999", "no run remote:runs-999"),
        ("remote:nothing/latest", "no run remote:nothing/latest"),
        ("remote:runs-1", "runs-1"),
        ("remote:runs-24", "may be any of 11 runs"),
        ("remote:", "no run remote:"),
    ],
)
def test_a_name_that_means_no_run_or_several_says_so(kfp: Kfp, told: str, says: str) -> None:
    if told == "remote:runs-1":  # an id goes before what begins with it
        assert kaleyard.compare_runs(told).runs[0].id == says
        return
    kfp.things["runs"] = [r for r in kfp.things["runs"] if r["run_id"] != "runs-24"]
    with pytest.raises(UsageError, match=says.replace("11", "1[01]")):
        kaleyard.compare_runs(told)


def test_logs_of_a_server_come_from_its_pods(kfp: Kfp) -> None:
    kfp.looks = [run_at("FAILED", ("root-driver", "SUCCEEDED"), ("make-some", "SUCCEEDED"), ("measure", "FAILED"))]
    kfp.logs = {"pod-make-some": "first\nsecond\n", "pod-root-driver": "not ours\n"}
    done = command("logs", "remote:latest")
    assert done.exit_code == 0, done.output
    assert "== make_some (done)\nfirst\nsecond" in done.output
    assert "== measure (failed)\nits pod is gone" in done.output
    assert "exit code 1" in done.output
    assert "not ours" not in done.output
    (log,) = kaleyard.logs("remote:latest", "make_some")
    assert log.text == "first\nsecond\n"
    with pytest.raises(UsageError, match=r"has no step other\n.*Its steps: make_some, measure\."):
        kaleyard.logs("remote:latest", "other")


def test_a_step_called_like_a_driver_is_a_step(kfp: Kfp) -> None:
    kfp.looks = [run_at("SUCCEEDED", ("root-driver", "SUCCEEDED"), ("screw-driver", "SUCCEEDED"))]
    assert [log.step for log in kaleyard.logs("remote:latest")] == ["screw_driver"]


def test_a_server_that_stumbles_is_asked_again_and_one_that_is_gone_is_told(
    kfp: Kfp, monkeypatch: pytest.MonkeyPatch
) -> None:
    kfp.faults = [("GET", "/runs", 503), ("GET", "/runs", "before"), ("GET", "/pipelines", 500)]
    assert len(kaleyard.runs(remote=True).runs) == 250
    assert kfp.faults == []
    monkeypatch.setenv("KALEYARD_KFP_HOST", "http://127.0.0.1:9")
    with pytest.raises(ExternalError, match=r"does not answer \(listing the runs\)"):
        kaleyard.runs(remote=True)


def test_without_a_server_the_fix_says_how_to_name_one(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    for name in ("KF_PIPELINES_ENDPOINT", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UsageError, match="nothing says where"):
        kaleyard.runs(remote=True)
