"""Past runs of this machine: listed, found, compared, their logs read. The runs are real ones, made once."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import kaleyard
from kaleyard.cli.runs import logs, runs
from kaleyard.errors import ExternalError, UsageError
from kaleyard.records.past_runs import PastRun, compare
from kaleyard.records.run_record import Run
from kaleyard.reporting.console import SilentReporter
from notebook_builder import notebook

CELLS = (
    ("N = 3\nFAIL = False", "pipeline-parameters"),
    ("import os\nprint('from the cell')\nos.system('echo from outside')\nx = N * 2", "step:one"),
    ("fixed = 'same'\nif FAIL:\n    raise ValueError('as told')", "step:two"),
    ("total = len(fixed) + x", "step:three"),
    ("print(total)", "pipeline-metrics"),
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Run]]:
    """A project whose pipeline ran three times: N=3, N=5, and one that failed."""
    root = tmp_path_factory.mktemp("history")
    (root / "pyproject.toml").write_text("[tool.kaleyard]\n", encoding="utf-8")
    path = notebook(root / "notebooks" / "small.ipynb", *CELLS)
    told = ({"N": 3}, {"N": 5}, {"N": 5, "FAIL": True})
    return root, [kaleyard.run(path, values, reporter=SilentReporter()) for values in told]


def copied(made: tuple[Path, list[Run]], to: Path) -> Path:
    """A project of one's own with the same runs, to break."""
    return Path(shutil.copytree(made[0], to / "own"))


def at(monkeypatch: pytest.MonkeyPatch, root: Path, command: object, *arguments: str) -> Result:
    monkeypatch.chdir(root)
    return CliRunner().invoke(command, arguments, catch_exceptions=False)  # type: ignore[arg-type]


def test_runs_are_listed_newest_first_with_state_parameters_and_metrics(made: tuple[Path, list[Run]]) -> None:
    root, done = made
    history = kaleyard.runs(folder=root)
    assert [run.id for run in history.runs] == [run.id for run in reversed(done)]
    assert [run.state for run in history.runs] == ["failed", "done", "done"]
    assert history.runs[-1].parameters == {"N": 3, "FAIL": False}
    assert history.runs[-1].metrics == {"total": 10}
    assert history.runs[-1].place == "local"
    assert (history.more, history.unreadable) == (0, {})


