"""A run's index.html: complete, escaped, linked, and never in the way of the run."""

from __future__ import annotations

import base64
import json
import math
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from bs4 import BeautifulSoup

from kaleyard.errors import CellError, ExternalError, Location
from kaleyard.pipeline import Cell, Input, Parameter, Pipeline, Step
from kaleyard.records.run_record import Artifact, Run, StepRun, load_run
from kaleyard.reporting.html_report import write_report

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"0" * 90).decode()
CELLS = (Cell(1, "code", "pass"),)


def pipeline() -> Pipeline:
    return Pipeline(
        "penguins",
        "notebooks/penguins.ipynb",
        (
            Step("load", CELLS, parameters=("rows",), outputs=("frame",)),
            Step("train", CELLS, parameters=("depth", "title"), inputs=(Input("frame", "load"),), outputs=("model",)),
            Step("test", CELLS, inputs=(Input("model", "train"),)),
        ),
        (Parameter("rows", "int", 10, 2), Parameter("depth", "int", 4, 2), Parameter("title", "str", "x", 2)),
    )


def put(run: Run, step: StepRun, *outputs: dict[str, Any]) -> None:
    folder = run.folder / step.name
    folder.mkdir()
    book = {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {},
        "cells": [{"cell_type": "code", "outputs": list(outputs)}],
    }
    (folder / "step.ipynb").write_text(json.dumps(book))
    (folder / "page 1#.html").write_text("page")
    (folder / "log.txt").write_text("log")
    step.notebook, step.page, step.log = f"{step.name}/step.ipynb", f"{step.name}/page 1#.html", f"{step.name}/log.txt"


def picture(data: Any = PNG) -> dict[str, Any]:
    return {"output_type": "display_data", "metadata": {}, "data": {"image/png": data, "text/plain": "Figure"}}


def make(folder: Path, **changes: Any) -> Run:
    told: dict[str, Any] = {
        "id": "20251123-224410",
        "pipeline": "penguins",
        "notebook": "notebooks/penguins.ipynb",
        "folder": folder,
        "state": "failed",
        "started": "2025-11-23T22:44:10+00:00",
        "seconds": 10.0,
        "parameters": {"rows": 10, "depth": 8, "title": "x"},
        "pipeline_data": pipeline().to_dict(),
        "versions": {"python": "3.11.7"},
        "notes": ["a note <on> this run"],
    }
    return Run(**{**told, **changes})


def failed(folder: Path) -> Run:
    run = make(folder)
    error = CellError(
        "ValueError: no rows & <none>",
        place=Location("notebooks/penguins.ipynb", 7, "train"),
        fix="Give it rows.",
        traceback="\x1b[0;31mValueError\x1b[0m: <no> rows\n  line two",
    )
    load = StepRun(
        "load", "cached", "nothing changed", parameters={"rows": 10}, metrics={"rows": 12345.0, "share": 0.97312}
    )
    train = StepRun("train", "failed", "depth changed", "2025-11-23T22:44:12+00:00", 5.0, {"depth": 8})
    train.error = error.to_dict()
    run.steps = {"load": load, "train": train, "test": StepRun("test", "skipped", "train failed")}
    put(run, load, {"output_type": "stream", "text": "x"}, picture(list(PNG)), picture("SECOND"))
    put(run, train)
    (folder / "load" / "frame.parquet").write_bytes(b"x")
    load.artifacts = [
        Artifact("frame", "parquet", "load/frame.parquet", "ab", 2_400_000),
        Artifact("gone", "json", "load/gone.json", "ab", 12),
    ]
    return run


def read(run: Run) -> Any:
    write_report(run)
    return BeautifulSoup(run.report.read_text("utf-8"), "html.parser")


def test_a_report_says_how_the_run_ended_and_what_ran(tmp_path: Path) -> None:
    page = read(failed(tmp_path))
    head = " ".join(page.header.get_text(" ").split())
    assert page.h1.string == "penguins"
    assert page.header.select_one(".badge").string == "failed"
    assert "Started 2025-11-23 22:44:10 UTC" in head
    assert "Took 10 s" in head
    assert "Steps 3: 1 failed, 1 cached, 1 skipped" in head
    assert "a note <on> this run" in head
    assert "python 3.11.7" in page.footer.get_text()


def test_a_failure_is_told_in_full_and_leads_to_its_cell(tmp_path: Path) -> None:
    page = read(failed(tmp_path))
    error = page.select_one(".error")
    text = error.get_text()
    assert "notebooks/penguins.ipynb: cell 7, step train" in text
    assert "ValueError: no rows & <none>" in text
    assert "Give it rows." in text
    assert error.pre.string == "ValueError: <no> rows\n  line two"
    assert error.a["href"] == "train/page%201%23.html#cell-7"


def test_every_link_leads_to_a_file_or_a_place_that_is_there(tmp_path: Path) -> None:
    page = read(failed(tmp_path))
    links = {a["href"] for a in page.find_all("a")}
    for link in links:
        path, _, anchor = link.partition("#")
        assert (tmp_path / unquote(path)).exists() if path else page.find(id=anchor), link
    assert {"load/page%201%23.html", "load/step.ipynb", "load/log.txt", "load/frame.parquet"} <= links
    # In the drawing, a step with a page leads there, others to their place in the report.
    drawn = {a["href"] for a in page.select("figure svg a")}
    assert drawn == {"load/page%201%23.html", "train/page%201%23.html", "#step-3"}


