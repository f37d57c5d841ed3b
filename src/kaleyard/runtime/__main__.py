"""`python -m kaleyard.runtime --executor-input JSON`: run one step in a process, a container or a pod."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from kaleyard.errors import KaleyardError
from kaleyard.runtime.contract import FILES, METRICS, POD_VARIABLE, RESULT, STEP_FOLDER
from kaleyard.runtime.executor_io import read_executor_input
from kaleyard.runtime.signals import Stopped, caught, listen
from kaleyard.runtime.step import run_step

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one step and return the exit code: 0, or that of the error."""
    parser = argparse.ArgumentParser(prog="python -m kaleyard.runtime", description="Run one step of a pipeline.")
    parser.add_argument("--executor-input", required=True, help="KFP's executor input: JSON, or @FILE")
    parser.add_argument("--step", type=Path, default=Path(STEP_FOLDER), help="folder with step.ipynb and project/")
    parser.add_argument("--project", type=Path, help="the project's root (default: project/ in the step's folder)")
    parser.add_argument("--guard", action="append", default=[], help="an input that the step may not change in place")
    options = parser.parse_args(arguments)
    listen()
    _watch_parent()
    try:
        executor_input = read_executor_input(options.executor_input)
        records = run_step(executor_input, options.step, options.project, options.guard)
        if os.environ.get(POD_VARIABLE):
            digests = {n: r["sha256"] for n, r in records.items() if "sha256" in r and n != FILES}
            result = {"metrics": records.get(METRICS, {}), "sha256": digests}
            print(RESULT + json.dumps(result, sort_keys=True), flush=True)  # noqa: T201
    except KaleyardError as error:
        traceback = getattr(error, "traceback", "")
        print(*([traceback] if traceback else []), error, sep="\n", file=sys.stderr, flush=True)  # noqa: T201
        return error.exit_code
    except Stopped:
        caught()
        return 128 + signal.SIGTERM
    finally:
        _end_children()
    return 0


def _watch_parent() -> None:
    """Stop when the parent process is gone, so that no kernel outlives a killed run."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)

    if parent > 1:
        threading.Thread(target=watch, daemon=True).start()


def _end_children() -> None:
    """Kill the kernel and all processes that it started."""
    import psutil

    children = psutil.Process().children(recursive=True)
    for process in children:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(children, timeout=5)


if __name__ == "__main__":
    sys.exit(main())
