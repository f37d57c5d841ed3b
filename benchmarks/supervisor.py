"""Runs one command and tells what it took, together with everything it started: JSON in, JSON out.

It is a process of its own, run by its path, and uses only the standard library. So its children are the command's
processes and no others, and the time that the kernel counts for them is the command's. As a child subreaper it also
inherits the processes that outlive the parent that started them. It needs Linux.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any, NoReturn

_SET_PARENT_DEATH_SIGNAL, _SET_CHILD_SUBREAPER = 1, 36  # of prctl(2)
_INTERVAL = 0.1  # seconds between two looks at memory
_SHARE = 0.05  # of one processor, the most that looking may take
_GRACE = 5.0  # seconds that processes have to end after the command itself has
_NOT_STARTED = 127  # as a shell says it
_PAGE, _TICKS = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


def descendants() -> dict[int, int]:
    """The resident bytes of each living process below this one, by its number."""
    children: dict[int, list[int]] = {}
    resident: dict[int, int] = {}
    for folder in _PROC.iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            fields = (folder / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        if fields[0] != "Z":
            resident[int(folder.name)] = int(fields[21]) * _PAGE
        children.setdefault(int(fields[1]), []).append(int(folder.name))
    found, waiting = {}, [os.getpid()]
    while waiting:
        for child in children.get(waiting.pop(), []):
            waiting.append(child)
            if child in resident:
                found[child] = resident[child]
    return found


def proportional(process: int) -> int:
    """The process's share in bytes of the memory it uses: a page that n processes share counts as 1/n of it."""
    try:
        rollup = (_PROC / str(process) / "smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in rollup.splitlines() if line.startswith("Pss:")), 0)


class Memory(threading.Thread):
    """Looks again and again at the memory of all descendants; `resident` and `proportional` are the largest sums."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.resident = self.proportional = 0
        self._ended = threading.Event()

    def run(self) -> None:
        pause = 0.0
        while not self._ended.wait(pause):
            began = time.thread_time()
            processes = descendants()
            self.resident = max(self.resident, sum(processes.values()))
            self.proportional = max(self.proportional, sum(map(proportional, processes)))
            pause = max(_INTERVAL, (time.thread_time() - began) / _SHARE)

    def stop(self) -> None:
        """Look no more."""
        self._ended.set()
        self.join()


def busy_seconds() -> float:
    """The processor time that this machine has used since it started, for whatever, also for other machines."""
    user, nice, system, _idle, _waiting, *others = (
        int(n) for n in (_PROC / "stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]
    )
    return (user + nice + system + sum(others)) / _TICKS


def reap(seconds: float) -> None:
    """Wait until there is no child left, at most for so long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            child, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not child:
            time.sleep(0.01)


def told(process: int) -> str:
    """The start of the process's command line."""
    try:
        line = (_PROC / str(process) / "cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""
    program, *arguments = line.rstrip("\0").split("\0")
    return " ".join(" ".join([Path(program).name, *arguments[:2]]).split())[:60]


def kill() -> bool:
    """Whether there was a descendant to kill."""
    processes = descendants()
    for process in processes:
        try:
            os.kill(process, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return bool(processes)


def kill_all() -> None:
    """End every descendant, also those that start while others end."""
    for _ in range(100):
        if not kill():
            return
        reap(0.05)


def supervise(command: list[str], folder: str, log: IO[bytes], environment: dict[str, str], limit: float) -> Any:
    """Run the command to its end, and its processes to theirs; what it took is returned."""
    memory, expired = Memory(), threading.Event()

    def expire() -> None:
        expired.set()
        kill()

    timer = threading.Timer(limit, expire)
    timer.daemon = True  # or it would hold up a supervisor that is told to end
    busy, own, began = busy_seconds(), time.process_time(), time.monotonic()
    try:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
    except OSError as error:
        log.write(f"{error.filename}: {error.strerror}\n".encode())
        return {"code": _NOT_STARTED}
    memory.start()
    timer.start()
    _, status = os.waitpid(process.pid, 0)
    wall = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    timer.cancel()
    memory.stop()
    busy, own = busy_seconds() - busy, time.process_time() - own
    reap(_GRACE)
    left = sorted(filter(None, map(told, descendants())))
    kill_all()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = used.ru_utime + used.ru_stime
    return {
        "wall": wall,
        "cpu": cpu,
        "pss": memory.proportional,
        "rss": memory.resident,
        "code": process.returncode,
        "expired": expired.is_set(),
        "left": left,
        "others": max(0.0, busy - own - cpu) / wall,
    }


def _terminated(number: int, _frame: object) -> NoReturn:
    sys.exit(128 + number)


def main() -> None:
    """Read what to run from standard input, run it, and write what it took to standard output."""
    told_to = json.load(sys.stdin)
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, _terminated)
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    if prctl(_SET_CHILD_SUBREAPER, 1) or prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM):
        raise OSError(ctypes.get_errno(), "the kernel has no child subreapers")
    if os.getppid() != told_to["parent"]:
        return  # it died before its death could be a signal
    try:
        with open(told_to["log"], "wb") as log:  # noqa: PTH123
            result = supervise(told_to["command"], told_to["folder"], log, told_to["environment"], told_to["limit"])
    finally:
        kill_all()
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()
