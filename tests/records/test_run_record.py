"""The record of a run."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from kaleyard.records.run_record import Run, StepRun


def test_a_run_is_written_while_steps_write_into_their_records(tmp_path: Path) -> None:
    run = Run("1", "p", "p.ipynb", tmp_path, steps={"a": StepRun("a")})
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            run.steps["a"].times = {}
            for name in range(40):
                run.steps["a"].times[f"{number} {name}"] = 0.0

    writers = [threading.Thread(target=write) for _ in range(3)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for writer in writers:
            writer.start()
        for _ in range(300):
            run.to_dict()
    finally:
        stop.set()
        sys.setswitchinterval(interval)
    for writer in writers:
        writer.join()
    assert run.to_dict()["steps"]["a"]["name"] == "a"
