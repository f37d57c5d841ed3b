"""The registry of formats: what is chosen, how it is written, what is refused."""

import io
import os
import queue
import socket
import sqlite3
import subprocess
import sys
import threading
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kaleyard.errors import DataError, ExternalError
from kaleyard.runtime import serializers as formats

EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_importing_the_formats_imports_only_the_standard_library() -> None:
    code = (
        "import sys, kaleyard.runtime.serializers as f; f.formats();"
        "print({m.partition('.')[0] for m in sys.modules} - set(sys.stdlib_module_names) - {'kaleyard', '__main__'})"
    )
    out = subprocess.run([sys.executable, "-I", "-c", code], check=True, capture_output=True, text=True).stdout
    found = {name for name in eval(out) if not name.startswith(("_", "a1_"))}
    assert not found & {"numpy", "pandas", "pyarrow", "sklearn", "skops", "cloudpickle", "PIL", "scipy", "kfp", "kale"}


def test_saving_a_plain_value_imports_no_library() -> None:
    code = (
        "import sys, pathlib, tempfile, kaleyard.runtime.serializers as f;"
        "p = pathlib.Path(tempfile.mkdtemp()) / 'x'; s = f.save('x', {'a': [1, (2,)]}, p);"
        "f.load('x', s.format, p, s.sha256);"
        "print([m for m in ('numpy', 'pandas', 'pyarrow', 'cloudpickle') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert out.strip() == "[]"


def test_saved_says_how_a_value_was_kept(tmp_path: Path) -> None:
    saved = formats.save("x", {"accuracy": 0.5}, tmp_path / "made" / "x")
    assert (saved.name, saved.format, saved.suffix, saved.extra, saved.closed) == ("x", "json", ".json", {}, "")
    assert (tmp_path / "made" / "x").read_text() == '{"accuracy": 0.5}\n'
    assert (saved.sha256, saved.size) == formats.digest(tmp_path / "made" / "x")
    assert [p.name for p in (tmp_path / "made").iterdir()] == ["x"]


def test_saving_again_replaces_a_file_by_a_folder_and_back(tmp_path: Path) -> None:
    np = pytest.importorskip("numpy")
    path = tmp_path / "x"
    for value in (1, [np.zeros(2)], 2, [np.ones(2)], [np.zeros(3)]):
        saved = formats.save("x", value, path)
        again: Any = formats.load("x", saved.format, path, saved.sha256)
        assert repr(again) == repr(value)


def test_a_refused_value_leaves_what_was_there(tmp_path: Path) -> None:
    formats.save("x", 1, tmp_path / "x")
    with pytest.raises(DataError):
        formats.save("x", threading.Lock(), tmp_path / "x")
    assert [p.name for p in tmp_path.iterdir()] == ["x"]
    assert formats.load("x", "json", tmp_path / "x") == 1


def test_content_that_changed_is_not_loaded(tmp_path: Path) -> None:
    saved = formats.save("scores", [1, 2], tmp_path / "x")
    (tmp_path / "x").write_text("[1, 3]\n")
    with pytest.raises(DataError, match="`scores` is not what was saved"):
        formats.load("scores", saved.format, tmp_path / "x", saved.sha256)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="`scores` is missing"):
        formats.load("scores", "json", tmp_path / "x")


def test_an_unknown_format_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="`scores` was saved in the format `onnx`, which is unknown here"):
        formats.load("scores", "onnx", tmp_path / "x")


def test_a_damaged_file_is_an_error_with_the_variable(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("{")
    with pytest.raises(DataError, match="`scores` cannot be loaded"):
        formats.load("scores", "json", tmp_path / "x")


def test_a_folder_that_cannot_be_written_is_an_outside_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ExternalError):
        formats.save("x", 1, tmp_path / "file" / "x")


def test_only_formats_that_hold_pickles_are_closed() -> None:
    assert [kept.name for kept in formats.formats() if not formats.is_open(kept.name)] == [
        "together",
        "class-state",
        "cloudpickle",
    ]


def test_every_format_is_described_in_a_line() -> None:
    described = formats.describe()
    assert [d.name for d in described] == [kept.name for kept in formats.formats()]
    assert all(d.keeps.endswith(".") for d in described)


