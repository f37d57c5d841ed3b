"""`kaleyard submit`, with kfp's own client against a server in a thread (tests/support/kfp_server.py)."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

import kaleyard
from kaleyard.cli import cli
from kaleyard.compiler.image_recipe import pipeline_recipes
from kaleyard.config import find_project
from kaleyard.errors import ExternalError, KaleyardError, ParameterError, StaleError, UsageError
from kaleyard.kubeflow import client as connection
from kaleyard.kubeflow import submitter as submit
from kaleyard.kubeflow import watch
from kaleyard.kubeflow.package_store import publish
from kaleyard.records.image_record import BuiltPipeline, StepImage
from kaleyard.reporting.console import SilentReporter
from kaleyard.rules.checker import load_pipeline
from kaleyard.runtime.terminal_text import without_escapes
from kfp_server import Kfp, run_at, serving_kfp
from notebook_builder import notebook

CELLS = (
    ("N = 3", "pipeline-parameters"),
    ("numbers = list(range(N))", "step:make_numbers"),
    ("total = sum(numbers)", "step:total"),
    ("print(total)", "pipeline-metrics"),
)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Waits are short, and nobody's own settings for kfp are read."""
    monkeypatch.setattr(connection, "_FIRST_WAIT", 0.01)
    monkeypatch.setattr(submit, "_SETTLES", (0.01, 0.05, 0.2))
    monkeypatch.setattr(watch, "_POLL", 0.01)
    for name in (
        "KF_PIPELINES_ENDPOINT",
        "KF_PIPELINES_SA_TOKEN_PATH",
        "KUBERNETES_SERVICE_HOST",
        "KF_PIPELINES_NAMESPACE",
    ):
        monkeypatch.delenv(name, raising=False)
    home = str(tmp_path_factory.mktemp("home"))
    monkeypatch.setenv("HOME", home)
    monkeypatch.setenv("KUBECONFIG", f"{home}/none")


