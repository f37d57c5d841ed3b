"""The benchmark measures what it says, and shows what it measured, failures too."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import __main__ as command
from benchmarks import environments
from benchmarks.goals import goals_table
from benchmarks.measure import Measurement, measure
from benchmarks.notebooks import printed, tagged_cells
from benchmarks.rows import AGAIN, ALONE, CHANGED, DONE, FIRST, Results, Row
from benchmarks.runner import Found, Phase, Runner, Task
from benchmarks.table import notes, summarise, table
from benchmarks.workloads import STANDARD, workload

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it measures by what Linux tells of processes")

BURN = "import time\nwhile time.process_time() < 0.5: pass"
# Starts the code in its first argument as a process in a session of its own, and ends at once.
ABANDON = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', sys.argv[1]], start_new_session=True)"
ALLOCATE = "import time; held = bytearray(100 << 20); time.sleep(1)"
# Three processes that share 100 MiB.
SHARE = """
import os, time
held = bytearray(100 << 20)
for _ in range(2):
    if os.fork() == 0:
        break
time.sleep(1)
"""


def taken(folder: Path, code: str, *arguments: str, limit: float = 20.0) -> Measurement:
    words = [sys.executable, "-c", code, *arguments]
    return measure(words, folder, folder / "log", os.environ, limit)


def test_processor_time_of_an_orphan_is_counted(tmp_path: Path) -> None:
    found = taken(tmp_path, ABANDON, BURN)
    assert found.code == 0
    assert 0.5 <= found.cpu < 1.5
    assert found.left == ()


def test_a_process_left_behind_is_counted_named_and_killed(tmp_path: Path) -> None:
    forever = "import time\nwhile time.process_time() < 0.3: pass\nopen('here', 'w').write('')\ntime.sleep(60)"
    found = taken(tmp_path, ABANDON, forever)
    assert found.cpu >= 0.3
    assert len(found.left) == 1
    assert "python" in found.left[0]
    assert (tmp_path / "here").is_file()
    assert str(tmp_path) not in running_folders()


def test_memory_of_every_process_is_seen_and_shared_pages_count_once_in_pss(tmp_path: Path) -> None:
    alone = taken(tmp_path, ALLOCATE)
    assert 100 <= alone.pss < 150
    assert 100 <= alone.rss < 150
    shared = taken(tmp_path, SHARE)
    assert 100 <= shared.pss < 150
    assert 300 <= shared.rss < 400


def test_a_command_that_takes_too_long_is_killed_with_all_it_started(tmp_path: Path) -> None:
    found = taken(tmp_path, "import subprocess; subprocess.run(['sleep', '60'])", limit=0.5)
    assert found.expired
    assert found.code
    assert found.left == ()
    assert 0.5 <= found.wall < 20
    assert str(tmp_path) not in running_folders()


def test_a_benchmark_that_is_killed_leaves_nothing_running(tmp_path: Path, repository: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from benchmarks.measure import measure; folder = Path(sys.argv[1]); "
        "measure(['bash', '-c', 'touch here; sleep 60 & sleep 60'], folder, folder / 'log', os.environ, 60)"
    )
    settings = os.environ | {"PYTHONPATH": str(repository)}
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=tmp_path, env=settings) as measuring:
        assert soon((tmp_path / "here").is_file)
        assert str(tmp_path) in running_folders()
        measuring.kill()
    assert soon(lambda: str(tmp_path) not in running_folders())


def test_a_program_that_is_not_there_fails_as_in_a_shell(tmp_path: Path) -> None:
    assert measure(["no-such-program"], tmp_path, tmp_path / "log", {}, 5).code == 127
    assert "no-such-program" in (tmp_path / "log").read_text()


def soon(is_so: Callable[[], bool]) -> bool:
    end = time.monotonic() + 10
    while not is_so() and time.monotonic() < end:
        time.sleep(0.02)
    return is_so()


def running_folders() -> set[str]:
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            found.add(str((process / "cwd").readlink()))
        except OSError:
            continue
    return found


def runner(name: str, code: str) -> Runner:
    """A runner that runs this code in Kaleyard's environment; its metric is what it prints."""

    def phases(task: Task) -> Generator[Phase, None, None]:
        yield Phase(FIRST, [[task.programs / "python", "-c", code]], lambda output: Found(printed(output, "end")))

    return Runner(name, environments.KALEYARD, ("chain-*",), phases, limit=20.0)


