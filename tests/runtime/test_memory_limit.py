"""What a container's own files say of its memory limit; real containers tell in test_container.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from kaleyard.runtime.memory_limit import exceeded_limit, memory_size

FIRST = ("memory/memory.oom_control", "memory/memory.limit_in_bytes")
SECOND = ("memory.events", "memory.max")
EVENTS = "low 0\nhigh 0\nmax 7\noom 2\noom_kill {}\noom_group_kill 0\n"
CONTROL = "oom_kill_disable 0\nunder_oom 0\noom_kill {}\n"


@pytest.mark.parametrize(
    ("files", "counts", "killed", "limit", "exceeded"),
    [
        (SECOND, EVENTS, 1, "314572800", 314572800),
        (SECOND, EVENTS, 0, "314572800", 0),
        (SECOND, EVENTS, 3, "max", 0),
        (FIRST, CONTROL, 1, "314572800", 314572800),
        (FIRST, CONTROL, 0, "314572800", 0),
        (FIRST, CONTROL, 1, "9223372036854771712", 0),
    ],
)
def test_a_limit_is_exceeded_where_a_process_was_killed_for_it(
    files: tuple[str, str], counts: str, killed: int, limit: str, exceeded: int, tmp_path: Path
) -> None:
    for name, text in zip(files, (counts.format(killed), f"{limit}\n"), strict=True):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert exceeded_limit(tmp_path) == exceeded


def test_where_nothing_is_told_no_limit_is_exceeded(tmp_path: Path) -> None:
    assert exceeded_limit(tmp_path) == 0


@pytest.mark.parametrize(("number", "words"), [(300 << 20, "300Mi"), (4 << 30, "4Gi"), (1000, "1000 bytes")])
def test_a_size_is_told_as_in_a_tag(number: int, words: str) -> None:
    assert memory_size(number) == words
