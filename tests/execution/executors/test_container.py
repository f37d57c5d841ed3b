"""Steps as containers: confined, told apart in how they end, and nothing left of them. A real engine runs them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from container_engine import Engine, images, settings
from kaleyard.config import Project, find_project
from kaleyard.errors import ExternalError, Location
from kaleyard.execution.executors import container as containers
from kaleyard.execution.executors import container_security as confinement
from kaleyard.execution.executors.container import ContainerExecutor
from kaleyard.execution.executors.process import ProcessExecutor
from kaleyard.execution.scheduler import RunOptions, Scheduler
from kaleyard.pipeline import Pipeline
from kaleyard.records.run_record import Run
from kaleyard.reporting.console import SilentReporter
from kaleyard.rules.checker import load_pipeline
from notebook_builder import notebook

pytest_plugins = ["engine"]
pytestmark = pytest.mark.engine

PLACE = Location("notebooks/a.ipynb", step="one")
FACTS = """
import os, socket
from pathlib import Path

def refusal(path):
    try:
        Path(path).write_text("x")
    except OSError as error:
        return error.errno
    return 0

status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
facts = {
    "uid": os.getuid(),
    "writes": [refusal(path) for path in ("/tmp/x", "/x", "/opt/step/x", "/mnt/kaleyard/x")],
    "capabilities": int(status["CapEff"], 16),
    "no new privileges": status["NoNewPrivs"].strip(),
    "seccomp": status["Seccomp"].strip(),
    "networks": [name for _, name in socket.if_nameindex()],
    "secret": os.environ.get("DB_PASSWORD"),
    "caller": os.environ.get("OF_THE_CALLER"),
    "memory": os.environ.get("HOME"),
}
facts
"""
BEGUN = "from pathlib import Path\nimport time\nPath('/mnt/kaleyard/outputs/begun').write_text('x')\n"
CELLS = (
    ("N = 3", "pipeline-parameters"),
    ("numbers = [i * i for i in range(N)]", "step:first"),
    ("total = sum(numbers)", "step:second limit:cpu:16"),
    (FACTS, "step:facts secret:database:password:DB_PASSWORD"),
    ("import socket\nnames = [n for _, n in socket.if_nameindex()]\nnames", "step:online network:on"),
    ("print('so far')\n1 / 0", "step:raises"),
    ("block = bytearray(1 << 30)\nlen(block)", "step:hungry limit:memory:300Mi"),
    ("import os\nos.symlink('/etc/passwd', '/mnt/kaleyard/outputs/link')", "step:linked"),
    (f"{BEGUN}time.sleep(600)", "step:slow"),
    (f"{BEGUN}time.sleep(5)\nseven = 7\nseven", "step:patient"),
    ("print(total)", "pipeline-metrics"),
)
ENDLESS = {"slow", "patient"}


@dataclass(frozen=True, slots=True)
class Made:
    """A pipeline whose images are there."""

    pipeline: Pipeline
    project: Project
    images: dict[str, str]
    engine: str

    def run(
        self, *names: str, images: dict[str, str] | None = None, check: bool = True, n: int = 3, **options: Any
    ) -> Run:
        """These steps run as containers, and those they need."""
        more: dict[str, Any] = {"wanted": frozenset(names), "cache": False} | options
        told = RunOptions(**more)
        with ContainerExecutor(images or self.images, self.engine) as executor:
            if check:
                executor.check(self.pipeline)
            return Scheduler(self.pipeline, self.project, {"N": n}, executor, SilentReporter(), told).run()


@pytest.fixture(scope="module")
def made(engine: Engine, base_image: str, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The steps above, in a folder whose name an engine's command line may stumble over."""
    root = tmp_path_factory.mktemp("made") / 'a, "b" $c:d'
    root.mkdir()
    settings(root, base_image)
    path = notebook(root / "notebooks" / "faults.ipynb", *CELLS)
    project = find_project(path)
    pipeline = load_pipeline(path, project)
    return Made(pipeline, project, images(engine, pipeline, project), engine.kind)


@pytest.fixture(scope="module")
def done(made: Made) -> Run:
    """All steps that end by themselves, run once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DB_PASSWORD", "not to be seen")
        patch.setenv("OF_THE_CALLER", "x")
        return made.run(*(set(made.pipeline.names) - ENDLESS))


@pytest.fixture(autouse=True)
def nothing_left(engine: Engine) -> Iterator[None]:
    """After every test the engine has no container that this process made."""
    yield
    assert [name for name in engine.left() if name.startswith(containers._owner())] == []


@pytest.fixture
def background() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(max_workers=1) as pool:
        yield pool


def error_of(run: Run, step: str) -> dict[str, Any]:
    error = run.steps[step].error
    assert error is not None, run.steps[step]
    return error


def begun(made: Made, step: str, running: Future[Run]) -> str:
    """The name of the step's container, once its cell runs."""
    folder = made.project.runs_folder / made.pipeline.name
    deadline = time.monotonic() + 60
    while not any((f / "steps" / step / "container/outputs/begun").exists() for f in folder.iterdir()):
        assert time.monotonic() < deadline, "the step did not begin"
        assert not running.done(), running.result()
        time.sleep(0.1)
    (name,) = [
        f"{containers._owner()}-{n}-{step}"
        for n in range(1, 20)
        for c in psutil.Process().children()
        if any(a.endswith(f"{containers._owner()}-{n}-{step}") for a in c.cmdline())
    ]
    return name