@pytest.fixture
def path(project: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A notebook whose package is there, as if a registry had its images."""
    shutil.copy(repository / "requirements.lock", project)
    made = notebook(project / "notebooks" / "demo.ipynb", *CELLS)
    monkeypatch.chdir(project)
    build(made)
    return made


def build(path: Path) -> None:
    project = find_project(path)
    pipeline = load_pipeline(path, project)
    recipes = pipeline_recipes(pipeline, project)
    digest = f"sha256:{'1' * 64}"
    images = {n: StepImage(n, r.repository, r.tag, r.key, digest) for n, r in recipes.items()}
    publish(pipeline, project, BuiltPipeline(pipeline.name, recipes, images))


@pytest.fixture
def kfp(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kfp]:
    with serving_kfp() as server:
        monkeypatch.setenv("KALEYARD_KFP_HOST", server.url)
        yield server


def command(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["submit", "notebooks/demo.ipynb", *arguments])


def refusal(*arguments: str) -> KaleyardError:
    done = command(*arguments)
    assert isinstance(done.exception, KaleyardError), done.output
    return done.exception


def test_a_run_of_the_package_by_digest_is_started_with_its_parameters(path: Path, kfp: Kfp) -> None:
    made = kaleyard.submit(path, {"N": 5}, run_name="first", service_account="steps", pipeline_root="s3://b/p")
    (run,) = kfp.things["runs"]
    assert run["display_name"] == "first"
    assert run["runtime_config"] == {"parameters": {"N": 5}, "pipeline_root": "s3://b/p"}
    assert run["service_account"] == "steps"
    assert run["pipeline_version_reference"] == {"pipeline_id": "pipelines-1", "pipeline_version_id": "versions-1"}
    assert run["experiment_id"] == "experiments-1"
    assert [e["display_name"] for e in kfp.things["experiments"]] == ["Default"]
    (version,) = kfp.things["versions"]
    assert version["content"] == (path.parents[1] / "build/demo/pipeline.yaml").read_text()
    assert "@sha256:" in version["content"]
    assert made.url == f"{kfp.url}/#/runs/details/runs-1"


def test_a_version_is_uploaded_once_per_content(path: Path, kfp: Kfp) -> None:
    kaleyard.submit(path)
    kaleyard.submit(path, experiment="other")
    assert (len(kfp.things["versions"]), len(kfp.things["pipelines"]), len(kfp.things["runs"])) == (1, 1, 2)
    notebook(path, *CELLS[:-1], ("total = sum(numbers) + 1", "step:more"), CELLS[-1])
    build(path)
    kaleyard.submit(path)
    assert (len(kfp.things["versions"]), len(kfp.things["pipelines"])) == (2, 1)
    kaleyard.submit(path, cache=False)
    assert len(kfp.things["versions"]) == 3
    texts = [v["content"] for v in kfp.things["versions"]]
    assert ["enableCache: true" in text for text in texts] == [True, True, False]


def test_what_is_on_a_later_page_is_found(path: Path, kfp: Kfp) -> None:
    kfp.page = 1
    kfp.things["pipelines"] = [{"display_name": "demo", "pipeline_id": f"p-{n}"} for n in range(3)]
    kfp.things["recurringruns"] = [{"display_name": f"other {n}", "recurring_run_id": str(n)} for n in range(3)]
    kaleyard.submit(path)
    assert len(kfp.things["pipelines"]) == 3
    kaleyard.submit(path, schedule="0 6 * * *")
    kaleyard.submit(path, schedule="0 6 * * *")
    assert len(kfp.things["recurringruns"]) == 4


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, "before"])
def test_a_flaky_server_is_asked_again(path: Path, kfp: Kfp, status: int | str) -> None:
    kfp.faults = [("GET", part, status) for part in ("healthz", "experiments", "versions", "versions")]
    kaleyard.submit(path)
    assert not kfp.faults
    assert len(kfp.things["runs"]) == 1


@pytest.mark.parametrize("part", ["experiments", "pipelines", "upload_version", "runs"])
@pytest.mark.parametrize("how", ["before", "after", 503])
def test_whatever_answer_is_lost_nothing_is_made_twice(path: Path, kfp: Kfp, part: str, how: int | str) -> None:
    kfp.faults = [("POST", f"/{part}", how)]
    made = kaleyard.submit(path)
    assert not kfp.faults
    counts = {kind: len(things) for kind, things in kfp.things.items() if things}
    assert counts == {"experiments": 1, "pipelines": 1, "versions": 1, "runs": 1}
    assert made.run_id == "runs-1"


def test_an_answer_that_does_not_come_in_time_is_as_good_as_lost(
    path: Path, kfp: Kfp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_SECONDS", 1.0)
    kfp.faults = [("POST", "/runs", "slow")]
    monkeypatch.setattr(connection.Connection.__init__, "__kwdefaults__", {"attempts": 3, "seconds": 1.0})
    assert kaleyard.submit(path).run_id == "runs-1"
    assert len(kfp.things["runs"]) == 1


def test_a_server_that_never_answers_is_told(path: Path, kfp: Kfp) -> None:
    kfp.faults = [("POST", "/runs", "before")] * 10
    error = refusal()
    assert (error.exit_code, "gave no answer (starting the run)" in error.what) == (4, True)
    assert kfp.things["runs"] == []


@pytest.mark.parametrize(
    ("status", "fix"), [(401, "KALEYARD_KFP_TOKEN"), (403, "--namespace"), (404, "before /apis"), (400, "None")]
)
def test_a_refusal_is_told_with_what_to_do(path: Path, kfp: Kfp, status: int, fix: str) -> None:
    kfp.faults = [("GET", "experiments", status)]
    error = refusal()
    assert error.exit_code == 4
    assert f"refuses (listing experiments): {status} told to say {status}" in error.what
    assert fix in str(error.fix)


def test_a_schedule_is_set_once_and_another_takes_its_place(path: Path, kfp: Kfp) -> None:
    first = kaleyard.submit(path, schedule="0 6 * * 1-5")
    (schedule,) = kfp.things["recurringruns"]
    assert schedule["trigger"]["cron_schedule"]["cron"] == "0 0 6 * * 1-5"
    again = kaleyard.submit(path, schedule="0 6 * * 1-5")
    assert (again.schedule_id, again.was_there, first.was_there) == (first.schedule_id, True, False)
    other = kaleyard.submit(path, {"N": 9}, schedule="0 7 * * 1-5")
    assert [s["recurring_run_id"] for s in kfp.things["recurringruns"]] == [other.schedule_id]
    assert kfp.things["runs"] == []


@pytest.mark.parametrize("schedule", ["soon", "* * *", "0 6 * * * * *", "$(id) * * * *"])
def test_what_is_no_schedule_is_refused_before_anything_is_sent(path: Path, kfp: Kfp, schedule: str) -> None:
    with pytest.raises(UsageError, match="is no schedule"):
        kaleyard.submit(path, schedule=schedule)
    assert kfp.asked == []


def test_parameters_are_checked_before_anything_is_sent(path: Path, kfp: Kfp) -> None:
    for told in ("M=1", "N=x"):
        with pytest.raises(ParameterError):
            kaleyard.submit(path, [told])
    assert kfp.asked == []


def test_a_package_that_is_missing_or_old_is_not_sent(path: Path, kfp: Kfp) -> None:
    notebook(path, *CELLS[:2], ("total = 1 + sum(numbers)", "step:total"), CELLS[-1])
    with pytest.raises(StaleError, match="total changed") as stale:
        kaleyard.submit(path)
    assert stale.value.exit_code == 3
    shutil.rmtree(path.parents[1] / "build")
    with pytest.raises(UsageError, match="there is no package of demo"):
        kaleyard.submit(path)
    assert kfp.asked == []


def test_a_package_edited_by_hand_is_not_sent(path: Path, kfp: Kfp) -> None:
    package = path.parents[1] / "build/demo/pipeline.yaml"
    package.write_text(package.read_text().replace("1" * 64, "2" * 64))
    with pytest.raises(StaleError, match="the pipeline itself changed"):
        kaleyard.submit(path)
    assert kfp.asked == []


@pytest.mark.parametrize(
    ("version", "words"), [("2.15.2", "2.15.2; needed is 2.16"), ("2.19.0", "newer than what is tested"), ("", "")]
)
def test_a_server_of_another_version_is_told(path: Path, kfp: Kfp, version: str, words: str) -> None:
    kfp.version = version
    done = command()
    if version == "2.15.2":
        assert isinstance(done.exception, ExternalError)
        assert words in str(done.exception)
        assert kfp.things["experiments"] == []
    else:
        assert done.exit_code == 0
        assert words in done.stderr


def test_who_one_is_comes_from_variables_and_files_and_is_told_nowhere(
    path: Path, kfp: Kfp, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kfp.token = "kept-to-oneself"
    assert "401 who are you?" in refusal().what
    (tmp_path / "token").write_text("kept-to-oneself\n")
    monkeypatch.setenv("KALEYARD_KFP_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("KALEYARD_KFP_COOKIE", "session=also-secret")
    done = command()
    assert done.exit_code == 0, done.output
    assert kfp.headers[-1]["authorization"] == "Bearer kept-to-oneself"
    assert kfp.headers[-1]["cookie"] == "session=also-secret"
    server = connection.find_server(find_project(path))
    for text in (repr(server), done.output, json.dumps(kfp.things)):
        assert "secret" not in text
        assert "kept-to-oneself" not in text


def test_without_an_address_it_is_said_where_to_put_one(path: Path) -> None:
    assert "--host, KALEYARD_KFP_HOST, or kfp-host" in str(refusal().fix)
    assert "is no address" in refusal("--host", "kfp.example").what
    told = refusal("--host", "http://127.0.0.1:1")
    assert "http://127.0.0.1:1 does not answer (asking for its version)" in told.what


def test_what_is_no_kubeflow_pipelines_is_told(path: Path, kfp: Kfp) -> None:
    assert "refuses" in refusal("--host", f"{kfp.url}/somewhere").what


def test_a_dry_run_a_package_and_a_manifest_send_nothing(path: Path, kfp: Kfp) -> None:
    told = command("--dry-run", "-p", "N=7").output
    assert "N = 7" in told
    assert "nothing was sent" in told
    assert command("--package").output == (path.parents[1] / "build/demo/pipeline.yaml").read_text()
    pipeline, version = yaml.safe_load_all(command("--manifest", "--namespace", "team").output)
    assert (pipeline["kind"], version["kind"]) == ("Pipeline", "PipelineVersion")
    assert {o["metadata"]["namespace"] for o in (pipeline, version)} == {"team"}
    assert version["spec"]["pipelineName"] == pipeline["metadata"]["name"] == "demo"
    assert set(version["spec"]["pipelineSpec"]["deploymentSpec"]["executors"]) == {"exec-make-numbers", "exec-total"}
    assert kfp.asked == []


def test_waiting_shows_each_step_and_ends_with_the_outcome(path: Path, kfp: Kfp) -> None:
    kfp.looks = [
        run_at("PENDING"),
        run_at("RUNNING", ("root-driver", "SUCCEEDED"), ("make-numbers", "RUNNING")),
        run_at("RUNNING", ("make-numbers", "SUCCEEDED"), ("total", "RUNNING")),
        run_at("SUCCEEDED", ("make-numbers", "SUCCEEDED"), ("total", "SUCCEEDED")),
    ]
    done = command("--wait")
    assert done.exit_code == 0, done.output
    lines = [line.strip() for line in done.output.splitlines()]
    wanted = ["make_numbers: running", "make_numbers: done", "total: running", "total: done"]
    assert [line for line in lines if line.startswith(("make_numbers", "total"))] == wanted
    assert "done in" in lines[-2]


def test_on_a_terminal_the_steps_are_the_table_that_local_runs_have(path: Path, kfp: Kfp) -> None:
    kfp.looks = [run_at("SUCCEEDED", ("make-numbers", "SUCCEEDED"), ("total", "SUCCEEDED"))]
    screen, terminal = os.openpty()
    settings = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | {"TERM": "xterm-256color"}
    words = [sys.executable, "-m", "kaleyard", "submit", str(path), "--wait"]
    with subprocess.Popen(words, stdin=terminal, stdout=terminal, stderr=terminal, env=settings) as submitting:
        os.close(terminal)
        shown = b""
        with suppress(OSError):  # the terminal is gone with the last who had it open
            while some := os.read(screen, 65536):
                shown += some
    os.close(screen)
    plain = without_escapes(shown.decode())
    assert submitting.returncode == 0, plain
    assert re.search(r"✓\s+make_numbers\s+done", plain)
    assert re.search(r"✓\s+total\s+done", plain)


def test_a_failed_step_is_told_with_what_is_known_of_why(path: Path, kfp: Kfp) -> None:
    kfp.looks = [run_at("FAILED", ("make-numbers", "SUCCEEDED"), ("total", "FAILED"))]
    done = command("--wait")
    assert done.exit_code == 1
    assert "step total: exit code 1" in done.stderr
    assert "pod-total" in done.stderr
    as_json = json.loads(command("--wait", "--json").stdout)
    assert as_json["run"]["state"] == "failed"


@pytest.fixture
def pods(kfp: Kfp, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Kfp:
    """The same server, as kubectl's configuration has it."""
    cluster: dict[str, Any] = {
        "clusters": [{"name": "c", "cluster": {"server": kfp.url}}],
        "users": [{"name": "u", "user": {}}],
    }
    cluster |= {"contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}], "current-context": "x"}
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(cluster))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    return kfp


def test_metrics_come_from_the_pods_logs(path: Path, pods: Kfp) -> None:
    pods.looks = [run_at("SUCCEEDED", ("make-numbers", "SUCCEEDED"), ("total", "SUCCEEDED"))]
    pods.logs = {
        "pod-total": 'first\nkaleyard result {"metrics": {"total": 3}, "sha256": {}}\n',
        "pod-make-numbers": "",
    }
    assert "metrics: total = 3" in command("--wait").output
    told = json.loads(command("--wait", "--json").stdout)
    assert told["results"] == {"total": {"metrics": {"total": 3}, "sha256": {}}}


def test_the_end_of_a_failed_steps_log_is_shown(path: Path, pods: Kfp) -> None:
    pods.looks = [run_at("FAILED", ("total", "FAILED"))]
    pods.logs = {"pod-total": "Traceback ...\nNameError: name 'x' is not defined\n"}
    assert "  | NameError: name 'x' is not defined" in command("--wait").stderr


def test_a_step_in_a_pod_says_what_it_gave(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KFP_POD_NAME", "pod-1")
    done = kaleyard.run(path, reporter=SilentReporter(), cold=True)
    (line,) = (done.folder / "steps/total/log.txt").read_text().splitlines()
    given = json.loads(line.removeprefix("kaleyard result "))
    assert given == {"metrics": {"total": 3}, "sha256": {}}
    (line,) = (done.folder / "steps/make_numbers/log.txt").read_text().splitlines()
    digest = next(a.sha256 for a in done.steps["make_numbers"].artifacts)
    assert json.loads(line.removeprefix("kaleyard result "))["sha256"] == {"numbers": digest}


def test_waiting_has_an_end(path: Path, kfp: Kfp) -> None:
    kfp.looks = [run_at("RUNNING")]
    assert "not over after 0.1 s" in refusal("--wait", "--timeout", "0.1").what


def test_ctrl_c_while_waiting_leaves_the_run_and_says_so(path: Path, kfp: Kfp, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(watch.Watch, "look", interrupted)
    done = command("--wait")
    assert done.exit_code != 0
    assert f"the run goes on: {kfp.url}/#/runs/details/runs-1" in done.stderr
    assert not any("terminate" in asked for asked in kfp.asked)