def test_what_differs_from_the_default_is_marked(tmp_path: Path) -> None:
    rows = {row.th.get_text(): row for row in read(failed(tmp_path)).select("table tbody tr")}
    assert {name: bool(row.select(".changed")) for name, row in rows.items()} == {
        "rows": False,
        "depth": True,
        "title": False,
    }
    assert [c.get_text() for c in rows["depth"].find_all("code")] == ["depth", "8", "4"]
    assert "train" in rows["depth"].get_text()


def test_steps_show_their_reason_metrics_artifacts_and_first_picture(tmp_path: Path) -> None:
    page = read(failed(tmp_path))
    load = page.find("article", id="step-1")
    text = " ".join(load.get_text().split())
    assert "nothing changed" in text
    assert "rows 12,345" in text
    assert "share 0.9731" in text
    assert "frame parquet, 2.4 MB" in text
    assert "gone json, 12 B" in text
    assert load.img["src"] == f"data:image/png;base64,{PNG}"
    assert load.img.parent["href"] == "load/page%201%23.html"
    assert not page.find("article", id="step-2").img
    assert [d.get_text() for d in page.select(".figures dd")] == ["12,345", "0.9731"]


def test_the_time_line_places_each_step_in_the_run(tmp_path: Path) -> None:
    rows = read(failed(tmp_path)).select(".timeline .row")
    assert rows[0].select_one(".none").string == "cached"
    assert rows[1].select_one(".bar")["style"] == "left:20.0%;width:50.0%"
    assert rows[1].select_one(".took").get_text().split() == ["5.0", "s", "50%"]


def test_nothing_of_a_run_becomes_markup(tmp_path: Path) -> None:
    evil = "</style><script>alert(1)</script>\x1b[31m\ud800"
    run = failed(tmp_path)
    run.notes, run.versions, run.id, run.notebook = [evil], {evil: evil}, evil, evil
    run.parameters = {"title": evil, evil: [evil]}
    train = run.steps["train"]
    train.reason, train.parameters, train.metrics = evil, {evil: evil}, {evil: 1.0}
    train.error = {"what": evil, "fix": evil, "traceback": evil, "notebook": evil, "cell": evil, "step": evil}
    train.artifacts = [Artifact(evil, evil, evil.replace("\ud800", ""), "", 1)]
    page = read(run)
    assert not page.find("script")
    assert run.report.read_text("utf-8").count("</style>") == 3  # the page's and one in each of two drawings


def test_a_report_needs_no_network_and_is_the_same_every_time(tmp_path: Path) -> None:
    run = failed(tmp_path)
    write_report(run)
    text = run.report.read_text("utf-8")
    assert set(re.findall(r"https?://[^\s\"']+", text)) == {"http://www.w3.org/2000/svg"}
    run.save()
    write_report(load_run(tmp_path))
    assert run.report.read_text("utf-8") == text
    assert not list(tmp_path.glob("*.part"))


def test_odd_numbers_and_files_do_not_stop_a_report(tmp_path: Path) -> None:
    run = failed(tmp_path)
    (tmp_path / "load" / "step.ipynb").write_text('{"cells": [{"outputs": [')
    (tmp_path / "train" / "step.ipynb").write_text(
        '{"cells": [{"outputs": [{"data": {"image/png": "\\"><script>"}}]}]}'
    )
    run.steps["load"].metrics = {"a": math.nan, "b": math.inf, "c": 1e300, "d": -0.0000123, "e": 0.0}
    run.steps["train"].started = "not a time"
    run.steps["train"].page = "train/gone.html"
    page = read(run)
    assert [d.get_text() for d in page.select(".figures dd")] == ["nan", "inf", "1.000e+300", "-1.23e-05", "0"]
    assert not page.find("img")
    assert page.find("article", id="step-2")


@pytest.mark.parametrize("state", ["running", "stopped", "done"])
def test_a_run_with_nothing_in_it_yet_has_a_report(tmp_path: Path, state: Any) -> None:
    page = read(make(tmp_path, state=state, started="", seconds=0.0, pipeline_data={}, parameters={}, notes=[]))
    assert page.h1.string == "penguins"
    assert not page.find("svg")


def test_a_long_traceback_keeps_its_head_and_tail(tmp_path: Path) -> None:
    run = failed(tmp_path)
    assert run.steps["train"].error
    run.steps["train"].error["traceback"] = "HEAD" + "x" * 1_000_000 + "TAIL"
    text = read(run).select_one(".error pre").string
    assert text.startswith("HEAD")
    assert text.endswith("TAIL")
    assert len(text) < 250_000


def test_pictures_are_bounded(tmp_path: Path) -> None:
    run = make(tmp_path)
    for number in range(15):
        step = run.steps[f"s{number}"] = StepRun(f"s{number}", "done")
        put(run, step, picture("A" * 1_999_999 + "="))
    assert len(read(run).find_all("img")) == 9  # twenty million characters, with what data URIs begin with
    huge = run.steps["s0"]
    assert huge.notebook
    (tmp_path / huge.notebook).write_text(json.dumps({"cells": [{"outputs": [picture("A" * 3_000_000)]}]}))
    assert not read(run).find(id="step-1").find("img")


def test_a_folder_that_cannot_be_written_is_an_outside_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ExternalError, match="cannot be written"):
        write_report(make(tmp_path / "file" / "nowhere"))