def test_values_metrics_and_notebook_come_out_as_from_a_process(made: Made, done: Run) -> None:
    told = RunOptions(wanted=frozenset({"second"}), cache=False)
    with ProcessExecutor() as executor:
        as_processes = Scheduler(made.pipeline, made.project, {"N": 3}, executor, SilentReporter(), told).run()
    for run in (as_processes, done):
        assert [run.steps[n].state for n in ("first", "second")] == ["done", "done"], run.steps
    assert done.metrics["total"] == as_processes.metrics["total"] == 5
    assert done.steps["first"].artifacts == as_processes.steps["first"].artifacts
    step = done.steps["first"]
    assert step.notebook
    assert step.page
    assert json.loads((done.folder / step.notebook).read_text())["metadata"]["papermill"]["exception"] is None
    assert not list(done.folder.rglob("container"))


def test_everything_a_step_made_belongs_to_who_runs_it(done: Run) -> None:
    assert {p.lstat().st_uid for p in done.folder.rglob("*")} == {os.getuid()}


def test_a_step_is_confined(done: Run) -> None:
    facts = json.loads(done.artifact("facts", "facts").read_text())
    assert facts["uid"] == (os.getuid() or 1000)
    assert facts["writes"] == [0, 30, 30, 30], "only /tmp may be written to; 30 is EROFS"
    assert facts["capabilities"] == 0
    assert (facts["no new privileges"], facts["seccomp"]) == ("1", "2")


def test_a_step_has_no_network_unless_it_says_so(done: Run) -> None:
    assert json.loads(done.artifact("facts", "facts").read_text())["networks"] == ["lo"]
    assert len(json.loads(done.artifact("online", "names").read_text())) > 1


def test_a_step_gets_its_secret_and_nothing_else_of_the_callers_environment(done: Run) -> None:
    facts = json.loads(done.artifact("facts", "facts").read_text())
    assert facts["secret"] == "not to be seen"
    assert facts["caller"] is None