def test_the_table_shows_each_run_and_how_many_are_left_out(
    made: tuple[Path, list[Run]], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = at(monkeypatch, made[0], runs, "--limit", "2")
    lines = shown.output.splitlines()
    assert lines[0].split() == ["state", "started", "(UTC)", "took", "run", "parameters", "metrics"]
    assert [line.split()[0] for line in lines[1:]] == ["failed", "done", "and"]
    assert "N=5 FAIL=false" in lines[2]
    assert "total=14" in lines[2]
    assert lines[3] == "and 1 more: see --limit"


def test_another_pipelines_runs_are_left_out_on_demand(made: tuple[Path, list[Run]]) -> None:
    assert kaleyard.runs("other", folder=made[0]).runs == []
    assert len(kaleyard.runs("small", limit=1, folder=made[0]).runs) == 1


def test_a_project_without_runs_has_none(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert at(monkeypatch, project, runs).output == "no runs\n"


def test_the_tenth_run_of_a_second_is_newer_than_its_second(made: tuple[Path, list[Run]], tmp_path: Path) -> None:
    root = copied(made, tmp_path)
    first = min((root / "runs" / "small").iterdir())
    for number in ("20200101-000000-2", "20200101-000000-10", "20200101-000000"):
        shutil.copytree(first, first.with_name(number))
    shown = sorted((root / "runs" / "small").iterdir())
    assert len(shown) == 6
    for folder in (root / "runs" / "small").iterdir():
        data = json.loads((folder / "run.json").read_text()) | {"id": folder.name}
        (folder / "run.json").write_text(json.dumps(data))
    ids = [run.id for run in kaleyard.runs(folder=root).runs]
    assert ids[-3:] == ["20200101-000000-10", "20200101-000000-2", "20200101-000000"]
    whole = kaleyard.compare_runs("20200101-000000", folder=root).runs[0]
    assert whole.id == "20200101-000000", "a whole id is no beginning of others"


@pytest.mark.parametrize("content", ["{", "null", "[]", '{"steps": []}'])
def test_a_broken_record_is_told_of_and_hides_no_other_run(
    made: tuple[Path, list[Run]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    root = copied(made, tmp_path)
    (root / "runs" / "small" / made[1][0].id / "run.json").write_text(content)
    shown = at(monkeypatch, root, runs)
    assert len(shown.stdout.splitlines()) == 3
    assert f"warning: {root / 'runs' / 'small' / made[1][0].id}: run.json cannot be read" in shown.stderr
    with pytest.raises(ExternalError, match="cannot be read"):
        kaleyard.compare_runs(f"small/{made[1][0].id}", folder=root)


def test_a_run_is_found_by_id_path_pipeline_and_latest(made: tuple[Path, list[Run]]) -> None:
    root, done = made
    names = [done[-1].id, f"small/{done[-1].id}", "latest", "small/latest", str(done[-1].folder)]
    for name in names:
        assert kaleyard.compare_runs(name, folder=root).runs[0].id == done[-1].id, name


def test_a_name_that_means_no_run_or_several_says_so(made: tuple[Path, list[Run]]) -> None:
    root, done = made
    for name in ("nothing", "other/latest", "", "small/"):
        with pytest.raises(UsageError, match="there is no run"):
            kaleyard.compare_runs(name, folder=root)
    with pytest.raises(UsageError, match=f"matches 3 runs: small/{done[-1].id}"):
        kaleyard.compare_runs(done[0].id[:2], folder=root)
    with pytest.raises(UsageError, match="named twice"):
        kaleyard.compare_runs("latest", done[-1].id, folder=root)


def test_two_runs_differ_where_their_values_do(made: tuple[Path, list[Run]]) -> None:
    root, (three, five, _) = made
    compared = kaleyard.compare_runs(f"small/{three.id}", f"small/{five.id}", folder=root)
    same = {(row.kind, row.name): row.same for row in compared.rows}
    assert same == {
        ("parameter", "N"): False,
        ("parameter", "FAIL"): True,
        ("metric", "total"): False,
        ("artifact", "one.x"): False,
        ("artifact", "two.fixed"): True,
    }
    digest = next(a.sha256 for a in three.steps["one"].artifacts)
    row = next(r for r in compared.rows if r.name == "one.x")
    assert row.values[f"small/{three.id}"] == digest


def test_what_a_run_lacks_differs(made: tuple[Path, list[Run]]) -> None:
    root, (_, five, failed) = made
    rows = kaleyard.compare_runs(f"small/{five.id}", f"small/{failed.id}", folder=root).rows
    assert [r.name for r in rows if not r.same] == ["FAIL", "total", "two.fixed"]
    assert list(next(r for r in rows if r.name == "total").values) == [f"small/{five.id}"]


def test_nan_is_itself_and_true_is_not_one() -> None:
    one = PastRun("1", "p", "local", "done", parameters={"A": 1, "B": [1]}, metrics={"loss": float("nan"), "n": 2})
    two = PastRun("2", "p", "local", "done", parameters={"A": True, "B": [1]}, metrics={"loss": float("nan"), "n": 2.0})
    assert {row.name: row.same for row in compare([one, two]).rows} == {"A": False, "B": True, "loss": True, "n": True}


def test_a_comparison_prints_what_differs_and_counts_the_rest(
    made: tuple[Path, list[Run]], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, (three, five, _) = made
    shown = at(monkeypatch, root, runs, three.id, five.id).output
    assert "FAIL" not in shown
    assert "2 more parameters, metrics and artifacts are equal: see --all" in shown
    assert "FAIL" in at(monkeypatch, root, runs, three.id, five.id, "--all").output
    assert "FAIL" in at(monkeypatch, root, runs, three.id).output
    data = json.loads(at(monkeypatch, root, runs, three.id, five.id, "--json").output)
    assert [run["id"] for run in data["runs"]] == [three.id, five.id]
    assert len(data["rows"]) == 5


def test_the_list_as_json_is_what_the_function_gives(
    made: tuple[Path, list[Run]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert json.loads(at(monkeypatch, made[0], runs, "--json").output) == kaleyard.runs(folder=made[0]).to_dict()


def test_logs_hold_what_cells_print_and_what_their_processes_write(
    made: tuple[Path, list[Run]], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, done = made
    (log,) = kaleyard.logs(done[0].id, "one", folder=root)
    assert (log.printed, log.text) == ("from the cell\n", "from outside\n")
    shown = at(monkeypatch, root, logs, done[0].id).output
    assert [line for line in shown.splitlines() if line.startswith("==")] == [
        "== one (done)",
        "== two (done)",
        "== three (done)",
    ]
    assert f"notebook: {log.notebook}" in shown


def test_a_failed_steps_log_ends_with_its_error(made: tuple[Path, list[Run]], monkeypatch: pytest.MonkeyPatch) -> None:
    shown = at(monkeypatch, made[0], logs, "latest", "two").output
    assert "ValueError: as told" in shown
    assert "notebooks/small.ipynb: cell 3, step two" in shown
    assert "== three" not in shown
    (told,) = json.loads(at(monkeypatch, made[0], logs, "latest", "two", "--json").output)
    assert told["state"] == "failed"
    assert "ValueError: as told" in told["error"]
    assert "\x1b" not in told["error"]


def test_what_the_kernel_copied_into_the_notebook_is_shown_once(
    made: tuple[Path, list[Run]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = copied(made, tmp_path)
    assert at(monkeypatch, root, logs, made[1][0].id, "one").output.count("from outside") == 1
    steps = root / "runs" / "small" / made[1][0].id / "steps" / "one"
    steps.joinpath("log.txt").write_text("from the cell\n")
    assert at(monkeypatch, root, logs, made[1][0].id, "one").output.count("from the cell") == 1


def test_logs_of_a_step_that_is_not_there_name_those_that_are(made: tuple[Path, list[Run]]) -> None:
    with pytest.raises(UsageError, match="no step four\n  Its steps: one, two, three"):
        kaleyard.logs("latest", "four", folder=made[0])


def test_logs_that_are_gone_say_so(made: tuple[Path, list[Run]], tmp_path: Path) -> None:
    root = copied(made, tmp_path)
    (root / "runs" / "small" / made[1][0].id / "steps" / "one" / "log.txt").unlink()
    with pytest.raises(ExternalError, match=r"log\.txt cannot be read"):
        kaleyard.logs(made[1][0].id, "one", folder=root)


def test_listing_runs_imports_nothing_heavy(made: tuple[Path, list[Run]]) -> None:
    code = (
        "import sys, kaleyard\nassert kaleyard.runs().runs and kaleyard.logs('latest')\n"
        "assert kaleyard.compare_runs('latest').rows\n"
        "print([m for m in ('kale', 'kfp', 'kfp_server_api', 'papermill', 'nbformat', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=made[0], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