def bench(runners: Sequence[Runner], folder: Path) -> tuple[int, dict[str, str]]:
    """The exit code, and the state of each runner's row."""
    rows = folder / "rows.json"
    code = command.main(["--repeat", "1", "--work", "chain-3", "--json", str(rows)], runners)
    return code, {row.runner: row.state for row in Results.load(rows).rows}


def test_a_failing_command_makes_a_failed_row_and_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failing = runner("failing", "print('the reason'); raise SystemExit(3)")
    code, states = bench([runner("script", "print('end', 1.5)"), failing], tmp_path)
    assert code == 1
    assert states == {"script": DONE, "failing": "failed: exit code 3"}
    out, err = capsys.readouterr()
    assert "| chain-3 | failing | nothing cached | **failed: exit code 3** (1 of 1) |" in out
    assert "the reason" in err


def test_a_runner_whose_metric_is_not_the_scripts_is_void(tmp_path: Path) -> None:
    runners = [
        runner("script", "print('end', 1.5)"),
        runner("same", "print('end', 1.5 + 1e-12)"),
        runner("other", "print('end', 1.5 + 1e-6)"),
        runner("silent", "pass"),
    ]
    code, states = bench(runners, tmp_path)
    assert code == 1
    assert states["same"] == DONE
    assert states["other"] == "void: end is 1.500001, the plain script's 1.5"
    assert states["silent"] == "void: nothing printed end"


def test_rows_that_are_all_done_give_exit_code_0(tmp_path: Path) -> None:
    assert bench([runner("script", "print('end', 1.5)")], tmp_path) == (0, {"script": DONE})
    assert command.main(["--table", str(tmp_path / "rows.json")]) == 0


ROWS = [
    Row("housing", "one-kernel", FIRST, 1, DONE, 4.0, 3.0, 100.0, 120.0),
    Row("housing", "kaleyard", FIRST, 1, DONE, 3.0, 5.0, 210.0, 300.0),
    Row("housing", "kaleyard", AGAIN, 1, DONE, 0.6, 0.5, 30.0, 40.0),
    Row("housing", "kaleyard", CHANGED, 1, DONE, 1.7, 1.5, 90.0, 110.0),
    Row("housing", "script", ALONE, 1, DONE, 0.25, 0.2, 50.0, 60.0),
    Row("housing", "kale", FIRST, 1, DONE, 40.0, 30.0, 400.0, 450.0, left=("python -m ipykernel_launcher",)),
    Row("chain-10", "kaleyard", FIRST, 1, DONE, 2.0, 2.0, 100.0, 100.0, details={"per step": 0.1}),
    Row("compile-10", "kaleyard", FIRST, 1, DONE, 1.0, 1.0, 50.0, 60.0),
    Row("compile-100", "kaleyard", FIRST, 1, DONE, 1.9, 1.9, 50.0, 60.0),
    Row("compile-300", "kaleyard", FIRST, 1, DONE, 4.9, 4.9, 50.0, 60.0),
    Row("check", "kaleyard", FIRST, 1, "void: it said 'no'", 1.0),
    Row("chain-1000", "kaleyard", FIRST, 1, DONE, 121.0, 100.0, 119.0, 200.0),
    Row("housing", "one-kernel", FIRST, 2, DONE, 6.0, 5.0, 110.0, 130.0),
    Row("housing", "kaleyard", FIRST, 2, DONE, 5.0, 6.0, 220.0, 310.0),
    Row("housing", "kale", FIRST, 2, "failed: exit code 1"),
    Row("housing", "one-kernel", FIRST, 3, DONE, 5.0, 4.0, 105.0, 125.0),
    Row("housing", "kaleyard", FIRST, 3, DONE, 6.0, 7.0, 200.0, 290.0),
]


