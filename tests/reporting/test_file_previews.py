"""The files that steps write: told at a run's end, shown in its report, put in the project where nothing is lost."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import stat
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from bs4 import BeautifulSoup
from click.testing import CliRunner

import kaleyard
from kaleyard.cli import cli
from kaleyard.config import Project, find_project
from kaleyard.errors import ExternalError, ProjectError
from kaleyard.execution import file_delivery as delivering
from kaleyard.execution.file_delivery import LEDGER, DeliveringReporter, Delivery, deliver
from kaleyard.jupyter.notebook_reporter import NotebookReporter
from kaleyard.pipeline import Cell, FileInput, Input, Pipeline, Step
from kaleyard.records.run_record import Artifact, Run, StepRun, load_run
from kaleyard.reporting.console import PlainReporter, SilentReporter, summary
from kaleyard.reporting.graph import as_html, as_json, as_svg, as_text
from kaleyard.reporting.html_report import write_report
from kaleyard.runtime.contract import FILES, RANDOM_STATE
from kaleyard.runtime.result_files import WrittenFile, stored_path
from notebook_builder import notebook

CELLS = (Cell(1, "code", "pass"),)


def make(root: Path, number: int = 1, **steps: dict[str, bytes]) -> Run:
    """A run of `root` whose steps wrote these files."""
    run = Run(f"run-{number}", "demo", "notebooks/demo.ipynb", root / "runs" / "demo" / f"run-{number}", state="done")
    for name, files in steps.items():
        step = run.steps[name] = StepRun(name, "done")
        own = run.folder / "artifacts" / name / FILES / "files"
        for path, data in files.items():
            step.files.append(WrittenFile(path, len(data), hashlib.sha256(data).hexdigest()))
            for place in (own / stored_path(path), run.files_folder / stored_path(path)):
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(data)
    run.folder.mkdir(parents=True, exist_ok=True)
    return run


def put(root: Path, number: int = 1, **steps: dict[str, bytes]) -> Delivery:
    return deliver(make(root, number, **steps), Project(root))


def content(root: Path) -> dict[str, bytes]:
    """Everything in the project but the runs and what Kaleyard keeps for itself."""
    found = (
        p for p in sorted(root.rglob("*")) if p.is_file() and p.relative_to(root).parts[0] not in ("runs", ".kaleyard")
    )
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in found}


def page_of(run: Run) -> Any:
    write_report(run)
    return BeautifulSoup(run.report.read_text("utf-8"), "html.parser")


# At the end of a run.


def test_the_end_of_a_run_names_its_files_and_where_they_are(tmp_path: Path) -> None:
    run = make(tmp_path, one={"output/x.csv": b"1"}, two={"figures/a.png": b"2", "output/x.csv": b"3"})
    assert f"2 files: output/x.csv, figures/a.png (in {run.folder / 'files'})" in summary(run)
    one = make(tmp_path, one={"a.txt": b"1"})
    assert f"1 file: a.txt (in {one.folder / 'files'})" in summary(one)
    many = make(tmp_path, one={f"{n}.txt": b"1" for n in range(12)})
    assert f"12 files: 0.txt, 1.txt, 2.txt, 3.txt, 4.txt and 7 more (in {many.folder / 'files'})" in summary(many)
    assert not [line for line in summary(make(tmp_path, one={})) if "file" in line and "report" not in line]


def test_names_that_a_terminal_would_obey_are_not_printed(tmp_path: Path) -> None:
    run = Run("r", "p", "n", tmp_path, state="done")
    run.steps["one"] = StepRun("one", "done", files=[WrittenFile("a\x1b[2J\n\udc80.txt", 1, "")])
    told = io.StringIO()
    PlainReporter(told).finished(run)
    assert "1 file: a\ufffd[2J\ufffd\ufffd.txt" in told.getvalue()
    told.getvalue().encode()


def test_a_notebook_that_runs_a_pipeline_shows_its_files(tmp_path: Path) -> None:
    reporter = NotebookReporter(tmp_path)
    reporter._run = make(tmp_path, one={"<b>.txt": b"1"} | {f"{n}.txt": b"1" for n in range(6)})
    page = BeautifulSoup(reporter._bundle()["text/html"], "html.parser")
    assert "7 files: <b>.txt, 0.txt, 1.txt, 2.txt, 3.txt and 2 more" in [p.get_text() for p in page.find_all("p")]
    reporter._run = make(tmp_path, 2, one={})
    assert "file" not in reporter._bundle()["text/html"].partition("<table")[2]


# In the project.


def test_files_go_where_the_notebook_would_have_put_them(tmp_path: Path) -> None:
    told = put(tmp_path, one={"output/x.csv": b"one", "a.txt": b"a"}, two={"output/x.csv": b"two"})
    assert content(tmp_path) == {"a.txt": b"a", "output/x.csv": b"two"}
    assert told.notes() == ["wrote output/x.csv, a.txt to the project"]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o666 & ~umask


def test_a_file_in_the_project_is_no_link_to_the_run_or_its_cache(tmp_path: Path) -> None:
    run = make(tmp_path, one={"a.txt": b"a"})
    deliver(run, Project(tmp_path))
    with (tmp_path / "a.txt").open("ab") as file:
        file.write(b" and mine")
    assert run.files["a.txt"].read_bytes() == b"a"


def test_what_is_the_users_is_kept_and_named(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_bytes(b"mine")
    (tmp_path / "folder.txt").mkdir()
    told = put(tmp_path, one={"mine.txt": b"theirs", "folder.txt": b"x", "new.txt": b"new"})
    assert content(tmp_path) == {"mine.txt": b"mine", "new.txt": b"new"}
    assert told.notes() == ["wrote new.txt to the project", "kept yours: mine.txt, folder.txt"]


def test_what_kaleyard_wrote_is_written_again_until_the_user_changes_it(tmp_path: Path) -> None:
    put(tmp_path, 1, one={"a.txt": b"1", "b.txt": b"1"})
    (tmp_path / "b.txt").write_bytes(b"mine")
    (tmp_path / "a.txt").chmod(0o640)
    told = put(tmp_path, 2, one={"a.txt": b"2", "b.txt": b"2"})
    assert content(tmp_path) == {"a.txt": b"2", "b.txt": b"mine"}
    assert (told.written, told.kept) == (["a.txt"], ["b.txt"])
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o640
    again = put(tmp_path, 3, one={"a.txt": b"2"})
    assert (again.same, again.notes()) == (["a.txt"], [])


def test_the_same_content_by_the_users_hand_does_not_become_kaleyards(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"1")
    assert put(tmp_path, 1, one={"a.txt": b"1"}).same == ["a.txt"]
    assert put(tmp_path, 2, one={"a.txt": b"2"}).kept == ["a.txt"]
    assert content(tmp_path) == {"a.txt": b"1"}


@pytest.mark.parametrize("text", ["{", "[]", '{"version": 2, "files": OURS}', '{"version": 1, "files": ["a.txt"]}'])
def test_with_a_broken_ledger_everything_is_the_users(tmp_path: Path, text: str) -> None:
    put(tmp_path, 1, one={"a.txt": b"1"})
    ours = json.loads((tmp_path / LEDGER).read_text())["files"]
    assert ours == {"a.txt": hashlib.sha256(b"1").hexdigest()}
    (tmp_path / LEDGER).write_text(text.replace("OURS", json.dumps(ours)))
    assert put(tmp_path, 2, one={"a.txt": b"2"}).kept == ["a.txt"]


@pytest.mark.parametrize("links", [True, False], ids=["disk with hard links", "disk without"])
def test_a_file_that_the_user_saves_at_that_moment_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, links: bool
) -> None:
    if not links:
        monkeypatch.setattr(os, "link", lambda *_: Path("/nowhere").stat())
    put(tmp_path, 1, one={"old.txt": b"1"})
    copy = delivering._copy

    def slow(source: Path, target: Path, sha256: str) -> None:
        copy(source, target, sha256)
        (tmp_path / source.name).write_bytes(b"mine")

    monkeypatch.setattr(delivering, "_copy", slow)
    told = put(tmp_path, 2, one={"old.txt": b"2", "new.txt": b"2"})
    assert content(tmp_path) == {"new.txt": b"mine", "old.txt": b"mine"}
    assert sorted(told.kept) == ["new.txt", "old.txt"]


def test_nothing_is_written_outside_the_project(tmp_path: Path) -> None:
    root, outside = tmp_path / "project", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (outside / "there.txt").write_bytes(b"there")
    (root / "out").symlink_to(outside)
    (root / "link.txt").symlink_to(outside / "there.txt")
    (root / "dangling.txt").symlink_to(outside / "new.txt")
    (root / "within").mkdir()
    (root / "inner").symlink_to("within")
    told = put(
        root,
        one={
            "../above.txt": b"x",
            "a/../../b.txt": b"x",
            "out/x.txt": b"x",
            "link.txt": b"x",
            "dangling.txt": b"x",
            "inner/x.txt": b"x",
            ".git/hooks/pre-commit": b"x",
            ".kaleyard/written-files.json": b"x",
        },
    )
    assert {p.name: p.read_bytes() for p in outside.iterdir()} == {"there.txt": b"there"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["outside", "project"]
    assert told.written == ["inner/x.txt"]
    assert (root / "within" / "x.txt").read_bytes() == b"x"
    assert not (root / ".git").exists()
    assert told.notes() == [
        "wrote inner/x.txt to the project",
        "not written: ../above.txt, a/../../b.txt: it is outside the project",
        "not written: out/x.txt: its folder is a link to outside the project",
        "not written: link.txt, dangling.txt: it is a link to outside the project",
        "not written: .git/hooks/pre-commit: notebooks may not write to .git",
        "not written: .kaleyard/written-files.json: notebooks may not write to .kaleyard",
    ]


def test_an_absolute_path_is_not_written(tmp_path: Path) -> None:
    run = make(tmp_path, one={})
    run.steps["one"].files = [WrittenFile(str(tmp_path / "x.txt"), 1, "")]
    assert deliver(run, Project(tmp_path)).refused == {str(tmp_path / "x.txt"): "it is outside the project"}


def test_a_link_of_the_users_within_the_project_stays_a_link(tmp_path: Path) -> None:
    put(tmp_path, 1, one={"a.txt": b"1"})
    (tmp_path / "a.txt").rename(tmp_path / "real.txt")
    (tmp_path / "a.txt").symlink_to("real.txt")
    assert put(tmp_path, 2, one={"a.txt": b"2"}).kept == ["a.txt"]
    assert (tmp_path / "a.txt").is_symlink()
    assert (tmp_path / "real.txt").read_bytes() == b"1"


def test_what_cannot_be_written_is_told_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    run = make(tmp_path, one={"file/x.txt": b"x", "bent.txt": b"good", "gone.txt": b"x", "fine.txt": b"fine"})
    run.files["bent.txt"].write_bytes(b"bad")
    run.files["gone.txt"].unlink()
    told = deliver(run, Project(tmp_path))
    assert content(tmp_path) == {"file": b"mine", "fine.txt": b"fine"}
    assert set(told.failed) == {"file/x.txt", "bent.txt", "gone.txt"}
    assert "has changed since the step wrote it" in told.failed["bent.txt"]
    assert f"could not be written: gone.txt: No such file or directory; it is in {run.files_folder}" in told.notes()

    def full(source: Path, target: Path, sha256: str) -> None:
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(delivering, "_copy", full)
    told = put(tmp_path, 2, one={"fine.txt": b"more", "new.txt": b"x"})
    assert content(tmp_path) == {"file": b"mine", "fine.txt": b"fine"}
    assert told.notes()[0].startswith("could not be written: fine.txt, new.txt: No space left on device; it is in")


def test_a_ledger_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / ".kaleyard").write_bytes(b"")
    told = put(tmp_path, one={"a.txt": b"1"})
    assert told.written == ["a.txt"]
    assert LEDGER in told.failed
    assert "the next run will treat this run's files as yours" in told.notes()[-1]


def test_steps_that_are_not_done_give_nothing(tmp_path: Path) -> None:
    run = make(tmp_path, one={"a.txt": b"1"}, two={"b.txt": b"2"}, three={"c.txt": b"3"})
    run.steps["two"].state, run.steps["three"].state = "cached", "failed"
    assert deliver(run, Project(tmp_path)).written == ["a.txt", "b.txt"]


def test_what_was_kept_stands_in_the_run_and_its_report(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"mine")
    run = make(tmp_path, one={"a.txt": b"1"})
    DeliveringReporter(SilentReporter(), Project(tmp_path)).finished(run)
    assert load_run(run.folder).notes == ["kept yours: a.txt"]
    assert "kept yours: a.txt" in run.report.read_text()


def test_a_disk_that_delivering_filled_does_not_fail_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Run) -> None:
        raise ExternalError("run.json cannot be written: No space left on device", fix="Free the disk.")

    run = make(tmp_path, one={"a.txt": b"1"})
    monkeypatch.setattr(Run, "save", full)
    DeliveringReporter(PlainReporter(told := io.StringIO()), Project(tmp_path)).finished(run)
    assert "note: run.json cannot be written: No space left on device" in told.getvalue()
    assert (tmp_path / "a.txt").read_bytes() == b"1"


# The setting.


def test_the_setting_is_off_until_it_says_true(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_project(project).write_files is False
    (project / "pyproject.toml").write_text("[tool.kaleyard]\nwrite-files = true\n")
    assert find_project(project).write_files is True
    for text, wanted in (("0", False), ("False", False), ("yes", True), ("ON", True)):
        monkeypatch.setenv("KALEYARD_WRITE_FILES", text)
        assert find_project(project).write_files is wanted


@pytest.mark.parametrize("value", ['"true"', "1", "[true]", '""'])
def test_a_setting_that_is_neither_true_nor_false_is_told(project: Path, value: str) -> None:
    (project / "pyproject.toml").write_text(f"[tool.kaleyard]\nwrite-files = {value}\n")
    with pytest.raises(ProjectError, match=r"\[tool.kaleyard\]: write-files must be true or false, not"):
        find_project(project)


def test_a_variable_that_is_neither_true_nor_false_is_told(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KALEYARD_WRITE_FILES", "perhaps")
    with pytest.raises(ProjectError, match="KALEYARD_WRITE_FILES must be true or false, not 'perhaps'"):
        find_project(project)


# The report.


def test_the_report_links_every_file_with_its_size_and_step(tmp_path: Path) -> None:
    names = ("out/a b#1?.bin", "../up/c.bin", "数据.bin", "100%.bin")
    page = page_of(run := make(tmp_path, load=dict.fromkeys(names, b"x" * 2400)))
    rows = page.select("#files tbody tr")
    assert [(row.th.a["title"], row.td.get_text(), row.select("td")[1].get_text()) for row in rows] == [
        (name, "2.4 kB", "load") for name in names
    ]
    for place in (page.find(id="files"), page.find(id="step-1")):
        links = [a["href"] for a in place.select("a[title]")]
        assert [unquote(link) for link in links] == [f"files/{stored_path(n)}" for n in names]
        assert all((run.folder / unquote(link)).is_file() for link in links)
        assert not any(set(link) & set(" #?") for link in links)
    assert not page_of(make(tmp_path, 2, load={})).find(id="files")


def test_a_file_written_twice_is_shown_at_each_step_as_that_step_left_it(tmp_path: Path) -> None:
    page = page_of(make(tmp_path, one={"x.txt": b"first"}, two={"x.txt": b"second"}))
    assert [page.find(id=f"step-{n}").pre.get_text() for n in (1, 2)] == ["first", "second"]
    assert page.find(id="step-1").select_one("a[title]")["href"] == f"artifacts/one/{FILES}/files/x.txt"
    assert [a["href"] for a in page.select("#files a")] == ["files/x.txt", "#step-2"]


def test_pictures_are_pictures_that_the_page_may_show(tmp_path: Path) -> None:
    endings = ("png", "JPG", "jpeg", "svg", "gif", "webp")
    evil = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
    page = page_of(make(tmp_path, one={f"a.{e}": evil for e in endings}))
    images = page.select("#step-1 .gallery img")
    assert [(i["src"], i["loading"]) for i in images] == [(f"files/a.{e}", "lazy") for e in endings]
    assert len(page.find_all("svg")) == len(page.find_all("script")) == 0
    assert "img-src data: 'self' file:;" in page.find("meta", {"http-equiv": "Content-Security-Policy"})["content"]
    bare = page_of(make(tmp_path, 2, one={}))
    assert "img-src data:;" in bare.find("meta", {"http-equiv": "Content-Security-Policy"})["content"]


def test_tables_show_their_first_rows_and_columns(tmp_path: Path) -> None:
    long = "name,<b>n</b>\n" + "".join(f'"a, {n}",{n}\n' for n in range(50_000))
    wide = "\t".join(map(str, range(40))) + "\n" + "\t".join("x" * 500 for _ in range(40)) + "\n"
    files = {"long.csv": long.encode(), "wide.tsv": wide.encode(), "semi.csv": b"\xef\xbb\xbfa;b\n1,5;2\n\n3\n"}
    page = page_of(make(tmp_path, one=files | {"not.csv": b"\0\1\2", "odd.csv": b'a,"b\n', "none.csv": b""}))
    tables = page.select("#step-1 .cells")
    assert len(tables) == 4
    first, second, third, _ = tables
    assert [c.get_text() for c in first.select("th")] == ["name", "<b>n</b>"]
    assert [c.get_text() for c in first.select("tr")[1]] == ["a, 0", "0"]
    assert len(first.select("tbody tr")) == 10
    assert "first 10 rows" in page.select("#step-1 summary")[0].get_text()
    assert len(second.select("th")) == 13
    assert "12 of 40 columns" in page.select("#step-1 summary")[1].get_text()
    assert max(len(c.get_text()) for c in second.select("td")) == 60
    assert [[c.get_text() for c in row.find_all(["th", "td"])] for row in third.select("tr")] == [
        ["a", "b"],
        ["1,5", "2"],
        ["3", ""],
    ]
    assert [bool(c.get("class")) for c in first.select("tbody tr")[0].find_all("td")] == [False, True]


def test_a_table_that_csv_refuses_is_only_linked(tmp_path: Path) -> None:
    # A notebook that runs pipelines may have changed what csv takes.
    before = csv.field_size_limit(10)
    try:
        page = page_of(make(tmp_path, one={"a.csv": b"a,b\n" + b"1" * 20}))
    finally:
        csv.field_size_limit(before)
    assert not page.select("#step-1 .cells")
    assert page.select_one("#step-1 a[title]")["href"] == "files/a.csv"


def test_texts_show_their_first_lines_when_opened(tmp_path: Path) -> None:
    files = {"a.json": b'{"x": "</pre><script>"}', "b.md": b"line\n" * 100, "c.txt": b"\xff\xfe\x00", "d.bin": b"text"}
    page = page_of(make(tmp_path, one=files))
    texts = page.select("#step-1 details")
    assert [t.pre.get_text() for t in texts] == ['{"x": "</pre><script>"}', "\n".join(["line"] * 20)]
    assert not any(t.has_attr("open") for t in texts)
    assert "first 20 lines" in texts[1].summary.get_text()
    assert not page.find("script")


def test_only_so_much_of_very_many_and_very_large_files_is_read(tmp_path: Path) -> None:
    run = make(
        tmp_path,
        one={f"{n:03}.csv": b"a,b\n1,2\n" for n in range(300)} | {"z.txt": b""},
        two={"x.csv": b"a\n" * 5_000_000},
    )
    page = page_of(run)
    assert len(page.select("#step-1 .cells")) == 8
    assert "and 261 more" in page.find(id="step-1").get_text()
    assert "290 more" in page.find(id="files").get_text()
    assert "302 files" in page.find(id="files").get_text()
    assert len(run.report.read_bytes()) < 120_000


def test_hostile_names_become_neither_markup_nor_other_places(tmp_path: Path) -> None:
    evil = "\"'><script>alert(1)<!--\x1b\udc80"
    run = make(
        tmp_path,
        one={f"{evil}.{e}": b"a,b\n1,2\n" for e in ("csv", "txt", "png")},
        two={"javascript:alert(1).png": b""},
    )
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    (run.files_folder / "_above_5").mkdir()
    odd = (str(secret), "a/" * 5 + "../" * 5 + "secret.txt", "x" * 5000 + ".txt")
    run.steps["two"].files += [WrittenFile(path, 6, "") for path in odd]
    page = page_of(run)
    assert not page.find("script")
    assert len(page.select("#step-1 img")) == 1
    links = [unquote(a["href"]) for a in page.find_all("a")]
    assert all(link.startswith(("files/", "#", "artifacts/")) for link in links)
    assert not any(".." in link for link in links)
    assert ">secret<" not in str(page)


def test_equal_runs_give_equal_reports_and_reports_from_run_json_are_the_same(tmp_path: Path) -> None:
    run = make(tmp_path, one={"a.csv": b"a,b\n1,2\n", "b.png": b"x", "c.md": b"# c"})
    run.save()
    page_of(run)
    text = run.report.read_text()
    page_of(load_run(run.folder))
    assert run.report.read_text() == text


# Drawings.


def drawn() -> Pipeline:
    return Pipeline(
        "demo",
        "n.ipynb",
        (
            Step("make", CELLS, outputs=("frame", RANDOM_STATE)),
            Step(
                "draw", CELLS, inputs=(Input(RANDOM_STATE, "make"),), file_inputs=(FileInput("make", ("out/x.csv",)),)
            ),
            Step("tell", CELLS, file_inputs=(FileInput("draw", ("figures/a.png",)), FileInput("make", ("*",)))),
            Step("end", CELLS, file_inputs=(FileInput("draw", ("a.csv", "b.csv", "long-name-of-a-file.csv")),)),
        ),
    )


def test_drawings_name_files_and_the_random_state() -> None:
    text = as_text(drawn())
    assert "random state, out/x.csv ← make" in text
    assert "figures/a.png ← draw, files ← make" in " ".join(text.split())
    svg = ET.fromstring(as_svg(drawn()))
    titles = {t.text for t in svg.iter("{http://www.w3.org/2000/svg}title")}
    assert {"random state, x.csv: make → draw", "a.png: draw → tell", "files: make → tell"} <= titles
    assert "make, gives frame, random state" in titles
    labels = {t.text for t in svg.iter("{http://www.w3.org/2000/svg}text")}
    assert {"random state, x.csv", "a.png", "3 files"} <= labels
    for shown in (text, as_svg(drawn()), as_html(drawn())):
        assert RANDOM_STATE not in shown
    # As data it has its own name.
    assert RANDOM_STATE in as_json(drawn())


def test_the_report_lists_the_random_state_by_that_name(tmp_path: Path) -> None:
    run = make(tmp_path, make={}, draw={}, tell={}, end={})
    run.pipeline_data = drawn().to_dict()
    run.steps["make"].artifacts = [Artifact(RANDOM_STATE, "json", "x.json", "", 12)]
    page = page_of(run)
    assert "random state json, 12 B" in " ".join(page.find(id="step-1").get_text().split())
    assert RANDOM_STATE not in str(page)


# The whole way.


def test_a_run_tells_keeps_shows_and_writes_its_files(project: Path) -> None:
    cells = (
        (
            "import os\nos.makedirs('../output', exist_ok=True)\nopen('../output/x.csv', 'w').write('a,b\\n1,2\\n')",
            "step:make",
        ),
        ("open('b.txt', 'w').write('b')", "step:tell"),
    )
    path = notebook(project / "notebooks" / "demo.ipynb", *cells)
    (project / "notebooks" / "b.txt").write_text("mine")
    done = kaleyard.run(path, reporter=SilentReporter())
    assert done.state == "done", done.steps
    assert set(done.files) == {"output/x.csv", "notebooks/b.txt"}
    assert not (project / "output").exists()
    told = CliRunner().invoke(cli, ["run", str(path), "--write-files"])
    assert told.exit_code == 0, told.output
    assert "2 files: output/x.csv, notebooks/b.txt (in " in told.output
    assert "note: wrote output/x.csv to the project" in told.output
    assert "note: kept yours: notebooks/b.txt" in told.output
    assert (project / "output" / "x.csv").read_text() == "a,b\n1,2\n"
    assert (project / "notebooks" / "b.txt").read_text() == "mine"
    (project / "output" / "x.csv").unlink()
    (project / "pyproject.toml").write_text("[tool.kaleyard]\nwrite-files = true\n")
    CliRunner().invoke(cli, ["run", str(path), "--no-write-files"])
    assert not (project / "output" / "x.csv").exists()
    data = json.loads(CliRunner().invoke(cli, ["run", str(path), "--json"]).output)
    assert data["files"] == {p: f"{data['folder']}/files/{p}" for p in ("output/x.csv", "notebooks/b.txt")}
    assert data["steps"]["make"]["files"][0]["size"] == 8
    assert (project / "output" / "x.csv").is_file()
    page = BeautifulSoup((Path(data["folder"]) / "index.html").read_text(), "html.parser")
    assert [cell.get_text() for cell in page.select("#step-1 .cells td")] == ["1", "2"]