def test_a_secret_is_in_no_command_line(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PASSWORD", "not to be seen")
    options = confinement.confinement(made.pipeline.step("facts").settings, PLACE)
    assert "--env=DB_PASSWORD" in options
    assert "not to be seen" not in " ".join(options)


def test_a_cell_that_raises_is_named_as_in_a_process(done: Run) -> None:
    error = error_of(done, "raises")
    assert (error["kind"], error["cell"], error["step"]) == ("CellError", 6, "raises")
    assert "division by zero" in error["what"]
    assert "so far" in (done.folder / str(done.steps["raises"].page)).read_text()
    assert "division by zero" in (done.folder / str(done.steps["raises"].log)).read_text()


def test_a_step_out_of_memory_is_told_with_its_limit(done: Run) -> None:
    error = error_of(done, "hungry")
    assert (error["kind"], error["cell"]) == ("KernelDiedError", 7)
    assert "used more memory than its limit, 300Mi" in error["what"]
    assert "limit:memory" in error["fix"]


def test_a_link_out_of_the_container_is_not_followed(done: Run) -> None:
    assert "left link among its outputs" in error_of(done, "linked")["what"]


def test_a_step_killed_from_outside_says_so(made: Made, engine: Engine, background: ThreadPoolExecutor) -> None:
    running = background.submit(made.run, "slow")
    engine.ask("kill", begun(made, "slow", running))
    error = error_of(running.result(60), "slow")
    assert error["kind"] == "KernelDiedError"
    assert "container was killed by SIGKILL" in error["what"]


def test_a_step_past_its_time_is_ended_with_notebook_and_page(made: Made) -> None:
    began = time.monotonic()
    run = made.run("slow", timeout=6)
    assert time.monotonic() - began < 30
    error = error_of(run, "slow")
    assert (error["kind"], error["cell"]) == ("StepTimeoutError", 9)
    assert "longer than 6 s" in error["what"]
    assert run.steps["slow"].page


def test_a_stopped_run_stops_its_containers(made: Made) -> None:
    run = made.run("slow", run_timeout=6)
    assert (run.state, run.steps["slow"].state) == ("stopped", "stopped")
    assert run.steps["slow"].notebook


def test_a_step_stopped_as_it_begins_ends_at_once(made: Made) -> None:
    began = time.monotonic()
    with ContainerExecutor(made.images, made.engine) as executor:
        timer = threading.Timer(0.1, executor.stop)
        timer.start()
        told = RunOptions(wanted=frozenset({"slow"}), cache=False)
        run = Scheduler(made.pipeline, made.project, {"N": 3}, executor, SilentReporter(), told).run()
    assert run.steps["slow"].state == "stopped"
    assert time.monotonic() - began < 8


def test_the_exit_code_survives_the_engines_command(made: Made, background: ThreadPoolExecutor) -> None:
    running = background.submit(made.run, "patient")
    name = begun(made, "patient", running)
    (client,) = [c for c in psutil.Process().children() if any(name in a for a in c.cmdline())]
    client.kill()
    run = running.result(60)
    assert run.steps["patient"].state == "done", run.steps["patient"].error
    assert json.loads(run.artifact("patient", "seven").read_text()) == 7


def test_ctrl_c_of_the_command_leaves_no_container(made: Made, engine: Engine) -> None:
    command = [sys.executable, "-m", "kaleyard", "run", "--runner", "container", "--only", "slow"]
    command += [str(made.project.root / made.pipeline.notebook)]
    before = set(made.project.runs_folder.rglob("begun"))
    environment = dict(os.environ)
    if made.engine == "podman":
        # The command takes the first engine that answers.
        environment["DOCKER_HOST"] = "unix:///nowhere.sock"
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 240
    while not set(made.project.runs_folder.rglob("begun")) - before:
        assert time.monotonic() < deadline, "the step did not begin"
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert "Traceback" not in told
    assert not any(f"-{process.pid}-" in name for name in engine.left())


SCRIPT = """
import sys
from pathlib import Path
from kaleyard.errors import Location
from kaleyard.execution.executors.container import ContainerExecutor
from kaleyard.execution.task import StepTask

folder, image = Path(sys.argv[1]), sys.argv[2]
given = folder / "input.json"
task = StepTask(Location("a.ipynb", step="slow"), folder, given, folder / "output.json", folder / "log.txt", folder)
with ContainerExecutor({"slow": image}, sys.argv[3]) as executor:
    executor.run(task)
"""


def test_what_a_killed_run_left_is_removed_by_the_next(made: Made, engine: Engine, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "steps" / "slow"
    folder.mkdir(parents=True)
    told = {"inputs": {"artifacts": {}}, "outputs": {"artifacts": {}, "outputFile": str(folder / "output.json")}}
    (folder / "input.json").write_text(json.dumps(told))
    command = [sys.executable, "-c", SCRIPT, str(folder), made.images["slow"], made.engine]
    process = subprocess.Popen(command, start_new_session=True)
    mine = f"-{process.pid}-"
    deadline = time.monotonic() + 60
    while not (folder / "container/outputs/begun").exists():
        assert time.monotonic() < deadline, "the step did not begin"
        assert process.poll() is None
        time.sleep(0.1)
    process.kill()
    process.wait()
    assert any(mine in name for name in engine.left())
    with ContainerExecutor(made.images, made.engine):
        assert not any(mine in name for name in engine.left())


def test_an_image_that_is_nowhere_is_named_before_anything_starts(made: Made) -> None:
    lost = "127.0.0.1:1/nowhere/first:1"
    with pytest.raises(ExternalError, match=rf"step first: the image {lost} is not on this machine") as caught:
        made.run("first", images=made.images | {"first": lost})
    assert "kaleyard build" in str(caught.value)
    run = made.run("first", images=made.images | {"first": lost}, check=False)
    assert lost in error_of(run, "first")["what"]


def test_a_step_without_an_image_is_named(made: Made) -> None:
    with pytest.raises(ExternalError, match="step first: the step has no image"):
        made.run("first", images={"second": made.images["second"]})


def test_an_image_of_the_registry_is_pulled(
    made: Made, engine: Engine, registry: str, base_image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"{registry}/kaleyard-test-pulled:1"
    engine.ask("tag", made.images["first"], name)
    engine.ask("push", "--quiet", name)
    engine.ask("image", "rm", name)
    with ContainerExecutor({"first": name}, made.engine) as executor:
        key = executor.environment(made.pipeline.step("first"), made.project)
    engine.ask("image", "rm", name)
    with ContainerExecutor(made.images, made.engine) as executor:
        assert executor.environment(made.pipeline.step("first"), made.project) == key
        assert executor.environment(made.pipeline.step("second"), made.project) != key


def test_results_of_containers_are_cached_apart_from_those_of_processes(made: Made) -> None:
    for state in ("done", "cached"):
        assert made.run("second", cache=True, n=4).steps["second"].state == state
    told = RunOptions(wanted=frozenset({"second"}))
    with ProcessExecutor() as executor:
        run = Scheduler(made.pipeline, made.project, {"N": 4}, executor, SilentReporter(), told).run()
    assert {run.steps[name].state for name in ("first", "second")} == {"done"}


def test_any_user_id_may_run_a_step(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.getuid():
        pytest.skip("only root may run a step as somebody else")
    monkeypatch.setattr(confinement, "_STEP_USER", 54321)
    run = made.run("second")
    assert run.state == "done", [s.error for s in run.steps.values()]


def test_files_that_only_root_may_read_reach_a_step(made: Made) -> None:
    before = os.umask(0o077)
    try:
        run = made.run("second")
    finally:
        os.umask(before)
    assert run.state == "done", [s.error for s in run.steps.values()]