def test_the_table_has_medians_spread_and_ratios() -> None:
    lines = table(summarise(ROWS)).splitlines()
    assert lines[2:9] == [
        "| housing | one-kernel | nothing cached | 5.00 | 4.00-6.00 | 4.00 | 105 | 125 | 1.00 |",
        "| housing | kaleyard | nothing cached | 5.00 | 3.00-6.00 | 6.00 | 210 | 300 | 1.00 |",
        "| housing | kaleyard | nothing changed | 0.60 | 0.60-0.60 | 0.50 | 30 | 40 | 0.12 |",
        "| housing | kaleyard | one late step changed | 1.70 | 1.70-1.70 | 1.50 | 90 | 110 | 0.34 |",
        "| housing | script | the late step alone | 0.25 | 0.25-0.25 | 0.20 | 50 | 60 | 0.05 |",
        "| housing | kale | nothing cached | **failed: exit code 1** (1 of 2) |  |  |  |  |  |",
        "| chain-10 | kaleyard | nothing cached | 2.00 | 2.00-2.00 | 2.00 | 100 | 100 |  |",
    ]
    assert len({line.count("|") for line in lines}) == 1


def test_a_reason_of_many_lines_stays_in_its_cell() -> None:
    row = Row("check", "kaleyard", FIRST, 1, "void: it said 'a | b\nc'")
    assert table(summarise([row])).splitlines()[2:] == [
        "| check | kaleyard | nothing cached | **void: it said 'a \\| b c'** (1 of 1) |  |  |  |  |  |"
    ]


def test_goals_are_judged_by_the_same_medians() -> None:
    lines = goals_table(summarise(ROWS)).splitlines()
    assert lines[2:] == [
        "| housing, nothing cached | 1.0 x one kernel | 1.00 x one kernel | met |",
        "| chain-10, nothing cached | 1.5 x one kernel | not measured |  |",
        "| fan-8, eight sleeps of 1 s | 4 s | not measured |  |",
        "| housing, nothing changed | 0.7 s | 0.60 s | met |",
        "| housing, one late step changed | 1.5 s + the step alone | 1.70 s; the step alone as a script 0.25 s | met |",
        "| compile 300 steps | 3.5 s | 4.90 s | **not met** |",
        "| compile, linear in steps | 1.25 x 10 to 100 steps' | 15.0 ms a step above 100, 10.0 below | **not met** |",
        "| check of housing, first | 3 s | failed |  |",
        "| check of housing, nothing changed | 0.7 s | not measured |  |",
        "| 1,000 steps in a row: cost of a step | 1.2 x chain-10's | 1.21 x (0.121 s, 0.100 s) | **not met** |",
        "| 1,000 steps in a row: peak memory (PSS) | 1.2 x chain-10's | 1.19 x | met |",
        "| housing: peak memory (PSS) | 2.0 x one kernel | 2.00 x one kernel | met |",
    ]


def test_what_must_be_known_stands_under_the_table() -> None:
    text = "\n".join(notes(Results("a machine", "a 1", ["a remark"], ROWS)))
    assert "Medians; repeats: 1-3." in text
    assert "kale: python -m ipykernel_launcher (1)" in text
    assert "a remark" in text
    assert "Machine: a machine." in text
    assert "Versions: a 1." in text


def test_commands_see_no_settings_of_whoever_runs_the_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KALEYARD_COLD", "1")
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    monkeypatch.setenv("HOSTNAME", "here")
    seen = environments.variables(Path("programs"), {"MORE": "1"})
    passed = [name for name in ("KALEYARD_COLD", "PYTHONPATH", "HOSTNAME") if name in seen]
    assert passed == []
    assert seen["PATH"].split(os.pathsep)[0] == "programs"
    assert seen["PLOOMBER_STATS_ENABLED"] == "false"
    assert seen["MORE"] == "1"


@pytest.mark.parametrize("name", [name for name in STANDARD if name != "compile-300"])
def test_every_name_that_a_step_takes_is_made_by_an_earlier_one(name: str) -> None:
    work = workload(name)
    made: set[str] = set()
    for step in work.steps:
        assert set(step.takes) <= made
        made |= set(step.makes)
    tags = [tag for _, tags in tagged_cells(work, order=True) for tag in tags]
    assert len([tag for tag in tags if tag.startswith("step:")]) == len(work.steps)


@pytest.mark.parametrize(
    "arguments", [["--work", "chain-0"], ["--only", "nobody"], ["--repeat", "0"], ["--table", "no"]]
)
def test_wrong_use_is_told_and_exits_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as error:
        command.main(arguments, runners=())
    assert error.value.code == 2


def test_the_command_starts_from_the_repository(repository: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--help"], cwd=repository, capture_output=True, text=True, check=True
    )
    assert "--quick" in done.stdout
