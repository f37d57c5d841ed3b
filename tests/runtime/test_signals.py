"""A step that is told to stop hears it, whatever its process is doing just then."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Each swallows an ordinary exception that is raised while it runs.
SWALLOWS = {
    "a callback of an event loop": "loop.call_soon(told)",
    "a finaliser": "class A:\n    def __del__(self): told()\nloop.call_soon(A)",
    "a task that nobody awaits": "async def lost(): told()\nkept = loop.create_task(lost())",
}
PROGRAM = """
import asyncio, os, signal, sys
from kaleyard.runtime.signals import Stopped, caught, listen
listen()
def told():
    os.kill(os.getpid(), {signal})
    for _ in range(1000): pass
loop = asyncio.new_event_loop()
{swallows}
loop.call_later(60, loop.stop)
try:
    loop.run_forever()
except Stopped:
    caught()
    import time
    time.sleep(1.2)
    print("stopped")
"""


@pytest.mark.parametrize("signal", ["signal.SIGTERM", "signal.SIGINT"])
@pytest.mark.parametrize("what", SWALLOWS)
def test_a_stop_arrives_once_and_is_not_swallowed(what: str, signal: str) -> None:
    program = PROGRAM.format(swallows=SWALLOWS[what], signal=signal)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=False)
    assert (done.returncode, done.stdout) == (0, "stopped\n"), done.stderr
