"""The command line: `python -m benchmarks`. Progress goes to standard error, tables to standard output."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import limits, machine, ours, peers
from benchmarks.bench import Bench
from benchmarks.environments import KALEYARD, LIMITS, NotMadeError, prepare, versions
from benchmarks.goals import goals_table
from benchmarks.rows import DONE, Results, Row
from benchmarks.runner import Runner
from benchmarks.table import notes, summarise, table
from benchmarks.workloads import LONG, QUICK, STANDARD, Work, workload

__all__ = ["RUNNERS", "main"]

RUNNERS = (*limits.RUNNERS, *ours.RUNNERS, *peers.RUNNERS)
_BUSY = 0.2  # processors that others may use before it is said
_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None, runners: Sequence[Runner] = RUNNERS) -> int:
    """The exit code: 0 done, 1 a row failed or is void, 2 wrong use, 130 interrupted."""
    parser = _parser()
    told = parser.parse_args(arguments)
    if told.table:
        try:
            return _show(Results.load(told.table))
        except (OSError, ValueError, KeyError, TypeError) as error:
            parser.error(f"{told.table} does not hold rows: {error!r}")
    if sys.platform != "linux":
        parser.error("processes and their memory are measured as Linux tells of them: run it there")
    try:
        works = [workload(name) for name in _names(told.work, QUICK if told.quick else STANDARD)]
    except ValueError as error:
        parser.error(str(error))
    works += [workload(LONG)] if told.long else []
    chosen = [r for r in runners if not told.quick or r.environment in (KALEYARD, LIMITS)]
    if told.only:
        wanted = {*_names(told.only, ()), limits.SCRIPT}
        if unknown := wanted - {r.name for r in runners}:
            parser.error(f"there is no runner {', '.join(sorted(unknown))}")
        chosen = [r for r in runners if r.name in wanted]
    try:
        return _bench(told, chosen, works)
    except KeyboardInterrupt:
        _tell("interrupted")
        return _INTERRUPTED


def _bench(told: argparse.Namespace, chosen: Sequence[Runner], works: Sequence[Work]) -> int:
    """Prepare, run and show."""
    runners = [runner for runner in chosen if any(runner.takes(work.name) for work in works)]
    programs = _programs(runners, own=told.quick)
    results = Results(machine.describe(), _versions(programs))
    if told.quick:
        results.remarks.append("The two limits ran in Kaleyard's environment, which has JupyterLab too.")
    scratch = Path(tempfile.mkdtemp(prefix="kaleyard-bench-"))

    def keep_row(row: Row) -> None:
        results.rows.append(row)
        if told.json:
            results.save(told.json)

    try:
        _warn(results, scratch)
        bench = Bench(runners, works, programs, scratch, _tell, keep_row, keep_files=told.keep)
        bench.run(1 if told.quick else told.repeat, told.peer_repeat)
    except KeyboardInterrupt:
        _show(results)
        raise
    finally:
        if told.keep:
            _tell(f"everything is kept in {scratch}")
        else:
            shutil.rmtree(scratch, ignore_errors=True)
    return _show(results)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Kaleyard and its peers on the same work. Prints the table that README carries.",
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="once, Kaleyard and the limits alone, in its environment, on less work")
    add("--repeat", type=_count, default=3, metavar="N", help="how often Kaleyard and the limits run (default: 3)")
    add(
        "--peer-repeat",
        type=_count,
        default=1,
        metavar="N",
        help="how often its peers run, which take most of the time",
    )
    add("--only", metavar="RUNNER,...", help=f"of {', '.join(dict.fromkeys(r.name for r in RUNNERS))}")
    add("--work", metavar="WORKLOAD,...", help=f"(default: {','.join(STANDARD)}) or any chain-N, fan-N, compile-N")
    add("--long", action="store_true", help=f"also {LONG}, once, which takes minutes")
    add("--json", type=Path, metavar="FILE", help="write the rows to this file")
    add("--table", type=Path, metavar="FILE", help="run nothing: print the tables of the rows in this file")
    add("--keep", action="store_true", help="keep the projects and the output of all commands")
    return parser


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise ValueError
    return count


def _names(told: str | None, default: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(name for name in told.split(",") if name)) if told else list(default)


def _programs(runners: Sequence[Runner], *, own: bool) -> dict[str, Path | str]:
    """Where each environment's programs are, or why it has none. With `own` the limits run in Kaleyard's."""
    found: dict[str, Path | str] = {}
    for name in dict.fromkeys(runner.environment for runner in runners):
        try:
            found[name] = prepare(KALEYARD if own and name == LIMITS else name, _tell)
        except NotMadeError as error:
            _tell(str(error))
            found[name] = str(error)
    return found


def _versions(programs: dict[str, Path | str]) -> str:
    made = {name: where for name, where in programs.items() if isinstance(where, Path)}
    own = made.get(KALEYARD)
    told = {name: versions(name, where) for name, where in made.items() if name == KALEYARD or where != own}
    return machine.list_versions(told)


def _warn(results: Results, scratch: Path) -> None:
    """Say it if this machine has something else to do, here and beside the table."""
    others, load = machine.busy(scratch), os.getloadavg()[0]
    if others > _BUSY:
        remark = f"The machine was busy when this began: {others:.1f} processors, load average {load:.1f}."
        results.remarks.append(remark)
        _tell(f"warning: {remark} Do not trust these figures.")


def _show(results: Results) -> int:
    """Print the tables; the exit code says whether every row is done."""
    summaries = summarise(results.rows)
    for text in (table(summaries), *notes(results), goals_table(summaries)):
        print(text, end="\n\n")
    return 0 if all(row.state == DONE for row in results.rows) else 1


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