def test_a_closed_value_says_why(tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    saved = formats.save("x", pd.DataFrame({"a": ["x", 1]}), tmp_path / "x")
    assert saved.format == "cloudpickle"
    assert "column `a`" in saved.closed
    assert "int, str" in saved.closed


async def _coroutine() -> None:
    """Does nothing."""


def _opened() -> Any:
    return Path(__file__).open()


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "a module": (lambda: types, "Import it"),
    "a generator": (lambda: (n for n in [1]), "`thing = list\\(thing\\)`"),
    "an iterator": (lambda: iter([1]), "`thing = list\\(thing\\)`"),
    "a map": (lambda: map(str, [1]), "`thing = list\\(thing\\)`"),
    "an open file": (_opened, "Save its path instead"),
    "a lock": (threading.Lock, "Make a new one"),
    "an event": (threading.Event, "Make a new one"),
    "a thread": (threading.Thread, "Make a new one"),
    "a socket": (socket.socket, "Make a new one"),
    "a process": (lambda: subprocess.Popen([sys.executable, "-c", ""]), "Make a new one"),
    "a database connection": (lambda: sqlite3.connect(":memory:"), "open it in the step that uses it"),
    "a coroutine": (_coroutine, "Await it"),
    "a queue": (queue.Queue, "Make it in the step"),
    "a list with a file": (lambda: [_opened()], "Make it in the step"),
    "a view of memory": (lambda: memoryview(b"x"), "bytes"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_travel_is_refused_with_what_to_do(kind: str, tmp_path: Path) -> None:
    make, fix = REFUSED[kind]
    value = make()
    with pytest.raises(DataError, match=r"`thing` \(.*\) cannot be saved") as raised:
        formats.save("thing", value, tmp_path / "x")
    assert type(raised.value) is DataError
    assert type(value).__qualname__ in str(raised.value)
    assert pytest.importorskip("re").search(fix, str(raised.value.fix))
    if hasattr(value, "close"):
        value.close()


def test_a_file_in_memory_is_not_refused(tmp_path: Path) -> None:
    saved = formats.save("x", io.BytesIO(b"abc"), tmp_path / "x")
    again: Any = formats.load("x", saved.format, tmp_path / "x")
    assert again.getvalue() == b"abc"


def test_the_digest_of_a_file_is_its_sha256(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"")
    assert formats.digest(tmp_path / "x") == (EMPTY_SHA256, 0)


def test_the_digest_of_a_folder_tells_names_kinds_and_contents(tmp_path: Path) -> None:
    made = [{"a": "1"}, {"b": "1"}, {"a": "2"}, {"a/b": "1"}, {"a": "1", "b/": ""}, {"a": "1", "b": ""}, {}]
    digests = set()
    for number, files in enumerate(made):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            path.mkdir() if name.endswith("/") else path.write_text(text)
        digests.add(formats.digest(folder)[0])
    assert len(digests) == len(made)


def test_the_digest_of_a_folder_leaves_out_modes_and_times(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    before = formats.digest(tmp_path)
    (tmp_path / "a").chmod(0o755)
    os.utime(tmp_path / "a", (1, 1))
    assert formats.digest(tmp_path) == before
    assert before[1] == 1


def test_a_link_counts_as_what_it_leads_to(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "sub").mkdir(parents=True)
        (tmp_path / name / "sub" / "a").write_text("1")
    (tmp_path / "one" / "b").write_text("1")
    (tmp_path / "two" / "b").symlink_to("sub/a")
    assert formats.digest(tmp_path / "one") == formats.digest(tmp_path / "two")


@pytest.mark.parametrize(
    ("leads_to", "what"), [("../out", "out of the folder"), ("none", "nowhere"), (".", "contains it")]
)
def test_a_link_that_leads_out_nowhere_or_round_is_refused(leads_to: str, what: str, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "link").symlink_to(leads_to)
    with pytest.raises(DataError, match=what):
        formats.digest(tmp_path / "folder")


def _distribution(folder: Path, name: str, module: str) -> None:
    (folder / f"{name}.py").write_text(module)
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[kaleyard.formats]\n{name} = {name}:Kept\n")


KEPT = '''
class Kept:
    """Colours."""
    name = "{name}"
    suffix = ".colour"
    def accepts(self, value):
        return type(value).__name__ in ("Colour", "dict")
    def save(self, value, path):
        from kaleyard.errors import DataError
        if isinstance(value, dict):
            raise DataError("only colours")
        path.write_text(value.text)
        return {{"depth": "8"}}
    def load(self, path, extra):
        return (path.read_text(), dict(extra))
'''

USE = """
import pathlib, sys
from kaleyard.runtime import serializers as formats
class Colour:
    text = "red"
folder = pathlib.Path(sys.argv[1])
saved = formats.save("c", Colour(), folder / "c")
print(saved.format, saved.suffix, saved.extra, formats.load("c", saved.format, folder / "c", saved.sha256, saved.extra))
print(formats.save("d", {"a": 1}, folder / "d").format, formats.describe()[0])
nested = formats.save("n", [Colour()], folder / "n")
print(nested.format, formats.load("n", nested.format, folder / "n"))
"""


def _use(folder: Path) -> subprocess.CompletedProcess[str]:
    env = dict(os.environ, PYTHONPATH=os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))
    return subprocess.run(
        [sys.executable, "-c", USE, str(folder)], env=env, capture_output=True, text=True, check=False
    )


def test_a_format_of_another_package_is_found_by_its_entry_point(tmp_path: Path) -> None:
    _distribution(tmp_path, "colours", KEPT.format(name="colour"))
    done = _use(tmp_path)
    assert done.stdout.splitlines() == [
        "colour .colour {'depth': '8'} ('red', {'depth': '8', 'name': 'c'})",
        "json Described(name='colour', suffix='.colour', keeps='Colours.')",
        "tree [('red', {'depth': '8', 'name': 'n'})]",
    ], done.stderr


def test_two_formats_of_one_name_are_an_error_that_names_both(tmp_path: Path) -> None:
    _distribution(tmp_path, "mine", KEPT.format(name="npy"))
    done = _use(tmp_path)
    assert "two formats are called `npy`: kaleyard.runtime.serializers.tabular.arrays.Npy and mine.Kept" in done.stderr


def test_a_broken_format_is_named(tmp_path: Path) -> None:
    _distribution(tmp_path, "broken", "import nowhere_to_be_found")
    assert "the format `broken` (broken:Kept) cannot be imported" in _use(tmp_path).stderr
