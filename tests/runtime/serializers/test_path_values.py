"""Paths travel with what they name, and land at the same place in the next step's folder."""

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from kaleyard.errors import DataError
from kaleyard.runtime import serializers as formats


class Step:
    """Two folders that steps run in, and the artifact between them."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.first, self.second, self.artifact = root / "first", root / "second", root / "artifacts" / "x"
        self._go = monkeypatch.chdir
        for folder in (self.first, self.second):
            folder.mkdir()
        monkeypatch.setenv("HOME", str(root / "home"))
        self._go(self.first)

    def save(self, value: Path) -> formats.Saved:
        self._go(self.first)
        return formats.save("model", value, self.artifact)

    def load(self, saved: formats.Saved) -> Any:
        self._go(self.second)
        return formats.load("model", saved.format, self.artifact, saved.sha256, saved.extra)


@pytest.fixture
def step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Step:
    return Step(tmp_path, monkeypatch)


def write(path: Path, text: str = "1") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_relative_path_stays_relative_and_brings_its_file(step: Step) -> None:
    write(Path("out/model.onnx"), "weights")
    saved = step.save(Path("out/model.onnx"))
    assert (saved.format, saved.suffix, saved.size) == ("path", ".onnx", 7)
    assert step.artifact.read_text() == "weights"
    assert step.load(saved) == Path("out/model.onnx")
    assert (step.second / "out" / "model.onnx").read_text() == "weights"


def test_the_artifact_of_a_folder_is_the_folder_itself(step: Step) -> None:
    write(Path("out/a/b"), "1")
    Path("out/empty").mkdir()
    saved = step.save(Path("out"))
    assert saved.suffix == ""
    assert sorted(p.relative_to(step.artifact).as_posix() for p in step.artifact.rglob("*")) == ["a", "a/b", "empty"]
    assert step.load(saved) == Path("out")
    assert formats.digest(step.second / "out") == formats.digest(step.first / "out") == (saved.sha256, saved.size)
    assert (step.second / "out" / "empty").is_dir()


def test_an_absolute_path_under_the_current_folder_moves_with_it(step: Step) -> None:
    saved = step.save(write(step.first / "out" / "a"))
    assert step.load(saved) == step.second / "out" / "a"
    assert (step.second / "out" / "a").read_text() == "1"


@pytest.mark.parametrize("spelled", ["absolute", "dots"])
def test_a_path_elsewhere_lands_among_the_inputs(spelled: str, step: Step, tmp_path: Path) -> None:
    write(tmp_path / "elsewhere" / "a.csv")
    value = tmp_path / "elsewhere" / "a.csv" if spelled == "absolute" else Path("../elsewhere/a.csv")
    again = step.load(step.save(value))
    assert again == step.second / ".kaleyard-inputs" / "model" / "a.csv"
    assert again.read_text() == "1"


def test_what_landed_among_the_inputs_can_be_handed_on(step: Step, tmp_path: Path) -> None:
    again = step.load(step.save(write(tmp_path / "elsewhere" / "a.csv")))
    saved = formats.save("model", again, step.artifact)
    assert formats.load("model", "path", step.artifact, saved.sha256, saved.extra) == again


def test_a_path_with_dots_inside_stays_as_it_was_spelled(step: Step) -> None:
    write(Path("out/a"))
    write(Path("b"), "2")
    again = step.load(step.save(Path("out/../b")))
    assert str(again) == "out/../b"
    assert again.read_text() == "2"


def test_a_path_of_nothing_is_a_plain_value(step: Step) -> None:
    saved = step.save(Path("not/yet"))
    assert (saved.format, step.load(saved)) == ("json", Path("not/yet"))


def test_files_that_can_be_run_can_be_run_again(step: Step) -> None:
    write(Path("out/run")).chmod(0o755)
    write(Path("out/read"))
    saved = step.save(Path("out"))
    (step.artifact / "run").chmod(0o644)  # as an object store would
    step.load(saved)
    assert os.access(step.second / "out" / "run", os.X_OK)
    assert not (step.second / "out" / "read").stat().st_mode & 0o111


def test_one_file_that_can_be_run_can_be_run_again(step: Step) -> None:
    write(Path("run")).chmod(0o700)
    step.load(step.save(Path("run")))
    assert (step.second / "run").stat().st_mode & 0o111


def test_writing_to_the_loaded_file_does_not_change_the_artifact(step: Step) -> None:
    saved = step.save(write(Path("a")))
    step.load(saved).write_text("other")
    assert formats.digest(step.artifact) == (saved.sha256, saved.size)


def test_writing_to_the_saved_file_does_not_change_the_artifact(step: Step) -> None:
    saved = step.save(write(Path("a")))
    write(step.first / "a", "other")
    assert formats.digest(step.artifact) == (saved.sha256, saved.size)


def test_what_is_already_there_and_the_same_is_left(step: Step) -> None:
    write(step.second / "out" / "a")
    write(Path("out/a"))
    os.utime(step.second / "out" / "a", (5, 5))
    step.load(step.save(Path("out")))
    assert (step.second / "out" / "a").stat().st_mtime == 5


@pytest.mark.parametrize("value", ["out", "out/a"])
def test_a_file_of_the_step_itself_is_not_replaced(value: str, step: Step) -> None:
    write(step.second / "out" / "a", "mine")
    write(Path("out/a"))
    with pytest.raises(DataError, match="out/a is in the way"):
        step.load(step.save(Path(value)))
    assert (step.second / "out" / "a").read_text() == "mine"


def test_a_file_that_was_placed_before_is_replaced(step: Step) -> None:
    write(step.first / "a", "old")
    step.load(step.save(Path("a")))
    write(step.first / "a", "new")
    assert step.load(step.save(Path("a"))).read_text() == "new"


def test_a_folder_joins_what_the_step_has_there(step: Step) -> None:
    write(step.second / "out" / "more")
    write(Path("out/a"))
    step.load(step.save(Path("out")))
    assert sorted(p.name for p in (step.second / "out").iterdir()) == ["a", "more"]


def test_a_folder_and_a_file_in_it_can_both_be_loaded_in_any_order(step: Step) -> None:
    write(Path("out/a"))
    write(Path("out/b"))
    one = step.save(Path("out/a"))
    step.load(one)
    whole = step.save(Path("out"))
    step.load(whole)
    step.load(step.save(Path("out/a")))
    assert sorted(p.name for p in (step.second / "out").iterdir()) == ["a", "b"]


def test_a_file_in_place_of_a_folder_is_in_the_way(step: Step) -> None:
    write(step.second / "out")
    with pytest.raises(DataError, match="out is in the way"):
        step.load(step.save(write(step.first / "out" / "a")))


def test_links_inside_a_folder_become_what_they_lead_to(step: Step) -> None:
    write(Path("out/a"))
    Path("out/b").symlink_to("a")
    step.load(step.save(Path("out")))
    assert (step.second / "out" / "b").read_text() == "1"
    assert not (step.second / "out" / "b").is_symlink()


def test_a_link_to_a_model_is_the_model(step: Step) -> None:
    write(Path("models/5/a"))
    Path("latest").symlink_to("models/5")
    again = step.load(step.save(Path("latest")))
    assert (again / "a").read_text() == "1"


@pytest.mark.parametrize("value", [".", "..", "/", "here", "parent"])
def test_the_folder_of_the_step_travels_as_a_path_alone(value: str, step: Step) -> None:
    path = {"here": step.first, "parent": step.first.parent}.get(value, Path(value))
    again = step.load(step.save(path))
    assert again == (step.second if value == "here" else path)
    assert step.artifact.read_text() == f"{path}\n"


def test_the_home_folder_is_refused(step: Step, tmp_path: Path) -> None:
    write(tmp_path / "home" / "a")
    with pytest.raises(DataError, match="the home folder"):
        step.save(tmp_path / "home")
    assert step.load(step.save(tmp_path / "home" / "a")).read_text() == "1"


def test_a_link_out_of_the_folder_is_refused(step: Step, tmp_path: Path) -> None:
    write(tmp_path / "secret")
    write(Path("out/a"))
    Path("out/b").symlink_to(tmp_path / "secret")
    with pytest.raises(DataError, match="the link out/b leads out of the folder"):
        step.save(Path("out"))


@pytest.mark.parametrize("value", ["out", "out/s"])
def test_a_socket_is_refused(value: str, step: Step) -> None:
    write(Path("out/a"))
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind("out/s")
        with pytest.raises(DataError, match="neither a file nor a folder"):
            step.save(Path(value))


def test_paths_inside_other_values_are_plain_values(step: Step) -> None:
    write(Path("a"))
    saved = formats.save("x", {"p": Path("a")}, step.artifact)
    assert saved.format == "json"


def test_the_text_of_the_path_counts_beside_the_content(step: Step) -> None:
    one, two = (step.save(write(step.first / name)) for name in ("a", "b"))
    assert one.sha256 == two.sha256
    assert one.extra != two.extra


def test_an_artifact_without_its_words_is_an_error(step: Step) -> None:
    step.save(write(step.first / "a"))
    with pytest.raises(DataError, match="its path is unknown"):
        formats.load("model", "path", step.artifact)


def test_words_that_lead_out_of_the_folder_are_refused(step: Step) -> None:
    saved = step.save(write(step.first / "a"))
    saved.extra.update(place="../../a", path="../../a")
    with pytest.raises(DataError, match="is not in the project"):
        step.load(saved)
